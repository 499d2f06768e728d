"""Data, networks and clean scores that cannot be right: one line each, marked rows, `--strict` exits 1."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

import detectors
import roodbench
from attacks import AttackPlan, ThreatModel
from detectors import DETECTORS, Outputs
from roodbench.data import Benchmark, ImageSet
from roodbench.evaluation.indicators import Indicator
from roodbench.evaluation.sweep import evaluated
from roodbench.record.build import build
from roodbench.record.result import Result
from tests.roodbench.evaluation.plants import HONEST, Planted
from tests.roodbench.helpers import evaluator, few, fitted, small


class Shown(torch.nn.Module):
    """A network of K classes whose logits are the first K pixels of the image."""

    def __init__(self, classes):
        super().__init__()
        self.head = torch.nn.Linear(classes, classes)

    def outputs(self, x):
        return Outputs(x.flatten(1)[:, : self.head.in_features], None)

    def forward(self, x):
        return self.outputs(x).logits


def benchmark(classes, accuracy, n):
    """n images a population, of random classes of which `Shown` tells a share and guesses the others."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, classes, n)

    def images(name, split, shown, labels):
        array = np.concatenate([np.eye(classes)[shown], rng.random((n, 1))], 1).astype(np.float32)[:, None, None]
        return ImageSet(name, split, labels, lambda: array)

    def told():
        return np.where(rng.random(n) < accuracy, truth, rng.integers(0, classes, n))

    return Benchmark(
        name="made",
        id_train=images("train", "ID train", told(), truth),
        id_val=images("val", "ID val", told(), truth),
        id_test=images("id", "ID test", told(), truth),
        ood_val=images("ood-val", "OOD val", truth, np.full(n, -1)),
        ood={"ood": images("ood", "OOD test", truth, np.full(n, -1))},
        groups={"ood": "far"},
    )


def altered(images, *, index=None, labels=None, name=None):
    """An image set with others of its images, or with other labels."""
    index = np.arange(len(images)) if index is None else np.asarray(index)
    array = images.array[index]
    labels = images.labels.numpy()[index] if labels is None else labels
    return ImageSet(name or images.name, images.split, labels, lambda: array)


def clean(detector, bench):
    return roodbench.evaluate(detector, bench, attack="none")


def failed(result):
    return {i.name: i.message for i in result.indicators if i.passed is False}


def of_network(bench, classes):
    """The failed checks of data and network."""
    found = clean(detectors.create("mls", Shown(classes)), bench)
    return {i.name: i.message for i in found.indicators if i.passed is False and i.about in ("data", "network")}


def shuffled(labels, classes):
    return np.random.default_rng(1).permutation(labels)


def renamed(labels, classes):
    return (labels + 1) % classes


@pytest.mark.parametrize("permuted", [shuffled, renamed])
@pytest.mark.parametrize(("classes", "n"), [(2, 12), (2, 300), (10, 20), (10, 300), (1000, 300)])
def test_permuted_labels_are_noticed(classes, n, permuted):
    bench = benchmark(classes, 0.9, n)
    assert of_network(bench, classes) == {}
    labels = permuted(bench.id_test.labels.numpy(), classes)
    found = of_network(replace(bench, id_test=altered(bench.id_test, labels=labels)), classes)
    assert list(found) == ["id-accuracy"]
    assert "are the labels permuted" in found["id-accuracy"]


@pytest.mark.parametrize(
    ("classes", "told", "n"),
    [
        (2, 0.8, 10),
        (2, 0.3, 300),
        (10, 0.3, 100),
        (10, 0.1, 1000),
        (100, 0.1, 1000),
        (1000, 0.03, 2000),
        (1000, 0.3, 50),
    ],
)
def test_an_honest_weak_network_passes(classes, told, n):
    """Of 1000 classes, 3% are enough: chance is 0.1%."""
    assert of_network(benchmark(classes, told, n), classes) == {}


def test_a_network_that_always_says_the_same_class_is_noticed():
    """Where 80% of the labels are that class, its accuracy is 80%."""
    bench = benchmark(2, 0.0, 100)
    array = np.zeros((100, 1, 1, 3), np.float32)
    array[..., 0], array[:, 0, 0, 2] = 1, np.linspace(0, 1, 100)
    id_test = ImageSet("id", "ID test", (np.arange(100) % 5 == 0).astype(int), lambda: array)
    found = of_network(replace(bench, id_test=id_test), 2)
    assert found["id-accuracy"].startswith("the network: ID accuracy 80.0% is not clearly above the 80.0% of labels")


def test_labels_of_classes_that_are_never_predicted_are_noticed(digits_net):
    low, known = np.flatnonzero(small(60).id_test.labels < 3), small(60).id_test
    wrong = altered(known, index=low, labels=known.labels.numpy()[low] + 3)
    found = failed(clean(fitted("gen", digits_net, small(60)), replace(small(60), id_test=wrong)))
    assert found["id-accuracy"].startswith("digits-cnn: ID accuracy 0.0%")


