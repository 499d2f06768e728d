"""A benchmark of a folder or a TOML file: what it may say, and mistakes with their line."""

import re

import numpy as np
import pytest
import torch

import roodbench
from tests.docs.pages import ROOT, blocks
from tests.roodbench.data.pictures import WHOLE, draw, own_folder


@pytest.fixture
def root(tmp_path):
    return own_folder(tmp_path / "pets")


def toml(root, text):
    (root / "benchmark.toml").write_text(text)
    return str(root / "benchmark.toml")


def test_a_folder_is_a_benchmark(root):
    bench = roodbench.load_benchmark(str(root))
    bench.check()
    assert bench.name == "pets"
    assert dict(bench.groups) == {"foxes": "near", "noise": "far"}
    assert bench.id_test.shape == (3, 10, 12)
    assert sorted(bench.id_test.labels.tolist()) == [0] * 5 + [1] * 5
    sizes = [len(s) for s in (bench.id_train, bench.id_val, bench.id_test, bench.ood_val, *bench.ood.values())]
    assert sizes == [16, 4, 10, 2 + 2, 8, 10]  # a fifth is held out
    cats = [name for name, y in zip(bench.id_test.names, bench.id_test.labels.tolist(), strict=True) if y == 0]
    assert all(name.startswith("cat/") for name in cats)


def test_a_file_says_the_same_and_more(root):
    bench = roodbench.load_benchmark(toml(root, WHOLE))
    bench.check()
    assert bench.id_test.shape == (3, 8, 8)
    assert bench.eps == 4 / 255
    assert bench.sigma == 0.0125
    assert set(bench.id_test.names) == set(roodbench.load_benchmark(str(root / "benchmark.toml")).id_test.names)
    assert list(roodbench.load_benchmark(str(root), ood="foxes").ood) == ["foxes"]  # the folder's own file counts
    assert len(roodbench.load_benchmark(str(root), limit=3, train_limit=5).id_test) == 3
    assert len(roodbench.load_benchmark(str(root), limit=3, train_limit=5).id_train) == 5


def test_every_kind_of_set(root, monkeypatch):
    rng = np.random.default_rng(3)
    images, labels = rng.integers(0, 256, (9, 10, 12, 3), dtype=np.uint8), np.arange(9) % 2
    np.save(root / "x.npy", images), np.save(root / "y.npy", labels)
    torch.save(
        {"images": torch.from_numpy(images + 1).permute(0, 3, 1, 2), "labels": torch.from_numpy(labels)}, root / "v.pt"
    )
    (root / "list.txt").write_text("".join(f"near/foxes/{i:02}.png -1\n" for i in range(4)))
    (root / "other.txt").write_text("".join(f"{i:02}.png -1\n" for i in range(4, 8)))
    (root / "mydata.py").write_text(
        "import numpy as np, torch\nrng = np.random.default_rng(5)\n"
        "grey = [(rng.integers(0, 256, (10, 12), dtype=np.uint8), 0) for _ in range(6)]\n"
        "g = torch.Generator().manual_seed(0)\n"
        "def colour():\n    return [torch.rand(3, 10, 12, generator=g) for i in range(6)]\n"
    )
    text = """channels = 1
size = 10
[id]
train = "id/train"
val = { images = "x.npy", labels = "y.npy" }
test = "v.pt"
[ood]
val = { images = "far/noise.npz" }
[near]
listed = "list.txt"
other = { list = "other.txt", images = "near/foxes" }
[far]
grey = "MINE:grey"
[shifted]
dim = "id/test"
"""
    bench = roodbench.load_benchmark(toml(root, text.replace("MINE", str(root / "mydata.py"))))
    bench.check()
    assert bench.id_test.shape == (1, 10, 10)
    assert bench.id_val.labels.tolist() == labels.tolist()
    assert [len(s) for s in bench.ood.values()] == [4, 4, 6]
    assert sorted(bench.shifted["dim"].labels.tolist()) == [0] * 5 + [1] * 5
    floats = WHOLE.replace("size = 8\nresize = 9\n", "").replace("far/noise.npz", f"{root}/mydata.py:colour")
    with pytest.raises(ValueError, match=r"colour.: 6 images, too few to hold out for OOD"):
        roodbench.load_benchmark(toml(root, floats))
    bench = roodbench.load_benchmark(toml(root, floats + '[ood]\nval = "far/noise.npz"\n'))
    bench.check()
    assert bench.ood["noise"].array.dtype == np.float32


