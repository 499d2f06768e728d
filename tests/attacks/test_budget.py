"""A budget of passes: the largest attack that it pays for, never a smaller one for more, an error that says which."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

import detectors
from attacks import STRENGTHS, AttackPlan, Strength, ThreatModel, components_of, cost, suite, within
from tests.attacks.analytic import Linear, Noisy, streams

PLAN = AttackPlan(ThreatModel(0.1))
BUDGETS = (700, 800, 1000, 1500, 1501, 2500, 4000, 10_000, 50_000)


def spent(detector, plan, sized=None):
    return sum(cost(detector, plan, sized))


@pytest.mark.parametrize("name", ["msp", "gen", "pro", "ross", "mad"])
@pytest.mark.parametrize("method", ["suite", "pgd", "transfer"])
def test_more_budget_is_no_smaller_attack(name, method, digits_net):
    detector, plan = detectors.create(name, digits_net), replace(PLAN, method=method)
    found = [within(detector, plan, budget) for budget in BUDGETS]
    for budget, plan in zip(BUDGETS, found, strict=True):
        assert budget / 3 < spent(detector, plan) <= budget
    for before, after in pairwise(found):
        assert spent(detector, before) <= spent(detector, after)
        assert before.strength.steps <= after.strength.steps
        assert before.strength.restarts <= after.strength.restarts


def test_steps_and_restarts_grow_by_one_factor_and_queries_by_its_square(digits_net):
    detector = detectors.create("gen", digits_net)
    old = STRENGTHS["standard"]
    new = within(
        detector, replace(PLAN, strength=old), 16 * round(spent(detector, replace(PLAN, strength=old)))
    ).strength
    factor = new.steps / old.steps
    assert factor == pytest.approx(4, rel=0.05)
    assert new.restarts / old.restarts == pytest.approx(factor, rel=0.05)
    assert new.queries / old.queries == pytest.approx(factor**2, rel=0.05)
    assert replace(new, steps=1, restarts=1, queries=0) == replace(old, steps=1, restarts=1, queries=0)


def test_the_next_larger_attack_costs_too_much(digits_net):
    detector = detectors.create("gen", digits_net)
    exact = round(spent(detector, PLAN))
    assert within(detector, PLAN, exact).strength == PLAN.strength
    assert within(detector, PLAN, exact - 1).strength != PLAN.strength


@pytest.mark.parametrize("randomized", [False, True])
def test_what_is_spent_is_within_the_budget(randomized):
    x = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    w = torch.randn(1, 4, 4, generator=torch.Generator().manual_seed(1))
    detector = Noisy(w, 0.1) if randomized else Linear(w)
    plan = within(detector, PLAN, 600)
    assert 300 < sum(suite(detector, x, plan, "min", streams=streams).passes) <= 600


def test_copies_that_the_cosine_rule_found_count(digits_net):
    detector, plan = detectors.create("ross", digits_net), replace(PLAN, strength=STRENGTHS["standard"])
    many = within(detector, plan, 50_000, dict.fromkeys(detector.objectives, 200))
    assert many.strength.steps < within(detector, plan, 50_000).strength.steps


def test_too_small_a_budget_names_the_smallest_that_is_enough(digits_net):
    detector = detectors.create("pro", digits_net)
    smallest = replace(PLAN, strength=Strength(1, 1, 8, compared=PLAN.strength.compared))
    least = round(spent(detector, smallest))
    message = f"budget {least - 1}: suite on pro.gen. takes at least {least} network passes an image"
    with pytest.raises(ValueError, match=message):
        within(detector, PLAN, least - 1, label=detector.label)
    assert within(detector, PLAN, least) == smallest


def test_the_last_run_costs_as_much_as_on_the_dearest_objective(digits_net):
    """Of median's, `exact` takes most forward passes at quick, and `mean` more of both together."""
    detector = detectors.create("median", digits_net)
    (refine,) = (c for c in components_of(detector, PLAN) if c.algorithm == "refine")
    each = {name: sum(refine.on(detector, name).cost(detector, PLAN, {})) for name in detector.objectives}
    assert each["mean"] > each["exact"]
    assert sum(refine.cost(detector, PLAN, {})) == max(each.values())
