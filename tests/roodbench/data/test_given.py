"""Benchmarks of sets that somebody gives in Python, or by a module."""

import re

import numpy as np
import pytest
from PIL import Image

import roodbench

LEVELS = np.random.default_rng(0).integers(0, 256, (12, 6, 5, 3), dtype=np.uint8)


def given(**more):
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (90, 6, 5, 3), dtype=np.uint8)
    labels = np.arange(90) % 3
    own = {"id_train": (images[:30], labels[:30]), "id_test": (images[30:45], labels[30:45])}
    return roodbench.benchmark_from(**{**own, "far": {"noise": images[45:70]}, "near": {"more": images[70:]}, **more})


def test_a_benchmark_of_arrays():
    bench = given()
    bench.check()
    assert repr(bench) == "Benchmark(mine: 15 ID images; OOD more (near, 16), noise (far, 20); pixel space)"
    assert (len(bench.id_train), len(bench.id_val), len(bench.ood_val)) == (24, 6, 4 + 5)
    assert [name.partition(":")[0] for name in bench.ood_val.names] == ["more"] * 4 + ["noise"] * 5
    assert len(given(limit=3).ood["noise"]) == 3
    assert np.array_equal(given(limit=3).id_test.array, given(limit=7).id_test.array[:3])
    assert given(size=4).id_test.shape == (3, 4, 4)
    assert given(size=4, channels=1).id_test.shape == (1, 4, 4)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"far": None, "near": None}, "benchmark mine has no OOD set: give near or far"),
        ({"far": LEVELS}, "far: expected sets by name, as far={'textures': images}"),
        ({"id_test": LEVELS}, "mine, ID test has no labels: expected a class for every image of ID test"),
        ({"eps": 8}, "eps 8: expected a number above 0, at most 1, such as 8/255"),
        ({"sigma": "much"}, "sigma 'much': expected a number above 0"),
        ({"limit": 1}, "limit 1: expected at least 2"),
        ({"far": {"noise": LEVELS[:4]}}, "4 images, too few to hold out for OOD (noise) val"),
        ({"near": {"noise": LEVELS}}, "OOD set 'noise' is near and far"),
    ],
)
def test_what_makes_no_benchmark_is_one_line(more, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        given(**more)
    assert "\n" not in str(caught.value)


def test_class_folders_beside_labels_without_names(tmp_path, caplog):
    """Two of three classes would be numbered 0 and 1, whatever they are."""

    def folder(*classes):
        place = tmp_path / "-".join(classes)
        for i, images in enumerate(np.split(LEVELS, 12)[: 4 * len(classes)]):
            file = place / classes[i // 4] / f"{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(images[0]).save(file)
        return place

    def labels(*classes):
        return set(given(shifted={"dark": folder(*classes)}).shifted["dark"].labels.tolist())

    message = "has 2 class folders, ID train 3 classes without names: expected folders named by the labels of ID train"
    with pytest.raises(ValueError, match=message):
        labels("bee", "dog")
    assert labels("1", "2") == {1, 2}
    assert labels("ant", "bee", "dog") == {0, 1, 2}
    assert "folders are numbered by name: ant 0, bee 1, dog 2" in caplog.text


def test_an_identity_depends_on_content_labels_preprocessing_and_order():
    plain = given().id_test.digest
    assert given().id_test.digest == plain
    images, labels = given().id_test.array, given().id_test.labels.numpy()
    again = {"id_test": (images, labels)}
    order = np.argsort(np.random.default_rng(0).random(15))
    other, turned = images.copy(), labels.copy()
    other[7, 2, 2, 1] ^= 1
    turned[4] = (turned[4] + 1) % 3
    digests = {
        given(**again).id_test.digest,
        given(id_test=(images[order], labels[order])).id_test.digest,
        given(id_test=(other, labels)).id_test.digest,
        given(id_test=(images, turned)).id_test.digest,
        given(**again, size=4).id_test.digest,
        given(**again, size=4, resize=5).id_test.digest,
        given(**again, size=4, channels=1).id_test.digest,
    }
    assert len(digests) == 7


def test_a_module_may_give_a_benchmark(tmp_path):
    (tmp_path / "mybench.py").write_text(
        "import numpy as np, roodbench\n"
        "x, y = np.random.default_rng(1).integers(0, 256, (90, 6, 5, 3), dtype=np.uint8), np.arange(90) % 3\n"
        "def make():\n    own = dict(id_train=(x[:30], y[:30]), id_test=(x[30:45], y[30:45]))\n"
        "    return roodbench.benchmark_from('theirs', **own, far={'a': x[45:70], 'b': x[70:]})\n"
        "number = 3\ndef breaks():\n    raise RuntimeError('oh')\n"
    )
    place = f"{tmp_path}/mybench.py"
    bench = roodbench.load_benchmark(f"{place}:make", ood="b", limit=4)
    assert (bench.name, list(bench.ood), len(bench.ood["b"]), len(bench.id_test)) == ("theirs", ["b"], 4, 4)
    for name, message in (
        ("number", "is the int 3: expected a Benchmark, as benchmark_from gives"),
        ("breaks", r"cannot be made \(RuntimeError: oh \(.*mybench\.py:8\)\)"),
        ("mak", "did you mean 'make'"),
    ):
        with pytest.raises(ValueError, match=message):
            roodbench.load_benchmark(f"{place}:{name}")
