"""The intervals of a record's rows and averages."""

import json
from dataclasses import replace

import numpy as np
import pytest

import detectors
import roodbench
from roodbench import metrics
from roodbench.data import ImageSet
from roodbench.record.pairs import groups_of, overlaps_of
from roodbench.report.compare import compare
from tests.roodbench.helpers import small

METRICS = ("auroc", "fpr95_id", "fpr95_id_refit", "fpr95_ood", "aupr_in", "aupr_out")


@pytest.fixture(scope="module")
def result(digits_net):
    return roodbench.evaluate(
        detectors.create("mls", digits_net), small(30, ("unseen-digits", "photos")), attack="none"
    )


def test_every_metric_has_an_interval_in_rows_and_averages(result):
    for row in [*result.rows, *result.averages]:
        for name in METRICS:
            low, high = getattr(row, f"{name}_ci")
            assert 0 <= low <= getattr(row, name) <= high <= 1
            assert high > low
    means = [row for row in result.averages if row.group == "all"]
    for name in METRICS:
        assert getattr(means[0], name) == pytest.approx(np.mean([getattr(row, name) for row in result.rows]))


def test_few_images_near_1_are_named(result):
    near = [row for row in result.rows if row.auroc > metrics.EXTREME]
    assert near
    for row in near:
        assert any(
            line.startswith(f"{row.ood}: the smaller population has 30 distinct images") for line in row.warnings
        )
        assert "to 9.5 points" in str(result)


def test_a_record_of_before_has_no_interval_of_aupr(result):
    old = json.loads(result.to_json())
    for row in [*old["rows"], *old["averages"]]:
        del row["aupr_in_ci"], row["aupr_out_ci"]
    again = roodbench.Result.from_json(json.dumps(old))
    assert again.rows[0] == replace(result.rows[0], aupr_in_ci=None, aupr_out_ci=None)


def test_a_set_with_every_image_eight_times_has_the_intervals_of_the_set(digits_net, result):
    bench = small(30, ("unseen-digits", "photos"))
    eight = {name: repeated(images) for name, images in bench.ood.items()}
    many = replace(bench, id_test=repeated(bench.id_test), ood=eight)
    again = roodbench.evaluate(detectors.create("mls", digits_net), many, attack="none")
    for once, row in zip([*result.rows, *result.averages], [*again.rows, *again.averages], strict=True):
        assert row.n_id == 8 * once.n_id
        for name in METRICS:
            assert getattr(row, f"{name}_ci") == pytest.approx(getattr(once, f"{name}_ci"), abs=1e-9)
    once, many = (next(i.number for i in r.indicators if i.name == "reversed") for r in (result, again))
    assert many == pytest.approx(once, abs=1e-9)


def repeated(images):
    array, labels = np.tile(images.array, (8, 1, 1, 1)), np.tile(images.labels.numpy(), 8)
    return ImageSet(images.name, images.split, labels, lambda: array)


def test_first_names_the_first_image_of_the_same_content():
    pixels = np.array([5, 7, 5, 9, 7], dtype=np.uint8)[:, None, None, None]
    images = ImageSet("five", "OOD test", [-1] * 5, lambda: pixels)
    assert images.first.tolist() == [0, 1, 0, 3, 1]
    assert images.first.dtype == np.int64


def test_passes_of_an_average_are_those_of_all_its_images(digits_net):
    bench = small(6, ("unseen-digits", "photos"))
    bench = replace(bench, ood={**bench.ood, "photos": bench.ood["photos"].at(np.arange(3))})
    attack = {"attack": "max", "eps": 64 / 255, "steps": 5, "check": False}
    result = roodbench.evaluate(detectors.create("mls", digits_net), bench, **attack)
    digits, photos = (row.passes["ood"] for row in result.rows if row.condition == "max")
    assert digits != photos
    mean = next(row for row in result.averages if (row.condition, row.group) == ("max", "all"))
    assert mean.passes == {"id": [0, 0], "ood": pytest.approx(np.average([digits, photos], axis=0, weights=[6, 3]))}


MEANS = {
    "unseen-digits": [],
    "unseen-digits,photos": ["all"],
    "photos,noise": ["all"],
    "unseen-digits,photos,noise": ["far", "all"],
}


@pytest.mark.parametrize("names", MEANS)
def test_a_table_shows_means_over_several_sets_each_once(names, digits_net):
    bench = small(4, names.split(","))
    result = roodbench.evaluate(detectors.create("mls", digits_net), bench, attack="none")
    for text in (str(result), result.to_markdown()):
        assert [group for group in ("near", "far", "all") if f"mean of {group}" in text] == MEANS[names]
    groups = {row.group for row in result.averages}
    assert groups == {"all", *(row.group for row in result.rows)}


def test_a_mean_over_sets_that_share_images_counts_them_once_in_its_intervals(digits_net):
    """By the benchmark and, from its record, in a comparison; FPR95, whose resamples know nothing of it, has none."""
    bench = roodbench.load_benchmark("digits", ood="noise", limit=12)
    array = bench.ood["noise"].array

    def part(name, pixels):
        return ImageSet(name, "OOD test", np.full(len(pixels), -1), lambda: pixels)

    pixels = {"one": array[[0, 1, 2, 3, 3]], "other": array[2:9], "third": array[[8, 8, 0, 10]]}
    sets = {name: part(name, its) for name, its in pixels.items()}
    whole = replace(bench, ood=sets, groups={"one": "near", "other": "far", "third": "far"})
    both = [roodbench.evaluate(detectors.create(name, digits_net), whole, attack="none") for name in ("gen", "msp")]
    found = both[0]
    said = "OOD sets one and other share 2 images: their mean counts them twice; its intervals of AUROC and AUPR allow"
    mean = {row.group: row for row in found.averages}
    assert {group: any(said in note for note in row.warnings) for group, row in mean.items()} == {
        "near": False,
        "far": False,
        "all": True,
    }
    assert said in found.to_table()
    assert overlaps_of(found) == whole.overlaps == {("one", "other"): 2, ("one", "third"): 1, ("other", "third"): 1}
    for name, its in whole.groups_of_ood.items():
        assert groups_of(found, f"OOD test: {name}").tolist() == its.tolist()
    parts = [components(found, name, whole.groups_of_ood[name]) for name in pixels]
    assert metrics.average(parts).overlap
    ends = metrics.average(parts).interval().ci
    assert mean["all"].auroc_ci == pytest.approx(ends)
    assert ends != pytest.approx(metrics.average([components(found, name) for name in pixels]).interval().ci)
    assert (mean["all"].fpr95_id_ci, mean["all"].fpr95_ood_ci) == (None, None)
    assert mean["near"].fpr95_id_ci is not None
    again = [replace(roodbench.Result.from_json(its.to_json()), scores=its.scores) for its in both]
    standing = next(s for s in compare(dict(zip("ab", again, strict=True))).standings if s.detector == "gen")
    assert standing.auroc_ci == pytest.approx(ends)


def components(found, ood, groups=None):
    return metrics.components(found.scores_of("gen", "digits"), found.scores_of("gen", ood), (None, groups))
