"""Image sets and the embedded digits: counts, disjoint splits, shards."""

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec

import numpy as np
import pytest
import torch
from PIL import Image

import roodbench
from roodbench.data import SHARD, ImageSet, SplitGuard
from roodbench.data.digits import scikit_learn_images
from roodbench.data.picture import resize_and_crop


def test_digits_counts_and_range(digits):
    sizes = {s.split: len(s) for s in (digits.id_train, digits.id_val, digits.id_test, digits.ood_val)}
    assert sizes == {"ID train": 600, "ID val": 150, "ID test": 333, "OOD val": 300}
    assert {name: (len(s), digits.groups[name]) for name, s in digits.ood.items()} == {
        "unseen-digits": (500, "near"),
        "photos": (500, "far"),
        "noise": (500, "far"),
    }
    assert set(digits.id_test.labels.tolist()) == set(range(6))
    for images in (digits.id_train, *digits.ood.values()):
        x = images.shard(0, len(images))
        assert x.dtype == torch.float32
        assert x.shape[1:] == (1, 8, 8)
        assert x.min() >= 0
        assert x.max() <= 1


@pytest.mark.parametrize("layout", ["installed", "unknown"])
def test_images_are_those_scikit_learn_gives(layout, monkeypatch, tmp_path):
    from sklearn.datasets import load_digits, load_sample_images

    if layout == "unknown":
        elsewhere = ModuleSpec("sklearn", None, origin=str(tmp_path / "__init__.py"))
        monkeypatch.setattr(import_module("roodbench.data.digits"), "find_spec", lambda _: elsewhere)
    levels, target, photos = scikit_learn_images()
    raw = load_digits()
    theirs = [raw.images, raw.target, *load_sample_images().images]
    for found, expected in zip([levels, target, *photos], theirs, strict=True):
        assert found.dtype == expected.dtype
        assert np.array_equal(found, expected)
    assert levels.shape == (1797, 8, 8)
    assert [photo.shape for photo in photos] == [(427, 640, 3)] * 2


def test_digits_are_read_without_importing_scikit_learn(monkeypatch):
    def imported():
        return [name for name in sys.modules if name.partition(".")[0] == "sklearn"]

    for name in imported():
        monkeypatch.delitem(sys.modules, name)
    assert len(scikit_learn_images()[1]) == 1797
    assert imported() == []


def test_digits_are_the_same_every_time_and_splits_share_nothing(digits):
    again = roodbench.load_benchmark("digits")
    sets = [digits.id_train, digits.id_val, digits.id_test, digits.ood_val, *digits.ood.values()]
    others = [again.id_train, again.id_val, again.id_test, again.ood_val, *again.ood.values()]
    assert [s.digest for s in sets] == [s.digest for s in others]
    seen = [{image.tobytes() for image in s.array} for s in sets]
    for a in range(len(seen)):
        for b in range(a):
            assert not seen[a] & seen[b]


def test_limits_are_nested_random_subsets():
    small, large = (roodbench.load_benchmark("digits", limit=n).id_test for n in (20, 50))
    assert np.array_equal(large.array[:20], small.array)
    assert len(set(small.labels.tolist())) > 3


def test_fit_cannot_read_test_images(digits, digits_net):
    import detectors

    with pytest.raises(ValueError, match="digits is a test set"):
        detectors.create("ross", digits_net).fit(digits.id_train, digits.id_test)
    with pytest.raises(ValueError, match="noise is a test set"):
        detectors.create("msp-t", digits_net).fit(digits.id_train, digits.ood["noise"])
    assert sum(len(x) for x, _ in digits.id_val) == 150


def test_an_image_in_two_splits_is_refused():
    guard, a = SplitGuard(), np.random.default_rng(0).random((3, 1, 2, 2), dtype=np.float32)
    train = ImageSet("a", "ID train", [0, 1, 2], lambda: a, guard=guard)
    test = ImageSet("b", "ID test", [0, 1, 2], lambda: np.concatenate([a[2:], a[:2] / 2]), guard=guard)
    assert train.digest
    with pytest.raises(ValueError, match=r"same image is in ID train \(a: image 2\) and in ID test \(b: image 0\)"):
        _ = test.digest


@pytest.mark.parametrize(("size", "box"), [((32, 32), None), ((64, 64), None), ((40, 32), (4, 0)), ((32, 47), (0, 8))])
def test_resize_then_central_crop(size, box):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    found = np.asarray(resize_and_crop(image, 32))
    if box is None:
        expected = np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR))
    else:
        expected = np.asarray(image)[box[1] : box[1] + 32, box[0] : box[0] + 32]
    assert np.array_equal(found, expected)


def test_shards_cover_a_set_in_order(digits):
    shards = list(digits.id_test.shards())
    assert [len(x) for _, x in shards] == [SHARD] * 5 + [13]
    assert torch.equal(torch.cat([x for _, x in shards]), digits.id_test.shard(0, 333))


def test_normalised_space(digits):
    view = digits.normalized(torch.tensor([0.5]), torch.tensor([0.25]))
    torch.testing.assert_close(view.id_test.shard(0, 5), (digits.id_test.shard(0, 5) - 0.5) / 0.25)
    assert view.std == 0.25
    assert view.bounds == (-float("inf"), float("inf"))
    assert digits.id_test.transform is None
