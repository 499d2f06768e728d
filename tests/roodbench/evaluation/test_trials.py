"""The attacks beside the plan's own: each differs from it in what it is there to judge."""

from dataclasses import replace

import pytest

import detectors
from attacks import STRENGTHS, AttackPlan, ThreatModel
from roodbench.evaluation.trials import candidates, trial_of, trials_of

THREAT = ThreatModel(16 / 255)


def trials(detector, plan, place):
    best, noisy = candidates(detector, plan)
    return best[place], trials_of(detector, plan, THREAT, best=best[place], noisy=noisy[0] if noisy else None)


@pytest.mark.parametrize("restarts", [1, 2, 3, 4])
@pytest.mark.parametrize("name", ["ebo", "pro", "ross"])
def test_twice_the_restarts_are_twice_as_many(name, restarts, digits_net):
    """Of whatever won, also where the suite spends a share of the restarts on it, rounded up."""
    detector = detectors.create(name, digits_net)
    plan = AttackPlan(THREAT, strength=replace(STRENGTHS["quick"], restarts=restarts))
    for place, best in enumerate(candidates(detector, plan)[0]):
        again = trials(detector, plan, place)[1]["twice the restarts"]
        assert again.components[0].name == best.name
        assert again.components[0].restarts(again.plan) == 2 * best.restarts(plan)


@pytest.mark.parametrize("name", ["knn", "klm"])
def test_where_long_runs_are_made_of_restarts_twice_as_many_start(name, digits_net):
    """Longer ones are what twice the steps are."""
    detector, plan = detectors.create(name, digits_net), AttackPlan(THREAT)
    found = trials(detector, plan, 0)[1]
    plain, more, longer = (
        trial.components[0].arguments(detector, trial.plan, {})
        for trial in (trial_of(detector, plan), found["twice the restarts"], found["twice the steps"])
    )
    assert (more["restarts"], more["steps"]) == (2 * plain["restarts"], plain["steps"])
    assert (longer["restarts"], longer["steps"]) == (plain["restarts"], 2 * plain["steps"])


@pytest.mark.parametrize("name", ["ebo", "pro", "ross"])
def test_no_trial_pays_for_an_attack_twice(name, digits_net):
    """What starts at random is judged, and what goes on from its images runs once after it."""
    detector, plan = detectors.create(name, digits_net), AttackPlan(THREAT)
    best, noisy = candidates(detector, plan)
    assert "refine" not in [c.name for c in (*best, *noisy)]
    assert {c.algorithm for c in noisy} == ({"pgd"} if detector.randomized else set())
    for trial in trials(detector, plan, -1)[1].values():
        names = [c.name for c in trial.components]
        assert len(names) == len(set(names))