def test_one_class_alone_says_nothing_of_accuracy():
    bench = benchmark(10, 1.0, 200)
    one = altered(bench.id_test, index=np.flatnonzero(bench.id_test.labels == 3))
    assert "id-accuracy" not in of_network(replace(bench, id_test=one), 10)


def test_an_ood_list_with_class_labels_is_noticed(digits_net):
    """It counts as shifted ID, and its line is marked; the rows of the OOD sets are not."""
    bench = small(60, ("unseen-digits", "noise"))
    noise = bench.ood["noise"]
    as_shifted = {
        "good": ImageSet("good", "ID test", bench.id_test.labels, lambda: 0.98 * bench.id_test.array),
        "noise": altered(noise, labels=np.arange(len(noise)) % 6),
    }
    bench = replace(bench.only(["unseen-digits"]), shifted=as_shifted)
    result = clean(fitted("gen", digits_net, bench), bench)
    assert list(failed(result)) == ["shifted-labels"]
    assert "noise: its class labels make it shifted ID" in failed(result)["shifted-labels"]
    assert "should the labels be -1 (OOD)?" in str(result)
    assert {entry.name: entry.reliable for entry in result.shifted_id} == {"good": True, "noise": False}
    assert "* shifted ID noise, gen: ID accuracy" in str(result)
    assert {row.reliable for row in [*result.rows, *result.averages]} == {True}


@pytest.mark.parametrize("score", ["constant", "zero", "saturated", "sum of the softmax"])
def test_a_constant_score_is_noticed(score, digits_net):
    found = failed(clean(Planted(digits_net, HONEST[score]), small(40)))
    assert list(found) == ["constant"]
    assert "is it constant or saturated?" in found["constant"]


@pytest.mark.parametrize(("share", "noticed"), [(0.05, True), (0.3, False)])
def test_a_score_that_is_the_same_for_most_images_is_noticed(share, noticed, digits_net):
    """It is 1 but for some images, told by a pixel; ID and OOD alike."""
    bench = small(300)
    lines = [float(np.quantile(s.array[:, 0].sum((1, 2)), share)) for s in (bench.id_test, *bench.ood.values())]
    planted = Planted(digits_net, lambda energy, x: torch.where(x.sum((1, 2, 3)) < min(lines), energy(x) / 100, 1.0))
    assert ("constant" in failed(clean(planted, bench))) == noticed


def test_a_constant_score_on_id_alone_is_no_fault(digits_net):
    bench = small(40)
    planted = Planted(digits_net, lambda energy, x: energy(x).clamp_max(8.0))
    scores = clean(planted, bench).scores_of("Planted", "digits")
    assert (scores == 8).mean() > 0.9
    assert "constant" not in failed(clean(planted, bench))


def test_a_reversed_score_is_noticed(digits_net):
    found = clean(Planted(digits_net, lambda energy, x: -energy(x)), small(20))
    assert list(failed(found)) == ["reversed"]
    assert "Planted ranks OOD above ID even without an attack (AUROC" in str(found)
    assert "is the score reversed?" in str(found)


@pytest.mark.parametrize("n", [10, 100, 333])
def test_a_score_that_knows_nothing_is_not_called_reversed(n, digits_net):
    bench = small(n)
    weights = torch.randn(8, 8, generator=torch.Generator().manual_seed(0))
    areas = []
    for seed in range(20):
        weights = torch.randn(8, 8, generator=torch.Generator().manual_seed(seed))
        hashed = Planted(digits_net, lambda energy, x, w=weights: (1e4 * (x[:, 0] * w).sum((1, 2))).sin())
        result = clean(hashed, bench)
        areas.append(result.rows[0].auroc)
        assert "reversed" not in failed(result)
    assert min(areas) < 0.5 < max(areas)


@pytest.mark.parametrize("name", DETECTORS)
def test_no_detector_fails_a_clean_check(name, digits_net):
    bench = small(60, ("unseen-digits", "photos", "noise"))
    assert failed(clean(fitted(name, digits_net, bench, **few(name)), bench)) == {}


