"""Every detector over a growing radius: never stronger for it, and nothing left without a bound."""

from itertools import pairwise

import pytest
import torch

import roodbench
from detectors import DETECTORS, Plain
from roodbench.evaluation.sweep import evaluated, strongest, sweep
from roodbench.record.build import build
from roodbench.record.held import contradictions
from roodbench.setup.setting import plan_of
from tests.roodbench.evaluation.plants import Planted
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


def test_noise_that_is_not_declared_marks_every_radius_alike(bench, digits_net):
    """It differs by another number whenever it is looked at: the record says one, which all its rows follow."""
    noisy = Plain(Planted(digits_net, lambda energy, x: energy(x) + 0.01 * torch.randn(len(x))))
    plans = [plan_of(bench, eps=eps, steps=1, restarts=1) for eps in EPS[:2]]
    found = sweep(evaluator(noisy, bench), "max", plans, check=False)
    record = build(found, {}, torch.device("cpu"), {"seconds": 0.0})
    assert [i.passed for i in record.indicators if i.name == "randomness"] == [False]
    assert not any(row.reliable for row in record.rows)
    assert list(contradictions(record)) == []
