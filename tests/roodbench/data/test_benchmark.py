"""A benchmark's sets share no image, whoever made them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import roodbench
from roodbench.data import Benchmark, ImageSet
from roodbench.setup.config import RunConfig

POOL = np.random.default_rng(0).random((40, 1, 4, 4), dtype=np.float32)
PLACES = {
    "id_train": ("train", "ID train", 0),
    "id_val": ("val", "ID val", 5),
    "id_test": ("test", "ID test", 10),
    "ood_val": ("ood-val", "OOD val", 15),
    "far": ("far", "OOD test", 20),
    "near": ("near", "OOD test", 25),
    "blurred": ("blurred", "ID test", 30),
}


def made(**images):
    """A benchmark of 5 images a set, made by a user: no guard is shared. `images` replaces the images of sets."""
    sets = {}
    for place, (name, split, start) in PLACES.items():
        array = images.get(place, POOL[start : start + 5])
        labels = [0, 1, 2, 0, 1] if split.startswith("ID") else [-1] * 5
        sets[place] = ImageSet(name, split, labels, lambda array=array: array)
    far, near, blurred = (sets.pop(name) for name in ("far", "near", "blurred"))
    groups = {"far": "far", "near": "near"}
    return Benchmark("mine", **sets, ood={"far": far, "near": near}, groups=groups, shifted={"blurred": blurred})


def swapped(place, other):
    """The images of a place, the third replaced by the first of another place."""
    start, theirs = PLACES[place][2], PLACES[other][2]
    array = POOL[start : start + 5].copy()
    array[2] = POOL[theirs]
    return {place: array}


PAIRS = [
    ("id_test", "id_train"),
    ("id_val", "id_train"),
    ("id_test", "id_val"),
    ("far", "id_test"),
    ("near", "id_train"),
    ("near", "ood_val"),
    ("ood_val", "id_test"),
    ("blurred", "id_test"),
    ("blurred", "id_train"),
    ("blurred", "far"),
]


@pytest.mark.parametrize(("place", "other"), PAIRS)
def test_the_same_image_in_two_places_ends_an_evaluation(place, other):
    class Mean(nn.Module):
        def forward(self, x):
            return x.flatten(1).mean(1)

    with pytest.raises(ValueError, match="the same image is in") as caught:
        roodbench.evaluate(Mean(), made(**swapped(place, other)), attack="none")
    for name, index in ((PLACES[place][0], 2), (PLACES[other][0], 0)):
        assert f"{name}: image {index}" in str(caught.value)


def test_a_run_compares_all_sets_before_it_computes(monkeypatch, tmp_path, digits):
    """Also the training images, which MSP is never fitted on."""
    twice = ImageSet("noise", "OOD test", [-1] * 9, lambda: digits.id_train.array[:9])
    found = replace(digits, ood={"noise": twice}, groups={"noise": "far"})
    monkeypatch.setattr("roodbench.setup.setting.load_benchmark", lambda *_, **__: found)
    monkeypatch.setattr("roodbench.api.Evaluator", None)
    with pytest.raises(ValueError, match=r"in ID train \(digits-train: digit \d+\) and in OOD test \(noise: image 0\)"):
        roodbench.run(RunConfig(detector=("msp",), attack="none"), out=tmp_path)


def test_all_of_them_are_counted():
    with pytest.raises(ValueError, match=r"\(train: image 0\) and in ID test \(test: image 0\), and so are 4 more"):
        made(id_test=POOL[:5]).check()


def test_bytes_and_floats_of_the_same_image_are_the_same():
    levels = np.random.default_rng(1).integers(0, 256, (5, 4, 4, 1), dtype=np.uint8)
    floats = (levels / np.float32(255)).transpose(0, 3, 1, 2)
    with pytest.raises(ValueError, match="the same image is in ID test"):
        made(id_test=levels, near=floats).check()


def test_ood_sets_may_share_images_which_is_a_notice(caplog):
    bench = made(**swapped("near", "far"))
    bench.check()
    assert bench.overlaps == {("far", "near"): 1}
    assert [r.getMessage() for r in caplog.records] == [
        "OOD sets far and near share 1 image: their mean counts it twice; its intervals of AUROC and AUPR allow for "
        "that, FPR95 has none"
    ]
    far, near = (bench.groups_of_ood[name].tolist() for name in ("far", "near"))
    assert [len(set(far)), len(set(near)), len({*far, *near})] == [len(far), len(near), len(far) + len(near) - 1]
    bench.check()
    assert len(caplog.records) == 1
    assert made().overlaps == {}


def test_a_normalised_view_is_checked_on_the_pixels():
    bench = made(**swapped("near", "id_test")).normalized(torch.tensor([0.5]), torch.tensor([0.25]))
    with pytest.raises(ValueError, match="the same image is in ID test"):
        bench.check()


def test_images_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"near \(OOD test\) has images .* \(3, 4, 4\), test \(ID test\) \(1, 4, 4\)"):
        made(near=np.random.default_rng(2).random((5, 3, 4, 4), dtype=np.float32)).check()


def test_names_are_told_apart():
    bench = made()
    with pytest.raises(ValueError, match="two test sets are named 'test'"):
        replace(bench, ood={"test": ImageSet("test", "OOD test", [-1] * 5, lambda: POOL[:5])}, groups={"test": "far"})
    with pytest.raises(ValueError, match="the set named 'near' is given as 'other'"):
        replace(bench, ood={"other": bench.ood["near"]})
    with pytest.raises(ValueError, match="group None of near: near or far"):
        replace(bench, groups={"far": "far"})
    with pytest.raises(ValueError, match="benchmark mine has no OOD set"):
        replace(bench, ood={})


def test_the_embedded_digits_share_nothing(digits, caplog):
    assert digits.overlaps == {}
    assert all(len(s) == s.distinct for s in (digits.id_train, digits.id_val, digits.id_test, *digits.ood.values()))
    assert not caplog.records
