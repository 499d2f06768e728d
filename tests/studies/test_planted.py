"""Planted mistakes: what is seen of each, and that no AUROC that is a point too high goes unmarked."""

import pytest

import roodbench
from studies import planted
from studies.later_mistakes import LATER
from studies.mistakes import PLANTS
from studies.plants import Parts

EPS = 16 / 255
SEEN = {
    "nothing wrong": set(),
    "images in 16 levels, straight through": set(),
    "0.3 vim under no_grad": {"finite-difference"},
    "4 [knn > -4]": {"line-integral"},
    "4 [lead of the largest logit > 4]": {"line-integral"},
    "half rounded": {"line-integral"},
    "JPEG-like rounding, half of the score": {"line-integral"},
    "signs, straight through": {"finite-difference", "line-integral"},
}
"""The indicators of the gradient that each plant trips."""


@pytest.fixture(scope="module")
def bench():
    return roodbench.load_benchmark("digits", ood=["unseen-digits"], limit=64)


@pytest.fixture(scope="module")
def parts(bench, digits_net):
    return Parts(digits_net, bench.id_train, bench.id_val)


@pytest.mark.parametrize("kind", SEEN)
def test_what_is_wrong_with_a_gradient_is_seen(kind, parts, bench):
    (plant,) = (plant for plant in PLANTS if plant.kind == kind)
    assert planted.seen(parts, plant, bench, EPS, 0) == SEEN[kind]


def test_the_table_says_what_became_of_a_plant(printed):
    planted.main(["--images", "8", "--only", "batch mean"])
    (row,) = printed()
    assert (row["planted"], row["reported"], row["verdict"]) == ("batch mean", "-", "refused")
    assert "among other populations' images" in row["says"]
    assert 0 <= float(row["true"]) <= 100


@pytest.mark.slow
def test_the_power_of_a_share_that_is_there_and_of_none(printed, monkeypatch):
    monkeypatch.setattr(planted, "SHARES", (0.0, 1.0))
    planted.main(["--power", "--images", "8", "--seeds", "1"])
    assert [(row["share"], row["either"]) for row in printed()] == [("0", "0"), ("1", "100")] * 2


@pytest.mark.slow
@pytest.mark.parametrize("plant", [*PLANTS, *LATER], ids=lambda plant: plant.kind)
def test_no_auroc_that_is_a_point_too_high_goes_unmarked(plant, parts, bench):
    shown, verdict, said = planted.verdict(parts, plant, bench, EPS)
    assert (verdict == "reliable") == (not said)
    if verdict == "reliable":
        assert shown - planted.truth(parts, plant, bench, EPS) <= 0.01
    assert plant is not PLANTS[0] or verdict == "reliable"  # nothing is wrong with the first
