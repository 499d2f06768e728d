"""Components: an attack is one row of the table, and a component says all that others need to know of it."""

import pytest
import torch
from torch import Tensor, nn

import detectors
import roodbench
from attacks import (
    ALGORITHMS,
    METHODS,
    STRENGTHS,
    Attacked,
    AttackPlan,
    Component,
    NonFiniteError,
    Strength,
    ThreatModel,
    Trace,
    check_method,
    component,
    components_of,
    cost,
    suite,
)
from attacks.algorithms import Algorithm
from attacks.components import Job, Peer
from attacks.seam import check_finite
from detectors import Plain
from detectors.detector import autograd
from tests.attacks.analytic import Linear, Noisy, Quadratic, streams

THREAT = ThreatModel(0.1)


def one_step(detector, x, threat, *, sign, objective, steps, restarts, draws, clean, generator):
    """A gradient attack: one step over the whole ball, `steps` times the same, and the look that keeps the best."""
    for _ in range(restarts):
        for _ in range(steps):
            value, grad = detector.value_and_grad(x, objective=objective, draws=draws, generator=generator)
        z = threat.project(x + sign * threat.eps * threat.ascent(grad), x)
        last = detector.value_and_grad(z, objective=objective, draws=draws, generator=generator)[0]
    zero = (grad.flatten(1) == 0).all(1)
    return Attacked(z, last, Trace(torch.stack([value, last]), 2 * threat.eps, zero))


def corners(detector, x, threat, *, sign, queries, generator):
    """A search: the best of all images brighter, or darker, by epsilon."""
    scores, tried = [], [threat.project(x + side * threat.eps, x) for side in (-1, 1)]
    for z in [x, *(tried[i % 2] for i in range(queries))]:
        scores.append(detector(z, generator=generator) if detector.randomized else detector(z))
        check_finite(scores[-1])
    brighter = sign * scores[2] > sign * scores[1]
    images = torch.where(brighter.view(-1, 1, 1, 1), tried[1], tried[0])
    return Attacked(images, torch.where(brighter, scores[2], scores[1]), Trace.of_queries(scores[1:]))


@pytest.fixture
def toys(monkeypatch):
    """Two more rows, as if they stood in the table when METHODS was made from it."""
    rows = {
        "one-step": Algorithm("one step over the whole ball", one_step),
        "corners": Algorithm("brighter or darker", corners, False, settings=lambda plan, noisy: {"queries": 6}),
    }
    for name, row in rows.items():
        monkeypatch.setitem(ALGORITHMS, name, row)
        monkeypatch.setitem(METHODS, name, row.about)


class Counting(Plain):
    """Scores that count the images that they are asked for, forward and backward."""

    def __init__(self, score):
        super().__init__(score)
        self.spent = [0, 0]

    def forward(self, x, *, generator=None):
        self.spent[0] += len(x)
        return super().forward(x)

    def value_and_grad(self, x: Tensor, *, objective="exact", draws=None, generator=None):
        self.spent[1] += len(x)
        return autograd(self, x)


class Mean(torch.nn.Module):
    def forward(self, x):
        return x.flatten(1).mean(1)


@pytest.mark.parametrize("name", ["one-step", "corners"])
@pytest.mark.usefixtures("toys")
def test_an_attack_is_a_row_of_the_table(name):
    """As `--method`, for which no other file was touched: images at the optimum, name, winners, passes."""
    bench = roodbench.load_benchmark("digits", ood=["unseen-digits"], limit=8)
    spend = {"steps": 3, "restarts": 1} if name == "one-step" else {}
    result = roodbench.evaluate(Plain(Mean()), bench, method=name, eps=0.1, check=False, **spend)
    called, forward, backward = ("one-step:exact", 4, 4) if name == "one-step" else ("corners", 7, 0)
    sets = {"min": bench.id_test.shard(0, 8), "max": bench.ood["unseen-digits"].shard(0, 8)}
    means = {condition: x.flatten(1).mean(1) for condition, x in sets.items()}
    alive = {"min": means["min"] >= means["max"].min(), "max": means["max"] <= means["min"].max()}
    for attacked in result.attacks:
        condition = attacked.condition
        x, left, sign = sets[condition], alive[condition], -1 if condition == "min" else 1
        best = torch.where(left, (x + sign * 0.1).clamp(0, 1).flatten(1).mean(1), means[condition])
        found = torch.tensor(result.scores_of("Mean", attacked.population, condition)[0])
        torch.testing.assert_close(found.float(), best)
        assert attacked.components == ["clean", called]
        assert attacked.winner == left.int().tolist()  # the others are past the whole opposing population: left alone
        assert attacked.wins[called] == sum(attacked.winner) > 4
        share = sum(attacked.winner) / 8
        assert attacked.passes == [1 + share * (forward + 1), share * backward]  # two are scored to choose
    gradients = [i.detail for i in result.indicators if i.name == "gradient"]
    assert bool(gradients) == (name == "one-step")  # a search has none to judge