MISTAKES = {
    "sise = 8": "line 1: unknown key 'sise': did you mean 'size'? expected one of name, size",
    "[idd]\ntrain = 'x'": "line 1: unknown key 'idd': did you mean 'id'?",
    "[id]\ntrian = 'x'": "line 2: unknown key of [id] 'trian': did you mean 'train'? expected one of train, val, test",
    "[id]\ntrain = 'x'\n[ood]\nvalid = 'x'": "line 4: unknown key of [ood] 'valid': did you mean 'val'?",
    "size = 'big'": "line 1: size 'big': expected a whole number",
    "size = true": "line 1: size True: expected",
    "\nsize = 0": "line 2: size 0: expected 1 to 4096 pixels",
    "size = 8\nresize = 4": "line 2: resize 4: expected 8 to 4096 pixels",
    "resize = 4": "line 1: resize 4: expected a size too",
    "channels = 4": "line 1: channels 4: expected 1 (grey) or 3 (RGB)",
    "eps = '8/0'": "line 1: eps '8/0': expected a number, as 0.03 or \"8/255\"",
    "eps = 8\n" + WHOLE.partition("\n\n")[2]: "line 1: eps 8.0: expected a number above 0, at most 1",
    "name = ''": "line 1: name '': expected text",
    "id = 3": "line 1: id 3: expected a table, [id]",
    "near = [1]": "line 1: near [1]",
    "[id]": "has no ID train set: expected train in [id]",
    "": "has no ID train set",
    "[id]\ntrain = 'id/train'": "has no ID test set: expected test in [id]",
    "[id]\ntest = ''\ntrain = 3": "line 3: id.train 3: expected the name of a set",
    "[id]\ntrain = id/train": "line 2: Invalid value",
    "size = 3\n[id\n": "line 2: ",
    WHOLE.replace("id/test", "x" * 300): "line 8, id.test: [Errno ",
    WHOLE.replace("id/test", "id/tset"): "line 8, id.test: folder 'PLACE/id/tset' is missing",
    WHOLE.replace("near/foxes", "near/wolves"): "line 11, near.foxes: folder 'PLACE/near/wolves' is missing",
    WHOLE.replace("noise.npz", "nose.npz"): "line 14, far.noise: array 'PLACE/far/nose.npz' is missing",
    WHOLE.replace("[far]", "[near]"): "line 13: Cannot declare",
    WHOLE.replace("far/noise.npz", "benchmark.toml"): "line 14, far.noise: 'PLACE/benchmark.toml': expected a folder",
    WHOLE.replace('"far/noise.npz"', "{ image = 'x' }"): "line 14, far.noise: unknown key 'image'",
    WHOLE.replace('"far/noise.npz"', "{ labels = 'x' }"): "far.noise: expected images and labels, or list and images",
    WHOLE.replace("far/noise.npz", "nomodule:x"): "line 14, far.noise: data set 'nomodule:x': cannot import",
    WHOLE.replace("id/test", "far/noise.npz"): "far/noise.npz' has no labels: expected a class for every image of ID",
    WHOLE.replace("noise =", "foxes ="): "OOD set 'foxes' is near and far",
    WHOLE.partition("[near]")[0]: "has no OOD set: expected a set in [near] or [far]",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_mistakes_are_one_line_with_file_and_line(text, root):
    with pytest.raises(ValueError, match=re.escape(MISTAKES[text].replace("PLACE", str(root)))) as caught:
        roodbench.load_benchmark(toml(root, text))
    assert str(caught.value).startswith(f"benchmark '{root}/benchmark.toml'")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("places", "said"),
    {
        ("near", "far"): "has no OOD set: expected near/NAME or far/NAME",
        ("id/test",): "has no ID test set: expected id/test",
        ("id",): "has no benchmark.toml and no id/: expected id/train, id/test and near/NAME or far/NAME",
    }.items(),
)
def test_what_a_folder_lacks_is_said_of_a_folder(places, said, root):
    for place in places:
        (root / place).rename(root / "elsewhere" if len(places) == 1 else root / f"not-{place}")
    with pytest.raises(ValueError, match=re.escape(f"benchmark '{root}' {said}") + "$"):
        roodbench.load_benchmark(str(root))


