"""Benchmarks: counts, disjoint splits, OpenOOD lists, and errors that name list, line and file."""

import subprocess
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
from roodbench.data.openood import entries_of
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


def test_digits_are_read_without_importing_scikit_learn():
    code = (
        "import sys, roodbench\n"
        "for name in [name for name in sys.modules if name.split('.')[0] == 'sklearn']: del sys.modules[name]\n"
        "assert len(roodbench.load_benchmark('digits').id_test.array) == 333\n"
        "print([name for name in sys.modules if name.split('.')[0] == 'sklearn'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


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


@pytest.fixture
def folder(tmp_path):
    """A tiny data set in OpenOOD's layout."""
    rng = np.random.default_rng(0)
    lists = tmp_path / "benchmark_imglist" / "cifar10"
    lists.mkdir(parents=True)
    sizes = {"train_cifar10": 6, "val_cifar10": 4, "test_cifar10": 5, "test_jpeg": 5}
    for name, n in {**sizes, "test_texture": 4, "test_tin": 4, "val_tin": 4}.items():
        lines = []
        for i in range(n):
            path = tmp_path / "images_classic" / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (32, 40, 3), dtype=np.uint8)).save(path)
            lines.append(f"{name}/{i}.png {i % 3 if name in sizes else -1}")
        (lists / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_openood_layout(folder):
    bench = roodbench.load_benchmark("cifar10", root=folder)
    assert dict(bench.groups) == {"texture": "far", "tin": "near"}
    assert list(bench.shifted) == ["jpeg"]
    assert bench.ood_val.name == "tin"
    assert [len(s) for s in (bench.id_train, bench.id_val, bench.id_test)] == [6, 4, 5]
    assert bench.id_test.shard(0, 5).shape == (5, 3, 32, 32)
    assert list(bench.only(["tin"]).ood) == ["tin"]
    assert bench.only(["tin"]).shifted == {}


def test_openood_errors_name_list_line_and_file(folder):
    lists = folder / "benchmark_imglist" / "cifar10"
    (folder / "images_classic" / "test_texture" / "2.png").unlink()
    bench = roodbench.load_benchmark("cifar10", root=folder)
    with pytest.raises(ValueError, match=r"test_texture.txt', line [1-4]: image '.*test_texture/2.png' is missing"):
        _ = bench.ood["texture"].array
    (folder / "images_classic" / "test_tin" / "1.png").write_text("no image")
    with pytest.raises(ValueError, match=r"test_tin.txt', line 2: image '.*1.png' cannot be read"):
        _ = bench.ood["tin"].array
    (lists / "test_texture.txt").write_text("a/b.png -1\nwhat\n")
    with pytest.raises(ValueError, match=r"test_texture.txt', line 2: 'what' is not 'path label'"):
        roodbench.load_benchmark("cifar10", root=folder)
    (lists / "test_texture.txt").write_text("a/b.png -1\na/c.png 3\n")
    with pytest.raises(ValueError, match="mixes label -1"):
        roodbench.load_benchmark("cifar10", root=folder)
    (lists / "test_texture.txt").write_text("a/b.png -1\n")
    with pytest.raises(ValueError, match="has 1 images: expected at least 2"):
        roodbench.load_benchmark("cifar10", root=folder)
    (lists / "val_cifar10.txt").unlink()
    with pytest.raises(ValueError, match=r"list '.*val_cifar10.txt' is missing"):
        roodbench.load_benchmark("cifar10", root=folder)
    with pytest.raises(ValueError, match=r"data root '.*nowhere' is not a folder"):
        roodbench.load_benchmark("cifar10", root=folder / "nowhere")
    with pytest.raises(ValueError, match="give --data-root"):
        roodbench.load_benchmark("cifar10")


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("\ufeffa.png 0\nb.png 1\n", [("a.png", 0, 1), ("b.png", 1, 2)]),
        ("a.png 0\r\n\r\nb.png 1", [("a.png", 0, 1), ("b.png", 1, 3)]),
        ("a.png\t0\n  b c.png   -1  \n", [("a.png", 0, 1), ("b c.png", -1, 2)]),
        ("a\u2028b.png 0\nc\x0b\x85\u2029d.png 1\n", [("a\u2028b.png", 0, 1), ("c\x0b\x85\u2029d.png", 1, 2)]),
        ("a.png 0\n\ufeffb.png 1\n", [("a.png", 0, 1), ("b.png", 1, 2)]),
        ("d\u00e9j\u00e0 1.png 12\nx\\y.png 3", [("d\u00e9j\u00e0 1.png", 12, 1), ("x\\y.png", 3, 2)]),
    ],
)
def test_lines_of_a_list(text, entries, tmp_path):
    (tmp_path / "list.txt").write_bytes(text.encode())
    assert entries_of(tmp_path / "list.txt") == entries


@pytest.mark.parametrize(
    "line", ["b.png", "b.png ", "7", " 7", "b.png \u0663", "b.png 1_0", "b.png +1", "b.png 1.0", "b.png,1", "b.png --1"]
)
def test_lines_that_are_no_path_and_label(line, tmp_path):
    (tmp_path / "list.txt").write_bytes(f"a.png 0\n{line}\nc.png 1\n".encode())
    with pytest.raises(ValueError, match=r"list '.*list.txt', line 2: '.*' is not 'path label'"):
        entries_of(tmp_path / "list.txt")


def test_a_list_that_is_no_text(tmp_path):
    (tmp_path / "list.txt").write_bytes("a.png 0\nb.png 1\n".encode("utf-16"))
    with pytest.raises(ValueError, match=r"list '.*list.txt' cannot be read: .*utf-8"):
        entries_of(tmp_path / "list.txt")


def test_paths_written_on_windows(folder):
    file = folder / "benchmark_imglist" / "cifar10" / "test_texture.txt"
    plain = roodbench.load_benchmark("cifar10", root=folder).ood["texture"]
    file.write_text("\r\n".join(file.read_text().replace("/", "\\").splitlines()))
    listed = roodbench.load_benchmark("cifar10", root=folder).ood["texture"]
    assert listed.digest == plain.digest
    odd = folder / "images_classic" / "odd\\name.png"
    Image.new("RGB", (32, 32), "red").save(odd)
    file.write_text("odd\\name.png -1\n" + file.read_text())
    found = roodbench.load_benchmark("cifar10", root=folder).ood["texture"]
    place = found.names.index("odd\\name.png")
    assert found.array[place, 0, 0].tolist() == [255, 0, 0]


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


def test_real_cifar10(data_root):
    bench = roodbench.load_benchmark("cifar10", root=data_root, limit=30)
    assert {n for n, g in bench.groups.items() if g == "near"} == {"cifar100", "tin"}
    assert {"mnist", "texture"} <= set(bench.ood)
    assert list(bench.shifted) == ["cifar10jpeg"]
    for images in (bench.id_train, bench.id_val, bench.id_test, bench.ood_val, *bench.ood.values()):
        assert images.digest
    assert len(bench.id_train) == 5000
    assert len(bench.id_test) == 30
