"""OpenOOD's layout: lists, groups, preprocessing, what is missing; errors that name list, line and file."""

import os
import unicodedata

import numpy as np
import pytest
from PIL import Image

import roodbench
from roodbench.data.lists import entries_of
from roodbench.data.openood import LAYOUTS, PHOTO


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
    there = (
        r"cifar10 lacks images of texture \(1 of 4, the first in list '.*test_texture.txt', line 3: image '.*/2.png'"
    )
    with pytest.raises(ValueError, match=there + r" is missing\); finish the download, or run .*: --ood tin,jpeg$"):
        roodbench.load_benchmark("cifar10", root=folder)
    bench = roodbench.load_benchmark("cifar10", root=folder, ood=["tin", "jpeg"])
    assert list(bench.ood) == ["tin"]
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
    with pytest.raises(ValueError, match="has 1 image: expected at least 2"):
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


COMMENTED = """# written by hand
#a comment without a label
a.png 0
  # another, 7
#1.png 1

b.png 2\r#2 3.png 4"""


def test_comments_and_lines_of_an_old_mac(tmp_path):
    (tmp_path / "list.txt").write_bytes(COMMENTED.encode())
    assert entries_of(tmp_path / "list.txt") == [("a.png", 0, 3), ("#1.png", 1, 5), ("b.png", 2, 7), ("#2 3.png", 4, 8)]


@pytest.mark.parametrize(
    "name", ["../out.png", "a/../../out.png", "{root}/out.png", "..\\out.png", "a\\..\\..\\out.png", ".."]
)
def test_names_cannot_leave_the_data_root(name, folder):
    """Also where a file is there."""
    Image.new("RGB", (32, 32), "red").save(folder / "out.png")
    file = folder / "benchmark_imglist" / "cifar10" / "test_texture.txt"
    file.write_text(file.read_text() + name.format(root=folder) + " -1\n")
    bench = roodbench.load_benchmark("cifar10", root=folder)
    with pytest.raises(ValueError, match=r"test_texture.txt', line 5: image '.*' leads out of '.*images_classic'"):
        _ = bench.ood["texture"].array


def test_a_name_may_go_up_and_come_back(folder):
    file = folder / "benchmark_imglist" / "cifar10" / "test_texture.txt"
    plain = roodbench.load_benchmark("cifar10", root=folder).ood["texture"].digest
    file.write_text(file.read_text().replace("test_texture/", "test_tin/../test_texture/./"))
    assert roodbench.load_benchmark("cifar10", root=folder).ood["texture"].digest == plain


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_accents_are_found_in_either_of_unicodes_ways(form, folder):
    texture = folder / "images_classic" / "test_texture"
    (texture / "3.png").rename(texture / unicodedata.normalize(form, "caf\u00e9 \u6f22 3.png"))
    file = folder / "benchmark_imglist" / "cifar10" / "test_texture.txt"
    other = {"NFC": "NFD", "NFD": "NFC"}[form]
    lines = file.read_text().replace("/3.png", "/" + unicodedata.normalize(other, "caf\u00e9 \u6f22 3.png"))
    file.write_text(lines, encoding="utf-8")
    assert roodbench.load_benchmark("cifar10", root=folder).ood["texture"].distinct == 4


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_a_pipe_is_not_waited_for(folder):
    pipe = folder / "images_classic" / "test_texture" / "2.png"
    pipe.unlink()
    os.mkfifo(pipe)
    bench = roodbench.load_benchmark("cifar10", root=folder)
    with pytest.raises(ValueError, match=r"line 3: image '.*2.png' cannot be read \(is no regular file\)"):
        _ = bench.ood["texture"].array


def test_a_missing_file_has_the_nearest_name(folder):
    file = folder / "benchmark_imglist" / "cifar10" / "train_cifar10.txt"
    for wrong, near in (("train_cifar10/3.PNG", "train_cifar10/3.png"), ("train_cifar/3.png", "train_cifar10")):
        file.write_text(f"train_cifar10/0.png 0\n{wrong} 1\n")
        bench = roodbench.load_benchmark("cifar10", root=folder)
        with pytest.raises(ValueError, match=rf"line 2: image '.*{wrong}' is missing: did you mean '.*{near}'\?"):
            _ = bench.id_train.array


def test_labels_that_do_not_fit_the_split_name_their_line(folder):
    lists = folder / "benchmark_imglist" / "cifar10"
    for name, label, said in (
        ("train_cifar10", -1, "ID train, expected a class label"),
        ("val_tin", 3, "OOD val, expected -1"),
        ("test_tin", -2, "ID test, expected a class"),
    ):
        before = (lists / f"{name}.txt").read_text()
        (lists / f"{name}.txt").write_text("\n".join(f"{line.split()[0]} {label}" for line in before.splitlines()))
        with pytest.raises(ValueError, match=rf"{name}.txt', line 1: label {label} in {said}"):
            roodbench.load_benchmark("cifar10", root=folder)
        (lists / f"{name}.txt").write_text(before)


