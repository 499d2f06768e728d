"""Fits: one pass over the data, and mistakes that say what is wrong."""

import pytest
import torch

import detectors
from detectors import Outputs
from tests.conftest import SmoothNet
from tests.detectors.table import NAMES, PARAMS, batches, smooth_fit


def test_fits_that_cannot_work_say_why(table, train):
    cases = {
        "knn with 300 neighbours: ID train has only 200 images: set neighbours to at most 200 ": (
            "knn",
            {"neighbours": 300},
            train,
            None,
        ),
        "mds: class 2 has no image": ("mds", {}, train, torch.tensor([0, 1, 3, 3]).repeat(50)),
        "vim with dim 12: 12 features leave no null space": ("vim", {"dim": 12}, train, None),
        "vim with dim 300: 12 features leave no null space": ("vim", {"dim": 300}, train, None),
        "rmds: ID train has label 7, but the network has 4 classes": ("rmds", {}, train, torch.arange(200) % 8),
    }
    for message, (name, params, h, y) in cases.items():
        with pytest.raises(ValueError, match=message):
            detectors.create(name, table, **params).fit(batches(h, y), batches(h, y))
    bad = train.clone()
    bad[7, 0] = torch.nan
    for name in ("fdbd", "mds", "knn", "vim"):
        with pytest.raises(ValueError, match=f"{name}: features of ID train image 7 are not finite"):
            detectors.create(name, table).fit(batches(bad), [])
    with pytest.raises(ValueError, match="react: an ID validation feature is not finite"):
        detectors.create("react", table).fit([], batches(bad))
    for name in ("fdbd", "mds", "rmds", "knn", "vim"):
        with pytest.raises(ValueError, match=f"{name} is not fitted yet"):
            detectors.create(name, table)(train)
    with pytest.raises(ValueError, match="react has no threshold yet"):
        detectors.create("react", table)(train)
    with pytest.raises(ValueError, match="empty split"):
        detectors.create("mds", table).fit([], [])
    with pytest.raises(ValueError, match="percentile 100"):
        detectors.create("ash", table, percentile=100)


def test_vim_without_residual_is_an_error(table):
    flat = torch.zeros(50, 12, dtype=torch.double)
    flat[:, :3] = torch.rand(50, 3, dtype=torch.double)
    table.head.bias.data.zero_()
    with pytest.raises(ValueError, match="no residual outside that subspace"):
        detectors.create("vim", table, dim=6).fit(batches(flat), [])


def test_networks_without_features():
    class Logits(SmoothNet):
        def outputs(self, x):
            return Outputs(super().outputs(x).logits, None)

    split = smooth_fit()
    with pytest.raises(ValueError, match="mds needs penultimate features, and this network shows none"):
        detectors.create("mds", Logits()).fit(split, split)
    with pytest.raises(ValueError, match="ash needs penultimate features"):
        detectors.create("ash", Logits())(split[0][0])
    assert detectors.create("gen", Logits())(split[0][0]).isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_fit_takes_one_pass_over_the_data(name, counting):
    split = smooth_fit()
    detectors.create(name, counting, **PARAMS.get(name, {})).fit(split, split)
    assert counting.forwards <= 120
