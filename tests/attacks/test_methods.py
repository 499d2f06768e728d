"""The published attack for as many passes as the suite took."""

from dataclasses import replace

import pytest
import torch

from attacks import AttackPlan, KnownSeed, Strength, ThreatModel, cost, suite, transfer_for
from detectors import Wrapper
from tests.attacks.analytic import Linear, Noisy, streams

PLAN = AttackPlan(ThreatModel(0.1), strength=Strength(steps=4, restarts=2, draws=3, compared=2))


class Dear(Wrapper):
    """A wrapper of which a look takes five passes."""

    name = "dear"

    def forward(self, x, *, generator=None):
        return self.base(x)

    def passes(self, objective="exact", draws=None):
        return (1, 1) if objective == "base" else (5, 5)


@pytest.fixture
def w():
    return torch.randn(1, 4, 4, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("spent", "restarts"), [((6, 6), 1), ((51, 51), 10), ((92, 10), 10), ((53, 53), 10), ((0, 0), 1)]
)
def test_equal_passes_are_restarts_that_cost_what_was_spent(w, spent, restarts):
    """A restart of 4 steps is 5 looks, at 1 + 1 passes; the clean image is another look."""
    found = transfer_for(Dear(Linear(w)), PLAN, spent)
    assert found == replace(PLAN, method="transfer", strength=replace(PLAN.strength, restarts=restarts))


@pytest.mark.parametrize("keep", [None, "last"])
def test_it_costs_within_half_a_restart_of_what_the_suite_took(w, keep):
    detector, plan = Dear(Linear(w)), replace(PLAN, strength=replace(PLAN.strength, keep=keep))
    x = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    spent = suite(detector, x, plan, "max", streams=streams).passes
    again = transfer_for(detector, plan, spent)
    found = suite(detector, x, again, "max", streams=streams)
    assert found.passes == cost(detector, again)
    assert abs(sum(found.passes) - sum(spent)) <= 2 * (4 + 1) / 2
    assert again.strength.restarts > 2


def test_an_attack_on_the_base_score_needs_one_that_is_another_and_a_dear_detector(w):
    dear = Dear(Linear(w))
    assert transfer_for(Linear(w), PLAN, (99, 99)) is None
    assert transfer_for(Noisy(w, 0.1), PLAN, (99, 99)) is None
    for settings in ({"method": "transfer"}, {"method": "pgd"}, {"objective": "exact"}):
        assert transfer_for(dear, replace(PLAN, **settings), (99, 99)) is None
    assert transfer_for(KnownSeed(dear, torch.Generator), PLAN, (99, 99)) is not None
