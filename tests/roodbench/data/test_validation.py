"""`roodbench validate`: everything that is wrong with a benchmark's images, at once."""

import json

import numpy as np
import pytest
from PIL import Image

import roodbench
from roodbench import cli
from roodbench.data.near import near_pairs, small_of
from roodbench.data.validation import validate
from tests.roodbench.data.pictures import draw, own_folder


def photo(seed, size=64):
    """A smooth picture: noise of a few waves."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    waves = sum(
        rng.normal() * np.cos(2 * np.pi * (rng.integers(0, 4) * x + rng.integers(0, 4) * y + rng.random()))
        for _ in range(9)
    )
    grey = (waves - waves.min()) / np.ptp(waves) * 200 + 20
    return Image.fromarray(np.stack([grey, grey * 0.9, 255 - grey], 2).astype(np.uint8))


@pytest.fixture
def root(tmp_path):
    return own_folder(tmp_path / "pets")


def texts(root, **how):
    found = validate(roodbench.load_benchmark(str(root), **how))
    return [finding.text for finding in found.findings if finding.level == "error"], [
        finding.text for finding in found.findings if finding.level == "notice"
    ]


def test_a_good_folder_has_nothing_wrong(root, capsys):
    found = validate(roodbench.load_benchmark(str(root)))
    assert not found.failed
    assert found.findings == [] or {f.text.rpartition(":")[2] for f in found.findings} == {
        f" {n} images are few, intervals will be wide" for n in (4, 8)
    }
    sets = {(s.place, s.name): s for s in found.sets}
    test = sets["ID test", "pets"]
    assert (test.images, test.readable, test.distinct, test.classes, test.per_class) == (10, 10, 10, 2, (5, 5))
    assert test.sizes == ["12 x 10 x 3"]
    assert cli.main(["validate", str(root)]) == 0
    assert "0 errors, " in capsys.readouterr().out


def test_every_fault_is_found_at_once(root):
    test, train = root / "id" / "test", root / "id" / "train"
    (test / "cat" / "01.png").write_text("no image")
    (test / "dog" / "02.png").write_bytes((test / "dog" / "03.png").read_bytes()[:60])
    (root / "near" / "foxes" / "00.png").write_bytes((train / "cat" / "00.png").read_bytes())
    (root / "near" / "foxes" / "04.png").write_bytes((train / "cat" / "04.png").read_bytes())
    draw(train / "bird", 2, seed=77)
    (root / "id" / "val" / "dog").mkdir(parents=True)
    for i in (0, 1):
        (root / "id" / "val" / "dog" / f"{i}.png").write_bytes((test / "dog" / "04.png").read_bytes())
    draw(root / "ood" / "val", 3, seed=78, size=(9, 9))
    errors, notices = texts(root)
    unreadable = [e for e in errors if "cannot be read" in e]
    assert [e.partition("'")[2].split("'")[0].endswith("id/test") for e in unreadable] == [True, True]
    assert {e.partition("image '")[2].split("'")[0][-10:] for e in unreadable} == {"cat/01.png", "dog/02.png"}
    assert [e for e in errors if e.startswith("ID val pets-val: 1 different image, expected at least 2")]
    assert [e for e in errors if "ID val pets-val (dog/0.png)" in e and "ID test pets (dog/04.png)" in e]
    (twice,) = (e for e in errors if e.startswith("the same image is in ID train pets-train (cat/0"))
    assert twice.endswith("(2 such images)")
    assert [e for e in errors if e.startswith("images of several sizes, and a network takes one: ID train")]
    assert "ID test pets: no image of class 0 (1 of 3 classes)" in notices
    assert "ID val pets-val: 1 of 2 images repeats another one" in notices


def test_a_part_of_a_benchmark_is_looked_at_as_such(root):
    bench = roodbench.load_benchmark(str(root)).limited(4)
    found = {s.name: s for s in validate(bench).sets}
    assert (found["pets"].images, found["foxes"].readable) == (4, 4)


def test_classes_that_train_has_not_and_uneven_ones():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (90, 6, 6, 3), dtype=np.uint8)
    train = np.array([0] * 33 + [1] * 3)
    sets = {"id_train": (images[:36], train), "id_test": (images[36:48], np.arange(12) % 3)}
    bench = roodbench.benchmark_from(**sets, id_val=(images[70:90], train[:20]), far={"x": images[48:]})
    found = [f.text for f in validate(bench).findings]
    assert "ID test mine: no training image has class 2 (1 such class)" in found
    assert "ID train mine-train: classes have 3 to 33 images" in found
    assert [t for t in found if t.startswith("the same image is in ID val mine-val (image 0) and in OOD ")]


def test_another_encoding_or_size_of_a_picture_is_nearly_the_same(root):
    for i in range(10):
        photo(i).save(root / "id" / "test" / "cat" / f"p{i}.png")
        photo(100 + i).save(root / "near" / "foxes" / f"p{i}.png")
    photo(3).save(root / "near" / "foxes" / "again.jpg", quality=60)
    photo(4).resize((50, 50)).save(root / "id" / "train" / "dog" / "small.png")
    (root / "benchmark.toml").write_text(
        'size = 48\n[id]\ntrain = "id/train"\ntest = "id/test"\n[near]\nfoxes = "near/foxes"\n'
    )
    errors, notices = texts(root)
    assert errors == []
    near = [n for n in notices if n.startswith("nearly the same image")]
    assert len(near) == 2
    assert any("(cat/p3.png)" in n and "(again.jpg)" in n for n in near) or any("foxes: again.jpg" in n for n in near)
    assert any("(dog/small.png)" in n and "(cat/p4.png)" in n for n in near)


def test_jpeg_copies_of_real_images_are_found(data_root):
    """All of them, and no other."""
    bench = roodbench.load_benchmark("cifar10", root=data_root, ood=["cifar100", "cifar10jpeg"], limit=300)
    test, copies, other = (
        small_of(s.array) for s in (bench.id_test, bench.shifted["cifar10jpeg"], bench.ood["cifar100"])
    )
    found = near_pairs(test, copies)
    assert len(set(found[:, 0].tolist())) == 300
    assert len(near_pairs(test, other)) == 0


def test_blank_images_are_no_copies():
    blank = np.full((4, 8, 8, 3), 200, np.uint8)
    blank += np.arange(4, dtype=np.uint8)[:, None, None, None]
    assert len(near_pairs(small_of(blank), small_of(blank))) == 0


def test_floats_of_another_range_and_darkness_are_errors():
    rng = np.random.default_rng(0)
    images = rng.random((60, 3, 6, 6), dtype=np.float32)
    sets = {"id_train": (images[:20], np.arange(20) % 2), "id_test": (images[20:30], np.arange(10) % 2)}
    far = images[30:] * 255
    dark = rng.integers(0, 2, (20, 6, 6, 3), dtype=np.uint8)
    found = validate(
        roodbench.benchmark_from(
            **sets, far={"x": far, "dark": dark}, ood_val=rng.random((9, 3, 6, 6), dtype=np.float32)
        )
    )
    errors = [f.text for f in found.findings if f.level == "error"]
    assert sum("outside [0, 1]" in e and "divide by 255" in e for e in errors) == 30
    assert [e for e in errors if e.startswith("OOD test dark: all pixels are black, the brightest is 0.0039 of 1")]


def test_the_command_says_it_in_json_and_by_its_exit_code(root, capsys, monkeypatch):
    monkeypatch.delenv("ROODBENCH_DATA", raising=False)
    assert cli.main(["validate", str(root), "--strict", "--quiet"]) == 1
    capsys.readouterr()
    (root / "id" / "test" / "cat" / "01.png").write_text("no image")
    assert cli.main(["validate", str(root), "--format", "json", "--quiet"]) == 1
    out, err = capsys.readouterr()
    assert err == ""
    found = json.loads(out)
    assert found["name"] == "pets"
    assert {s["place"] for s in found["sets"]} == {"ID train", "ID val", "ID test", "OOD val", "OOD test"}
    assert found["findings"][0]["level"] == "error"
    for arguments, message in (
        (["nowhere"], "unknown benchmark 'nowhere': expected one of digits"),
        (["cifar10"], "benchmark cifar10 needs its images: give --data-root DIR"),
        (["--format", "csv"], "unknown format 'csv'"),
        ([str(root), "--data-root", "/x"], "pets reads nothing from a data root: leave out --data-root /x"),
        ([str(root), "--download"], "pets is not downloaded: leave out --download"),
        (["cifar10", "--download"], "benchmark cifar10 is not downloaded: leave out --download"),
    ):
        assert cli.main(["validate", *arguments]) == 2
        out, err = capsys.readouterr()
        assert message in err
        assert (out, err.count("\n")) == ("", 1)


def test_one_thing_is_no_plural():
    from roodbench.cli.validate import as_text
    from roodbench.data.validation import Finding, Looked, Validation

    looked = [Looked("pets", "ID test", 12)]
    for levels, words in (
        (["notice"], "0 errors, 1 notice"),
        (["error", "notice", "notice"], "1 error, 2 notices"),
    ):
        found = as_text(Validation("pets", looked, [Finding(level, "it is so") for level in levels]))
        assert found.splitlines()[-1] == words