def test_an_official_set_without_a_list_is_a_notice(folder, caplog):
    roodbench.load_benchmark("cifar10", root=folder)
    lacking = "cifar100, mnist, svhn, places365"
    assert [r.getMessage().partition("' ")[2] for r in caplog.records] == [
        f"lacks the lists of {lacking}: means are not OpenOOD's"
    ]
    caplog.clear()
    roodbench.load_benchmark("cifar10", root=folder, ood="texture")
    assert not caplog.records
    with pytest.raises(ValueError, match=r"OOD set svhn of cifar10 has no list: expected '.*test_svhn.txt'"):
        roodbench.load_benchmark("cifar10", root=folder, ood="svhn")
    with pytest.raises(ValueError, match=r"unknown OOD set 'textures': did you mean 'texture'\?"):
        roodbench.load_benchmark("cifar10", root=folder, ood="textures")


GROUPS = {
    "cifar10": ("cifar100 tin", "mnist svhn texture places365", "cifar10c", "tin", 32),
    "cifar100": ("cifar10 tin", "mnist svhn texture places365", "", "tin", 32),
    "imagenet200": (
        "ssb_hard ninco",
        "inaturalist textures openimage_o",
        "imagenet200_v2 imagenet200_c imagenet200_r",
        "openimage_o",
        224,
    ),
    "imagenet1k": (
        "ssb_hard ninco",
        "inaturalist textures openimage_o",
        "imagenet_v2 imagenet_c imagenet_r",
        "openimage_o",
        224,
    ),
}
"""Of the paper's table (arXiv:2306.09301): near, far, shifted ID, OOD validation, pixels."""


def full_layout(root, name):
    """Every list of a benchmark with two images each, of 300 x 260 pixels (ImageNet-C: 224 x 224)."""
    near, far, shifted, val, size = GROUPS[name]
    id_name = {"imagenet1k": "imagenet"}.get(name, name)
    lists = root / "benchmark_imglist" / id_name
    lists.mkdir(parents=True)
    rng = np.random.default_rng(0)
    names = [f"train_{id_name}", f"val_{id_name}", f"test_{id_name}", f"val_{val}"]
    for key in [*names, *(f"test_{key}" for key in [*near.split(), *far.split(), *shifted.split()])]:
        large = size == 224 and not key.endswith("textures")
        folder = root / ("images_largescale" if large else "images_classic") / key
        folder.mkdir(parents=True)
        label = 0 if key in names[:3] or key.removeprefix("test_") in shifted.split() else -1
        shape = (224, 224, 3) if key.endswith("_c") else (260, 300, 3)
        for i in range(2):
            Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(folder / f"{i}.png")
        (lists / f"{key}.txt").write_text("".join(f"{key}/{i}.png {label}\n" for i in range(2)))
    return root


@pytest.mark.parametrize("name", GROUPS)
def test_the_official_groups_and_preprocessing(name, tmp_path, caplog):
    bench = roodbench.load_benchmark(name, root=full_layout(tmp_path, name))
    near, far, shifted, val, size = GROUPS[name]
    assert {k for k, g in bench.groups.items() if g == "near"} == set(near.split())
    assert {k for k, g in bench.groups.items() if g == "far"} == set(far.split())
    assert set(bench.shifted) == set(shifted.split())
    assert bench.ood_val.name == val
    bench.check()
    assert bench.id_test.shape == (3, size, size)
    assert not caplog.records
    source = Image.open(tmp_path / LAYOUTS[name].images / f"test_{bench.id_test.name}" / "0.png")
    short = 256 if size == 224 else 32
    resized = source.resize((int(short * 300 / 260), short), Image.Resampling.BILINEAR)
    left, top = round((resized.width - size) / 2), (short - size) // 2
    expected = np.asarray(resized.crop((left, top, left + size, top + size)))
    assert any(np.array_equal(image, expected) for image in bench.id_test.array)
    for key in bench.shifted:
        if key.endswith("_c"):  # 224 pixels as they are
            corrupted = np.asarray(Image.open(tmp_path / LAYOUTS[name].images / f"test_{key}" / "1.png"))
            assert any(np.array_equal(image, corrupted) for image in bench.shifted[key].array)


def test_training_images_of_imagenet_are_limited(tmp_path, caplog, monkeypatch):
    root = full_layout(tmp_path, "imagenet200")
    file = root / "benchmark_imglist" / "imagenet200" / "train_imagenet200.txt"
    file.write_text(file.read_text() * 2)
    assert LAYOUTS["imagenet200"].train == 10_000
    assert LAYOUTS["imagenet200"].frame == PHOTO
    assert len(roodbench.load_benchmark("imagenet200", root=root, train_limit=3).id_train) == 3
    assert "imagenet200: 3 of the 4 training images, --train-limit 0 for all" in caplog.text
    assert len(roodbench.load_benchmark("imagenet200", root=root).id_train) == 4
    assert len(roodbench.load_benchmark("imagenet200", root=root, train_limit=0).id_train) == 4
    with pytest.raises(ValueError, match="train_limit 1: expected at least 2"):
        roodbench.load_benchmark("imagenet200", root=root, train_limit=1)


def test_real_cifar10(data_root):
    whole = roodbench.load_benchmark("cifar10", root=data_root, limit=30)
    assert len(whole.id_train) == 5000
    bench = roodbench.load_benchmark("cifar10", root=data_root, limit=30, train_limit=300)
    assert {n for n, g in bench.groups.items() if g == "near"} == {"cifar100", "tin"}
    assert {"mnist", "texture"} <= set(bench.ood)
    assert list(bench.shifted) == ["cifar10jpeg"]
    for images in (bench.id_train, bench.id_val, bench.id_test, bench.ood_val, *bench.ood.values()):
        assert images.digest
    assert len(bench.id_test) == 30
