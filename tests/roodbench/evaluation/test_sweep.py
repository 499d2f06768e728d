"""Every detector over a growing radius: never stronger for it, and nothing left without a bound."""

from itertools import pairwise

import pytest

import roodbench
from detectors import DETECTORS
from roodbench.evaluation.sweep import evaluated, strongest
from roodbench.setup.setting import plan_of
from tests.roodbench.helpers import evaluator, few, fitted

EPS = (2 / 255, 16 / 255, 1.0)


@pytest.fixture(scope="module")
def bench():
    return roodbench.load_benchmark("digits", limit=16, ood=["unseen-digits"])


ALIKE = [
    "pro",
    "ross",
    "ross-q",
    "mad",
    "cov",
    "dice",
    "she",
    "nnguide",
    "rankfeat",
    "odin",
    "approximate-mass",
    "openmax",
]
"""The first cost most, and fall as median does; the others as ebo does."""


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in ALIKE else []) for n in DETECTORS])
def test_auroc_falls_with_epsilon_to_nothing(name, bench, digits_net):
    found = evaluator(fitted(name, digits_net, bench, **few(name)), bench)
    areas = [
        strongest(evaluated(found, "both", plan_of(bench, eps=eps, steps=5, restarts=1), check=False)) for eps in EPS
    ]
    for before, after in pairwise(areas):
        rise = after.minus(before)
        assert rise.value <= 2 * rise.standard_error()
    assert areas[0].value > areas[-1].value + 0.2  # the sweep is a sweep
    if name not in ("mad", "cov"):
        assert areas[-1].value < 0.05
