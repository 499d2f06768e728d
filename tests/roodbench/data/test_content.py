"""Arrays of images: layout, type, range, what repeats, and that nobody writes into them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import roodbench
from roodbench.data import ImageSet
from tests.roodbench.helpers import fitted, small


def random(*shape, kind=np.float32):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, shape).astype(kind) if kind == np.uint8 else rng.random(shape).astype(kind)


def set_of(images, n=None, split="ID test", **more):
    return ImageSet("x", split, [0] * (len(images) if n is None else n), lambda: images, **more)


def test_both_layouts_are_served_alike():
    levels = random(5, 4, 6, 3, kind=np.uint8)
    a, b = set_of(levels), set_of((levels / np.float32(255)).transpose(0, 3, 1, 2))
    assert a.shape == b.shape == (3, 4, 6)
    assert torch.equal(a.shard(0, 5), b.shard(0, 5))
    assert a.shard(1, 2)[0, 2, 3, 5].item() == np.float32(levels[1, 3, 5, 2]) / np.float32(255)
    assert torch.equal(set_of(torch.from_numpy(levels)).shard(0, 5), a.shard(0, 5))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (random(4, 8, 8, 3), r"float32 \(4, 8, 8, 3\): .*\(\.transpose\(0, 3, 1, 2\)\)"),
        (random(4, 3, 8, 8, kind=np.uint8), r"uint8 \(4, 3, 8, 8\): .*\(\.transpose\(0, 2, 3, 1\)\)"),
        (random(4, 8, 8), r"float32 \(4, 8, 8\): .*\[:, None\] adds the channel"),
        (random(4, 8, 8, kind=np.uint8), r"uint8 \(4, 8, 8\): .*\[\.\.\., None\] adds the channel"),
        (random(3, 8, 8), r"float32 \(3, 8, 8\): expected .* C 1 or 3$"),
        (random(4, 64), r"float32 \(4, 64\): expected"),
        (random(4, 8, 8, 4, kind=np.uint8), r"uint8 \(4, 8, 8, 4\): .*lay transparent images on a background"),
        (random(4, 2, 8, 8), r"float32 \(4, 2, 8, 8\): expected"),
        (random(4, 3, 0, 8), r"float32 \(4, 3, 0, 8\): expected"),
        (random(4, 3, 8, 8, kind=np.float64), r"float64 \(4, 3, 8, 8\): .*\.astype\(np\.float32\)"),
        (random(4, 3, 8, 8, kind=np.float16), r"float16 .*\.astype\(np\.float32\)"),
        (random(4, 3, 8, 8, kind=">f4"), r">f4 .*\.astype\(np\.float32\)"),
        (np.ones((4, 3, 8, 8), np.int16), r"int16 .*over the largest value of a pixel"),
        (np.ones((4, 3, 8, 8), np.int64), r"int64 .*over the largest value of a pixel"),
        (np.ones((4, 3, 8, 8), bool), r"bool .*expected uint8"),
        ([np.ones((8, 8, 3)), np.ones((8, 9, 3))] * 2, r"the images are no array .*: expected uint8"),
        (random(5, 3, 8, 8), "x: 4 labels for 5 images"),
    ],
)
def test_another_layout_or_type_is_one_line_with_the_cure(images, message):
    with pytest.raises(ValueError, match=message) as caught:
        set_of(images, 4).shard(0, 2)
    assert "\n" not in str(caught.value)


def test_the_cures_cure():
    assert set_of(random(4, 8, 8, 3).transpose(0, 3, 1, 2)).shape == (3, 8, 8)
    assert set_of(random(4, 3, 8, 8, kind=np.uint8).transpose(0, 2, 3, 1)).shape == (3, 8, 8)
    assert set_of(random(4, 8, 8)[:, None]).shape == (1, 8, 8)
    assert set_of(random(4, 8, 8, kind=np.uint8)[..., None]).shape == (1, 8, 8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda a: a * 255,
            r"pixels from 0 to 255, outside \[0, 1\] in 2 of 4 images, first in image 2: divide by 255",
        ),
        (lambda a: a * 65535, r"from 0 to 65535, .*: divide by 65535"),
        (lambda a: a * 1e6, "divide by the largest value of a pixel"),
        (
            lambda a: 2 * a - 1,
            r"from -1 to 1, .* in 1 of 4 images, first in image 1: .*\[-1, 1\]\? give \(x \+ 1\) / 2",
        ),
        (lambda a: (a - 0.45) / 0.2, r"from -2.25 to 2.75, .*already normalised\?"),
        (lambda a: a + 1e-5 * (a == 1), "from 0 to 1.00001"),
        (lambda a: a / 255, r"all pixels are black, the brightest is 0.0039 of 1: divided by 255 twice\?"),
        (lambda a: np.where(a == 1, np.nan, a), "x: image 2 has non-finite pixels"),
        (lambda a: np.where(a == 1, np.inf, a), "x: image 2 has non-finite pixels"),
    ],
)
def test_pixels_outside_0_to_1_are_refused(change, message):
    images = np.full((4, 1, 2, 2), 0.5, np.float32)
    images[1, 0, 0, 0], images[2, 0, 1, 1], images[3, 0, 0, 1] = 0.0, 1.0, 1.0
    if "2 of 4" in message:
        images[0], images[1] = 0, 1 / 255 / 255
    with pytest.raises(ValueError, match=message):
        set_of(change(images).astype(np.float32)).shard(0, 4)


def test_rounding_is_no_mistake_and_nothing_is_clipped():
    images = random(3, 1, 2, 2)
    images[0, 0, 0, 0], images[1, 0, 1, 1] = 1 + 2e-7, -2e-7
    assert torch.equal(set_of(images).shard(0, 3), torch.from_numpy(images))


def test_bytes_of_0_and_1_are_refused():
    images = (random(4, 2, 2, 1) > 0.5).astype(np.uint8)
    with pytest.raises(ValueError, match=r"brightest is 0.0039 of 1: \[0, 1\] cast to uint8\? multiply by 255 first"):
        _ = set_of(images).array


def test_first_and_distinct_by_hand(caplog):
    a, b, c = random(3, 1, 2, 2)
    images = ImageSet("x", "ID test", [0, 1, 0, 2, 1, 0], lambda: np.stack([a, b, a, c, b, a]))
    assert images.first.tolist() == [0, 1, 0, 3, 1, 0]
    assert images.first.dtype == np.int64
    assert images.distinct == 3
    assert [r.getMessage() for r in caplog.records] == [
        "x (ID test): 6 images, 3 distinct: a repeated image says nothing new"
    ]
    _ = images.in_space("halved", lambda x: x / 2).array, images.digest
    assert len(caplog.records) == 1
    assert images.at(np.array([4, 1, 3])).first.tolist() == [0, 0, 2]


def test_the_same_image_under_two_labels_is_a_notice(caplog):
    a, b, c = random(3, 1, 2, 2)
    _ = ImageSet("x", "ID val", [0, 1, 2, 1, 0], lambda: np.stack([a, b, a, b, c])).array
    assert "x (ID val): 1 of 5 images repeat another one under another label" in caplog.text
    caplog.clear()
    _ = ImageSet("x", "OOD test", [-1, 3, 2], lambda: np.stack([a, a, b])).array
    assert "label" not in caplog.text


def test_negative_zero_and_bytes_look_the_same():
    levels = random(3, 2, 2, 1, kind=np.uint8)
    levels[0] = 0
    floats = (levels / np.float32(255)).transpose(0, 3, 1, 2)
    floats[0] *= -1
    other = floats + np.float32(1e-4)
    assert set_of(levels).looks == set_of(floats).looks
    assert not set(set_of(levels).looks) & set(set_of(other).looks)


@pytest.mark.parametrize("n", [0, 1, 5])
def test_a_population_of_one_image_is_refused(n):
    images = np.repeat(random(1, 1, 2, 2), n, 0)
    expected = rf"x: {n} images?, {min(n, 1)} distinct: expected at least 2" if n else "labels are float64"
    with pytest.raises(ValueError, match=expected):
        _ = set_of(images).array


def test_a_set_keeps_images_of_its_own():
    own, labels = random(3, 1, 2, 2), np.array([0, 1, 2])
    images = ImageSet("x", "ID test", labels, lambda: own)
    before, digest = images.shard(0, 3), images.digest
    own *= 0.5
    labels[:] = 0
    images.shard(0, 3).mul_(0)
    with pytest.raises(ValueError, match="read-only"):
        images.array[0] = 0
    assert torch.equal(images.shard(0, 3), before)
    assert images.digest == digest
    assert images.labels.tolist() == [0, 1, 2]
    assert own.flags.writeable
    own.flags.writeable = False
    assert not set_of(own).array.flags.writeable
    assert not own.flags.writeable


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0.0, 1.0], r"x \(ID test\): labels are float64 \(2,\): expected whole numbers"),
        ([True, False], "labels are bool"),
        ([[1, 0], [0, 1]], r"labels are int64 \(2, 2\)"),
        ([0, -1], "label -1: expected classes of at least 0 in an ID set"),
    ],
)
def test_labels_are_one_class_an_image(labels, message):
    with pytest.raises(ValueError, match=message):
        ImageSet("x", "ID test", labels, lambda: random(2, 1, 2, 2))


def test_names_and_splits_are_checked():
    with pytest.raises(ValueError, match="x: 2 labels for 1 names"):
        set_of(random(2, 1, 2, 2), names=["a"])
    with pytest.raises(ValueError, match=r"unknown split 'ID Test'.*ID test"):
        set_of(random(2, 1, 2, 2), split="ID Test")


def test_a_set_on_another_scale_is_marked(digits_net):
    """The digits have 17 levels: as bytes from 0 to 16 they are all but black, and any detector tells them apart."""
    bench = small(20)
    unseen = bench.ood["unseen-digits"]
    levels = (16 * unseen.shard(0, 20)).round().byte().permute(0, 2, 3, 1).numpy()
    dark = ImageSet("unseen-digits", "OOD test", unseen.labels.numpy(), lambda: levels)
    result = roodbench.evaluate(
        fitted("gen", digits_net, bench), replace(bench, ood={"unseen-digits": dark}), attack="none"
    )
    (failed,) = (i for i in result.indicators if i.passed is False)
    assert failed.message == (
        "unseen-digits: its brightest pixel is 0.063 of 1: are pixels on another scale than 0 to 255?"
    )
    assert [row.reliable for row in result.rows] == [False]
    assert unseen.brightest == 1.0
