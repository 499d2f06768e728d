"""Data sets of torchvision, read from its own files; nothing is downloaded."""

import struct

import numpy as np
import pytest

import roodbench
from roodbench.data.spec import Reading, source_of
from roodbench.store.vision import import_torchvision

RNG = np.random.default_rng(0)


@pytest.fixture
def torchvision():
    try:
        return import_torchvision()
    except ValueError:
        pytest.skip("torchvision is not installed: pip install '.[vision]'")


def idx(file, array):
    """An array of bytes in the format of MNIST's files."""
    head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(head + array.astype(np.uint8).tobytes())


def mnist(root, name, train=20, test=8):
    """A data set laid out as MNIST is; (images, labels) of its test split."""
    for split, count in (("train", train), ("t10k", test)):
        images, labels = RNG.integers(0, 256, (count, 28, 28)), np.arange(count) % 10
        idx(root / name / "raw" / f"{split}-images-idx3-ubyte", images)
        idx(root / name / "raw" / f"{split}-labels-idx1-ubyte", labels)
    return images.astype(np.uint8), labels


def test_without_torchvision_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torchvision", None)
    with pytest.raises(ValueError, match=r"^torchvision is not installed \(.*\): pip install 'roodbench\[vision\]'$"):
        roodbench.load_benchmark("torchvision:CIFAR10", ood="torchvision:SVHN")


@pytest.mark.usefixtures("torchvision")
def test_a_benchmark_of_two_data_sets(tmp_path):
    images, labels = mnist(tmp_path, "MNIST")
    mnist(tmp_path, "FashionMNIST", test=12)
    bench = roodbench.load_benchmark("torchvision:MNIST", root=tmp_path, ood="torchvision:FashionMNIST")
    bench.check()
    assert (bench.name, list(bench.ood), bench.id_test.shape) == ("mnist", ["fashionmnist"], (1, 28, 28))
    assert [len(s) for s in (bench.id_train, bench.id_val, bench.id_test, bench.ood_val)] == [16, 4, 8, 2]
    source = source_of("torchvision:MNIST/test", Reading(root=tmp_path), ood=False)
    assert source.labels.tolist() == labels.tolist()
    assert np.array_equal(source.images()[..., 0], images)


@pytest.mark.usefixtures("torchvision")
@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("torchvision:CIFAR", "unknown data set of torchvision 'CIFAR': did you mean"),
        ("torchvision:MNIST/val", "torchvision:MNIST/val: unknown split 'val': .*expected one of train, test"),
        ("torchvision:CIFAR10/test", r"cannot be read from '.*' \(RuntimeError: Dataset not found.*give --download"),
        ("torchvision:SUN397/test", "torchvision's SUN397 has no splits, leave out /test"),
    ],
)
def test_mistakes_are_one_line(what, message, tmp_path):
    with pytest.raises(ValueError, match=message) as caught:
        source_of(what, Reading(root=tmp_path), ood=False)
    assert "\n" not in str(caught.value)


def test_a_benchmark_needs_ood_sets():
    with pytest.raises(ValueError, match="benchmark torchvision:CIFAR10 has no OOD set: give --ood with sources, as"):
        roodbench.load_benchmark("torchvision:CIFAR10")
