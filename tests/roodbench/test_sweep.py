"""Every detector over a growing radius: never stronger for it, and nothing left without a bound."""

from itertools import pairwise

import pytest
from roodbench.config import DETECTORS, plan_of
from roodbench.evaluate import Evaluator
from roodbench.run import SMOOTHED
from roodbench.summary import strongest

import detectors
import roodbench

EPS = (2 / 255, 8 / 255, 16 / 255, 1.0)


@pytest.fixture(scope="module")
def bench():
    return roodbench.load_benchmark("digits", limit=16, ood=["unseen-digits"])


@pytest.mark.parametrize("name", DETECTORS)
def test_auroc_falls_with_epsilon_to_nothing(name, bench, digits_net):
    params = {"sigma": bench.sigma} if name in SMOOTHED else {}
    detector = detectors.create(name, digits_net, **params).fit(bench.id_train, bench.id_val)
    evaluator = Evaluator(detector, bench)
    areas = [strongest(evaluator.run("both", plan_of(bench, eps=eps), check=False)) for eps in EPS]
    for before, after in pairwise(areas):
        rise = after.minus(before)
        assert rise.value <= 2 * rise.standard_error()
    assert areas[0].value > areas[-1].value + 0.2  # the sweep is a sweep
    if name not in ("mad", "cov"):
        assert areas[-1].value < 0.05