def test_copies_of_images_are_counted(digits_net):
    bench = small(40, ("unseen-digits", "photos", "noise"))
    photos = altered(bench.ood["photos"], index=np.repeat(np.arange(20), 2))
    result = clean(fitted("gen", digits_net, bench), replace(bench, ood={**bench.ood, "photos": photos}))
    assert failed(result) == {
        "duplicates": "photos: 20 of 40 images are copies of others in it: is a list repeated? "
        "Intervals count distinct images, AUROC counts every copy"
    }
    (entry,) = (i for i in result.indicators if i.name == "duplicates")
    assert (entry.number, entry.concerns, entry.detector, entry.eps) == (0.5, ["photos"], "", None)
    assert {row.ood: row.reliable for row in result.rows} == {"unseen-digits": True, "photos": False, "noise": True}
    assert {row.group: row.reliable for row in result.averages} == {"near": True, "far": False, "all": False}
    assert [row.warnings[0] for row in result.rows if row.ood == "photos"] == [entry.message]
    twice = replace(bench, id_test=altered(bench.id_test, index=np.repeat(np.arange(20), 2)))
    result = clean(fitted("gen", digits_net, bench), twice)
    assert list(failed(result)) == ["duplicates"]
    assert {row.reliable for row in [*result.rows, *result.averages]} == {False}


def test_a_few_copies_are_no_fault(digits_net):
    bench = small(60)
    images = altered(bench.ood["unseen-digits"], index=[0, *range(59)])
    assert failed(clean(fitted("gen", digits_net, bench), replace(bench, ood={"unseen-digits": images}))) == {}


@pytest.mark.parametrize(("index", "distinct"), [(range(9), 9), (np.arange(40) % 2, 2)])
def test_few_distinct_images_are_noticed(index, distinct, digits_net):
    bench = small(40)
    few = replace(bench, ood={"unseen-digits": altered(bench.ood["unseen-digits"], index=list(index))})
    found = failed(clean(fitted("gen", digits_net, bench), few))["few-images"]
    assert found.startswith(f"unseen-digits: {distinct} distinct images are too few")


def test_what_is_said_of_data_and_network_is_said_once(digits_net):
    """Also of two detectors at two radii; a failed check of data marks clean and attacked rows."""
    bench = small(8)
    found = []
    for name in ("gen", "msp"):
        its = evaluator(fitted(name, digits_net, bench), bench)
        for eps in (0.01, 0.05):
            plan = AttackPlan(ThreatModel(eps), method="pgd", objective="exact")
            found.append(evaluated(its, "both", plan, check=False))
    result = build(found, {}, torch.device("cpu"), {"seconds": 0.0})
    names = [(i.name, i.detector, i.eps) for i in result.indicators if i.about != "attack"]
    assert len(names) == len(set(names))
    assert [n for n, *rest in names if rest == ["", None]] == ["few-images", "duplicates", "dark", "id-accuracy"]
    assert {n for n in names if n[1]} == {
        (n, d, None) for n in ("randomness", "constant", "reversed") for d in ("gen", "msp")
    }
    assert {i.eps for i in result.indicators if i.about == "attack"} == {0.01, 0.05}
    assert {(row.condition, row.reliable) for row in result.rows} == {
        (c, False) for c in ("clean", "min", "max", "both")
    }


def test_a_failed_check_of_the_attack_leaves_clean_rows_alone():
    entry = Indicator("gen", 0.1, "travel", 1.0, 2.0, False, "said")
    assert [entry.marks(condition, ["noise"]) for condition in ("clean", "min", "max", "both")] == [False] + 3 * [True]
    about = replace(entry, about="detector", concerns=["noise"])
    assert [about.marks("clean", names) for names in (["noise"], ["photos"], ["photos", "noise"])] == [
        True,
        False,
        True,
    ]
    assert not replace(about, passed=True).marks("clean", ["noise"])


def test_records_from_before_load(digits_net):
    """Their indicators do not say what they are about, and their shifted sets have no verdict."""
    raw = json.loads(clean(fitted("gen", digits_net, small(20)), small(20)).to_json())
    for entry in raw["indicators"]:
        del entry["about"], entry["concerns"]
    raw["shifted_id"] = [{"detector": "gen", "name": "jpeg", "n": 20, "id_accuracy": 0.5, "flagged": 0.1}]
    record = Result.from_json(json.dumps(raw))
    assert {i.about for i in record.indicators} == {"attack"}
    assert record.shifted_id[0].reliable is None
    assert "\nshifted ID jpeg, gen: ID accuracy 50.0%" in str(record)
    assert asdict(record.indicators[0])["concerns"] == []


def test_strict_fails_a_clean_run_too(capsys, tmp_path):
    arguments = ["--detector", "gen", "--attack", "none", "--ood", "noise", "--quiet", "--out", str(tmp_path)]
    from roodbench.cli import main

    assert main([*arguments, "--limit", "20", "--strict"]) == 0
    assert main([*arguments, "--limit", "9", "--no-check"]) == 0
    out, err = capsys.readouterr()
    assert (out.count("* unreliable: digits: 9 distinct images are too few"), err) == (1, "")
    assert main([*arguments, "--limit", "9", "--strict"]) == 1
    assert capsys.readouterr().err == "roodbench: --strict: failed few-images\n"