@pytest.mark.usefixtures("toys")
def test_a_name_that_is_nearly_one_of_the_table():
    with pytest.raises(ValueError, match=r"unknown method 'one-stop'.*one-step"):
        roodbench.evaluate(Plain(Mean()), roodbench.load_benchmark("digits", limit=4), method="one-stop")


@pytest.mark.usefixtures("toys")
def test_what_a_search_of_ones_own_does_not_take():
    for settings in ({"steps": 3}, {"restarts": 2}, {"budget": 900}):
        with pytest.raises(ValueError, match=f"method corners takes no {next(iter(settings))}: leave out"):
            roodbench.RunConfig(method="corners", **settings)
        roodbench.RunConfig(method="one-step", **settings)
    with pytest.raises(ValueError, match="method corners takes no objective: leave out 'exact'"):
        check_method("corners", "exact")
    check_method("one-step", "exact")


@pytest.fixture
def x():
    return torch.rand(4, 1, 4, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def w():
    return torch.randn(1, 4, 4, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", ["pgd", "targeted", "apgd", "square", "noise", "refine", "one-step", "corners"])
@pytest.mark.parametrize("restarts", [1, 2])
@pytest.mark.usefixtures("toys")
def test_the_cost_is_what_a_run_asks_for(name, restarts, x):
    detector = Counting(Mean())
    plan = AttackPlan(THREAT, strength=Strength(3, restarts, 8, queries=7))
    attack = Component(name, "exact" if ALGORITHMS[name].follows_gradient else "")
    results, passes = attack.run(detector, x, plan, Job(1, streams("run"), x))
    assert len(results) == 1
    assert passes == attack.cost(detector, plan, {}) == (detector.spent[0] / 4, detector.spent[1] / 4)
    assert all(THREAT.violation(found.images, x) < 1e-6 for found in results)


class Sides(Linear):
    """<w, x> with another objective of the same gradient; `exact` breaks on bright images."""

    objectives = ("exact", "other")

    def value_and_grad(self, x, *, objective="exact", draws=None, generator=None):
        value, grad = super().value_and_grad(x)
        bright = x.flatten(1).mean(1) > 0.9
        return value.masked_fill(bright & (objective == "exact"), torch.nan), grad


def test_refine_names_the_image_of_the_batch_that_breaks(x, w):
    """Not its place among those that go on with the same objective."""
    x, found_by = x.clone(), ["other", "other", "exact", "exact"]
    x[3] = 1.0
    job = Job(1, streams("refine"), x, found_by=found_by)
    with pytest.raises(NonFiniteError) as raised:
        component("refine").run(Sides(w), x, AttackPlan(THREAT), job)
    assert raised.value.index == 3


def test_what_refine_wins_is_owed_to_what_it_went_on_from(x):
    """A maximum inside the ball, which few steps miss."""
    detector, x = Quadratic(torch.full((1, 4, 4), 0.5)), 0.5 + 0.05 * x
    attacks = [Component("pgd", "exact", steps=0.5), Component("pgd", "exact"), component("refine")]
    plan = AttackPlan(THREAT, strength=Strength(4, 1, 8))
    found, alone = (suite(detector, x, plan, "max", streams=streams, components=attacks[:n]) for n in (3, 2))
    assert set(found.winner.tolist()) == {3}
    assert torch.equal(found.origin, alone.winner)
    assert torch.equal(alone.origin, alone.winner)
    assert component("refine").on(Sides(0), "other").objective == "other"
    assert component("pgd:exact").on(Sides(0), "other").objective == "exact"


def test_the_cost_of_noisy_copies(x, w):
    """Without a size by objective the strength's copies count, and where it leaves them open 25."""
    detector = Noisy(w, 0.1)
    attack = Component("pgd", "exact")
    for strength, sized, copies in (
        (STRENGTHS["quick"], {}, 8),
        (STRENGTHS["standard"], {}, 25),
        (STRENGTHS["standard"], {"exact": 50}, 50),
    ):
        plan = AttackPlan(THREAT, strength=strength)
        assert attack.draws(detector, plan, sized) == copies
        one = detector.passes("exact", copies)
        steps = strength.restarts * strength.steps  # keeps the last
        assert attack.cost(detector, plan, sized) == (steps * one[0], steps * one[1])
    assert attack.draws(Linear(w), AttackPlan(THREAT), {}) is None


def test_restarts_on_noise_are_results_of_their_own(x, w):
    plan = AttackPlan(THREAT, strength=Strength(2, 3, 8))
    attack = Component("pgd", "exact")
    assert (attack.runs(Noisy(w, 0.1), plan), attack.runs(Linear(w), plan)) == (3, 1)
    assert Component("noise").runs(Noisy(w, 0.1), plan) == 1
    assert len(attack.run(Noisy(w, 0.1), x, plan, Job(1, streams("a"), x))[0]) == 3
    assert len(attack.run(Linear(w), x, plan, Job(1, streams("a"), x))[0]) == 1


TRAITS = {
    # follows a gradient, starts at random, its trace holds scores, attacks the base score alone, another library's
    "pgd:exact": (True, True, True, False, False),
    "pgd:mean": (True, True, False, False, False),
    "pgd:base": (True, True, False, True, False),
    "apgd:base:log-odds": (True, True, False, True, False),
    "targeted:base": (True, True, False, True, False),
    "refine": (True, False, True, False, False),
    "square": (False, False, True, False, False),
    "noise": (False, False, True, False, False),
    "torchattacks:PGD": (True, False, False, False, True),
    "torchattacks:Square": (False, False, False, False, True),
}


@pytest.mark.parametrize("name", TRAITS)
def test_what_a_component_says_of_itself(name):
    it = component(name)
    assert it.name == name
    assert (it.follows_gradient, it.starts_at_random, it.shows_score, it.is_transfer, it.is_peer) == TRAITS[name]
    assert component(it.name) == it


def test_another_librarys_attack_is_a_component_too(w):
    it, plan = component("foolbox:LinfPGD", "mean"), AttackPlan(THREAT, strength=Strength(5, 2, 8))
    assert it == Peer("foolbox:LinfPGD", "mean")
    assert it.runs(Noisy(w, 0.1), plan) == 1
    forward, backward = Noisy(w, 0.1).passes("mean", 8)
    assert it.cost(Noisy(w, 0.1), plan, {}) == (12 * forward, 12 * backward)  # a guess: as many looks as pgd
    assert component("foolbox:LinfPGD").objective == "exact"


@pytest.mark.usefixtures("toys")
def test_the_suite_counts_a_winner_by_its_place(x, w):
    attacks = [Component("corners"), Component("one-step", "exact")]
    found = suite(Linear(w), x, AttackPlan(THREAT), "max", streams=streams, components=attacks)
    assert found.components == ("clean", "corners", "one-step:exact")
    assert found.winner.tolist() == [2] * 4  # the exact step of a linear score is its optimum
    assert cost(Linear(w), AttackPlan(THREAT, "corners")) == (1 + 6 + 2, 0)
    assert detectors.Plain(Mean()).label == "Mean"


def test_a_gradient_that_jumps_is_averaged_over_two_long_runs():
    """In the suite, at the passes of the short runs and of a surrogate; who names pgd and its numbers gets them."""
    steady, jumping = (Plain(nn.Identity()) for _ in range(2))
    steady.objectives = jumping.objectives = ("exact", "mean")
    jumping.jumps = frozenset({"exact"})
    pgd, plan = component("pgd:exact"), AttackPlan(THREAT, strength=Strength(10, 4, None))
    short, long = (pgd.arguments(d, plan, {}) for d in (steady, jumping))
    assert (short["steps"], short["restarts"], short["momentum"]) == (10, 4, 0.0)
    assert (long["steps"], long["restarts"], long["momentum"]) == (40, 2, 0.75)
    names = [[c.name for c in components_of(d, plan)] for d in (steady, jumping)]
    assert names == [["pgd:exact", "targeted:exact", "pgd:mean", "refine"], ["pgd:exact", "targeted:exact", "refine"]]
    assert cost(jumping, plan) <= cost(steady, plan)
    named = AttackPlan(THREAT, "pgd", None, Strength(10, 4, None))
    assert pgd.arguments(jumping, named, {}) == pgd.arguments(steady, named, {})
