"""The suite: worst case over objectives, selection on noise of its own, honest accounting."""

from dataclasses import replace

import pytest
import torch

from attacks import (
    STRENGTHS,
    AttackPlan,
    Component,
    Strength,
    Suite,
    ThreatModel,
    Trace,
    components_of,
    cost,
    pgd,
    select,
    suite,
)
from attacks.components import Job, Refine
from detectors.detector import autograd
from tests.attacks.analytic import Linear, Noisy, streams

PLAN = AttackPlan(ThreatModel(0.1))
DIRECTION = {-1: "min", 1: "max"}


def names_of(detector, **settings):
    """The components' names."""
    return tuple(c.name for c in components_of(detector, AttackPlan(ThreatModel(0.1), **settings)))


class TwoFaced(Linear):
    """Objective `good` has the score's gradient, `bad` its opposite."""

    objectives = ("bad", "good")

    def value_and_grad(self, x, *, objective="exact", draws=None, generator=None):
        value, grad = autograd(self, x)
        return (value, grad) if objective == "good" else (-value, -grad)


@pytest.fixture
def x():
    return torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def w():
    return torch.randn(1, 4, 4, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("sign", [-1, 1])
def test_the_suite_is_the_worst_case_over_objectives(x, w, sign):
    threat, detector = ThreatModel(0.1), TwoFaced(w)
    found = suite(detector, x, AttackPlan(threat), DIRECTION[sign], streams=streams)
    assert found.components == ("clean", "pgd:bad", "targeted:bad", "pgd:good", "refine")
    assert (found.winner == 3).all()
    spend = {"steps": 10, "restarts": 4, "clean": False}
    alone = pgd(detector, x, threat, sign=sign, objective="good", generator=streams("attack/pgd:good"), **spend)
    assert torch.equal(found.images, alone.images)


@pytest.mark.parametrize("setting", ["plain", "restarts", "eight bits", "decided"])
def test_refine_starts_from_the_best_so_far(x, w, setting):
    seen, threat = [], ThreatModel(0.1, "l2")

    class Watching(Linear):
        def value_and_grad(self, x, *, objective="exact", draws=None, generator=None):
            seen.append(x)
            return autograd(lambda x: Linear.forward(self, x), x)

    x = (255 * x).round() / 255
    plan = {
        "restarts": AttackPlan(threat, strength=Strength(5, 2, 8)),
        "eight bits": AttackPlan(replace(threat, quantize=True)),
    }.get(setting, AttackPlan(threat))
    settings = {"reference": Linear(w)(x).median()[None]} if setting == "decided" else {}
    first = [Component("pgd", "exact"), Component("targeted", "exact")]
    before = suite(Watching(w), x, plan, "max", streams=streams, components=first, **settings)
    found = suite(Watching(w), x, plan, "max", streams=streams, **settings)
    assert found.components == ("clean", "pgd:exact", "targeted:exact", "refine")
    alive = before.scores <= settings.get("reference", torch.tensor([torch.inf]))
    assert alive.all() == (setting != "decided")
    looks = 2 * plan.strength.steps + 1
    torch.testing.assert_close(seen[-looks], before.images[alive])
    assert (found.scores >= before.scores).all()
    assert len(found.traces["refine"].values) == looks


@pytest.mark.parametrize("noisy", [False, True])
def test_refine_goes_on_with_the_objective_that_found_the_best(x, w, noisy):
    """Half of the images were found by a surrogate, half by the base score; those go on with the score itself."""
    seen = []

    class Watching(Noisy if noisy else Linear):
        objectives = ("exact", "mean", "base")

        def value_and_grad(self, x, *, objective="exact", draws=None, generator=None):
            seen.append((objective, len(x)))
            return autograd(lambda x: Linear.forward(self, x), x)

    detector = Watching(w, 0.1) if noisy else Watching(w)
    attack, plan = Refine(), AttackPlan(ThreatModel(0.1), strength=Strength(5, 2, 8))
    job = Job(1, streams("refine"), x, found_by=["mean", "base", "mean", "base", "", "mean"])
    (found,), passes = attack.run(detector, x, plan, job)
    looks = {"mean": 10 + (not noisy), "exact": 5 + (not noisy)}
    assert [(name, seen.count((name, 3))) for name in looks] == list(looks.items())
    assert len(seen) == sum(looks.values())
    assert passes[1] == sum(looks.values()) * 3 / 6 * detector.passes("exact", 8)[1]
    assert passes[1] <= attack.cost(detector, plan, {})[1]
    shown = found.trace.values[-looks["exact"] :]
    assert shown[:, [0, 2, 5]].isnan().all()  # a surrogate's values are not scores
    assert not shown[:, [1, 3, 4]].isnan().any()
    assert (Linear(w)(found.images) > Linear(w)(x)).all()


@pytest.mark.parametrize(
    ("strength", "expected"),
    [
        ("quick", "pgd:base pgd:exact targeted:exact pgd:a refine"),
        ("standard", "pgd:base pgd:exact targeted:exact pgd:a apgd:base apgd:exact apgd:a refine square"),
    ],
)
def test_the_components_of_the_suite(w, strength, expected):
    class Three(Linear):
        objectives = ("exact", "a", "base")

    detector = Three(w)
    assert names_of(detector, strength=STRENGTHS[strength]) == tuple(expected.split())
    assert names_of(detector, objective="a") == ("pgd:a", "targeted:a")
    detector.randomized = True
    found = components_of(detector, AttackPlan(ThreatModel(0.1), strength=STRENGTHS[strength]))
    through_noise = expected.replace(" targeted:exact", "").replace("pgd:base", "pgd:base targeted:base", 1)
    assert [c.name for c in found] == through_noise.split()
    assert [(c.steps, c.starts) for c in found[2:4]] == [(1.0, 0.25), (0.5, 0.25)]  # many passes a look
    assert names_of(detector, objective="a") == ("pgd:a",)


def test_a_spread_of_copies_gets_twice_the_steps(w):
    """Of few copies it is another score, so that each of its steps is dear: fewer of them end early."""
    detector = Noisy(w, 0.1)
    detector.whole = frozenset({"exact"})
    assert components_of(detector, PLAN) == (Component("pgd", "exact", steps=2.0, starts=0.25), Refine())


def test_clean_wins_where_no_attack_helps(x, w):
    found = suite(TwoFaced(w), x, replace(PLAN, objective="bad"), "max", streams=streams)
    assert (found.winner == 0).all()
    assert torch.equal(found.images, x)


def test_passes_add_up(x, w):
    calls = [0, 0]

    class Counting(TwoFaced):
        def forward(self, x, *, generator=None):
            calls[0] += len(x) / 6
            return super().forward(x)

        def value_and_grad(self, x, **settings):
            calls[1] += len(x) / 6
            return super().value_and_grad(x, **settings)

    plan = replace(PLAN, strength=Strength(4, 2, 8))
    found = suite(Counting(w), x, plan, "max", streams=streams)
    assert calls[1] == found.passes[1] == 3 * 2 * 5 + 9  # runs, restarts, steps and the last look; refine
    assert calls[0] == found.passes[0] == calls[1] + 5  # every value_and_grad is a forward, plus five selections
    assert cost(Counting(w), plan) == found.passes


@pytest.mark.parametrize("method", ["suite", "pgd", "noise", "transfer"])
@pytest.mark.parametrize("noisy", [True, False])
def test_the_cost_is_known_beforehand(x, w, method, noisy):
    detector, strength = (Noisy(w, 0.1) if noisy else Linear(w)), Strength(3, 2, 5)
    for noise in ("fresh", "resubmit:12"):
        plan = AttackPlan(ThreatModel(0.1, noise=noise), method, strength=strength)
        assert cost(detector, plan) == suite(detector, x, plan, "max", streams=streams).passes


@pytest.mark.parametrize("kind", ["deterministic", "randomised"])
def test_decided_images_are_left_alone(x, w, kind):
    """Past the whole opposing population nothing is left to gain: the second objective sees the other images only."""
    seen = []

    class Watching(TwoFaced):
        objectives = ("good", "bad")
        randomized = kind == "randomised"

        def forward(self, x, *, generator=None):
            return super().forward(x)

        def value_and_grad(self, x, *, objective="exact", **settings):
            seen.append((objective, len(x)))
            return super().value_and_grad(x, objective=objective)

    detector = Watching(w)
    two = [Component("pgd", "good", starts=0.25), Component("pgd", "bad", starts=0.25)]
    reach = suite(detector, x, PLAN, "max", streams=streams, components=two[:1]).images
    after = Linear(w)(reach).sort().values
    seen.clear()
    reference = torch.stack([after[0] - 99, after[3] - 1e-4])
    found = suite(detector, x, PLAN, "max", streams=streams, reference=reference, components=two)
    assert {n for name, n in seen if name == "good"} == {6}
    assert {n for name, n in seen if name == "bad"} == {3}
    assert torch.equal(found.images, reach)
    assert found.traces["pgd:bad"].values.isnan().all(0).sum() == 3
    looks, score = (10, 2) if kind == "randomised" else (11, 1)
    scored = score * (6 + 6 + (6 if kind == "randomised" else 3))
    passes = detector.passes("good", 8)[0]
    assert found.passes[0] == pytest.approx((looks * (6 + 3) * passes + scored) / 6)
    if kind == "deterministic":
        torch.testing.assert_close(found.scores, Linear(w)(reach))
    everyone = suite(detector, x, PLAN, "max", streams=streams, reference=after[:1] - 1, components=two)
    assert everyone.components == ("clean", "pgd:good", "pgd:bad")
    assert everyone.traces["pgd:bad"].values.shape == (0, 6)


def test_selection_compares_by_rank_in_the_opposing_population():
    """Scores of -10 and -20 are equally below all of the reference; 0.4 and 0.6 are told apart by it."""
    base = Noisy(torch.ones(1, 1, 1), 1e-6)
    reference = torch.linspace(0, 1, 101)
    a, b = torch.tensor([-10.0, 0.4, 5.0]), torch.tensor([-20.0, 0.6, 4.0])
    candidates = [a.view(3, 1, 1, 1), b.view(3, 1, 1, 1)]
    low = select(base, candidates, sign=-1, reference=reference, stream=lambda: streams("select"))[1]
    assert low.tolist() == [1, 0, 1]  # where ranks tie, the median score decides
    high = select(base, candidates, sign=1, reference=reference, stream=lambda: streams("select"))[1]
    assert high.tolist() == [0, 1, 0]


def test_an_image_that_is_decided_has_stopped_moving(x, w):
    """Two attacks on the score; the second saw only the first of two images, whose last 10 steps made half its gain."""
    rise = torch.linspace(0, 1, 21)[:, None]
    values = torch.cat([rise, torch.full((21, 1), torch.nan)], 1)
    runs = {"pgd:exact": torch.zeros(21, 2), "refine": values}

    def late(runs, ran):
        traces = {name: Trace(v, 1.0, torch.zeros(2)) for name, v in runs.items()}
        traces["refine"] = replace(traces["refine"], zero_gradient=torch.tensor([0.0, ran]))
        return Suite(x[:2], torch.zeros(2), ("clean", *runs), traces, (0, 0), torch.zeros(2)).late_gain(1)

    assert late(runs, torch.nan).tolist() == [pytest.approx(0.5), 0.0]
    short = {"pgd:exact": torch.linspace(0, 1, 11)[:, None].expand(11, 2), "refine": torch.ones(21, 2)}
    short["refine"][:, 1] = torch.nan
    assert late(short, torch.nan).tolist() == [0.0, 0.0]  # all of 10 steps, after which it was decided
    torch.testing.assert_close(late(short, 0.0), torch.tensor([0.0, torch.nan]), equal_nan=True)  # on a surrogate


def test_streams_of_attack_selection_and_nothing_else(x, w):
    asked = []

    def watched(name):
        asked.append(name)
        return streams(name)

    suite(Noisy(w, 0.1), x, PLAN, "max", streams=watched, reference=torch.zeros(5))
    assert set(asked) == {"attack/pgd:exact", "attack/refine", "select"}


def test_transfer_is_pgd_on_base_chosen_by_the_base_score(x, w):
    class Wrapped(TwoFaced):
        objectives = ("exact", "base")

        def value_and_grad(self, x, *, objective="exact", draws=None, generator=None):
            return TwoFaced.value_and_grad(self, x, objective="bad" if objective == "base" else "good")

    found = suite(Wrapped(w), x, replace(PLAN, method="transfer"), "max", streams=streams)
    spend = {"steps": 10, "restarts": 4, "generator": streams("attack/pgd:base")}
    alone = pgd(Wrapped(w), x, ThreatModel(0.1), sign=1, objective="base", **spend)
    assert found.components == ("pgd:base",)
    assert torch.equal(found.images, alone.images)
    assert (Linear(w)(found.images) < Linear(w)(x)).all()  # it even hurts: transfer is not checked on the detector


def test_epsilon_0_reproduces_clean(x, w):
    for detector in (TwoFaced(w), Noisy(w, 0.1)):
        assert torch.equal(suite(detector, x, AttackPlan(ThreatModel(0.0)), "max", streams=streams).images, x)


def test_unknown_method(x, w):
    with pytest.raises(ValueError, match="unknown method 'fgsm'"):
        suite(Linear(w), x, replace(PLAN, method="fgsm"), "max", streams=streams)


def test_quick_is_short_runs_and_8_copies():
    assert STRENGTHS["quick"] == Strength(steps=10, restarts=4, draws=8, compared=2)