def test_a_class_that_is_not_in_train_has_the_nearest(root):
    (root / "id" / "test" / "dog").rename(root / "id" / "test" / "dogs")
    with pytest.raises(ValueError, match=r"id\.test: folder '.*/id/test': unknown class 'dogs': did you mean 'dog'\?"):
        roodbench.load_benchmark(str(root))


def test_a_class_that_is_only_in_train_changes_no_label(root):
    draw(root / "id" / "train" / "bird", 2, seed=99)
    assert sorted(set(roodbench.load_benchmark(str(root)).id_test.labels.tolist())) == [1, 2]


def test_other_files_are_left_alone_with_a_notice(root, caplog):
    (root / "near" / "foxes" / "README.txt").write_text("mine")
    (root / "near" / "foxes" / ".DS_Store").write_text("")
    assert len(roodbench.load_benchmark(str(root)).ood["foxes"]) == 8
    assert "foxes': 1 file is no image, such as README.txt" in caplog.text


def test_pictures_of_two_sizes_need_a_size(root):
    draw(root / "near" / "foxes" / "more", 2, size=(9, 9))
    bench = roodbench.load_benchmark(str(root))
    with pytest.raises(ValueError, match=r"image 'more/.*' has 9 x 9 pixels, '.*' 12 x 10: give a size|has 12 x 10"):
        bench.check()


def test_a_folder_that_is_no_benchmark(tmp_path):
    with pytest.raises(ValueError, match=r"has no benchmark\.toml and no id/: expected id/train"):
        roodbench.load_benchmark(str(tmp_path))
    with pytest.raises(ValueError, match=r"benchmark '.*mine\.toml' is no file: expected a TOML file"):
        roodbench.load_benchmark(str(tmp_path / "mine.toml"))
    (tmp_path / "mina.toml").write_text("")
    with pytest.raises(ValueError, match=r"benchmark '.*mine\.toml' is no file, did you mean '.*mina\.toml'\?"):
        roodbench.load_benchmark(str(tmp_path / "mine.toml"))
    (tmp_path / "pictures").mkdir()
    with pytest.raises(ValueError, match=r"unknown benchmark '.*/pictuers': .*, a folder such as '.*/pictures', torch"):
        roodbench.load_benchmark(str(tmp_path / "pictuers"))


def test_the_example_of_the_docs_runs(tmp_path):
    (text,) = blocks((ROOT / "docs/data.md").read_text(encoding="utf-8"), "toml")
    for seed, (split, count) in enumerate((("train", 10), ("test", 4))):
        for place, name in enumerate(("cat", "dog")):
            draw(tmp_path / "cats-and-dogs" / split / name, count, seed=10 * seed + place, size=(70, 66))
    draw(tmp_path / "foxes", 10, seed=50)
    draw(tmp_path / "wolves", 10, seed=51)
    (tmp_path / "wolves.txt").write_text("".join(f"{i:02}.png -1\n" for i in range(10)))
    rng = np.random.default_rng(9)
    np.savez(tmp_path / "noise.npz", images=rng.integers(0, 256, (10, 64, 64, 3), dtype=np.uint8))
    np.save(tmp_path / "own.npy", rng.integers(0, 256, (10, 64, 64, 3), dtype=np.uint8))
    (tmp_path / "mydata.py").write_text(f"import numpy as np\ndataset = np.load({str(tmp_path / 'own.npy')!r})\n")
    file = tmp_path / "benchmark.toml"
    file.write_text(text.replace("mydata.py", str(tmp_path / "mydata.py")))
    bench = roodbench.load_benchmark(str(file))
    bench.check()
    assert dict(bench.groups) == {"foxes": "near", "listed": "near", "noise": "far", "own": "far"}
    assert bench.id_test.shape == (3, 64, 64)
