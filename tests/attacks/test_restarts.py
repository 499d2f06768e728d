"""Restarts side by side: as one after the other, but in one batch."""

import pytest
import torch

import attacks.restarts
from attacks import AttackPlan, Component, NonFiniteError, Strength, ThreatModel, pgd
from attacks.components import Job
from attacks.restarts import restarted
from tests.attacks.analytic import Linear, Quadratic, generator, linear_optimum, streams

THREAT = ThreatModel(0.1)
SETTINGS = {"objective": "exact", "steps": 20, "clean": False}


@pytest.mark.parametrize("sign", [-1, 1])
def test_it_finds_the_optimum(x, w, sign):
    found = restarted(Linear(w), x, THREAT, sign=sign, restarts=3, generator=generator(), **SETTINGS)
    best = linear_optimum(x, sign * w, 0.1, "linf", 0.0, 1.0)
    torch.testing.assert_close(sign * Linear(w)(found.images), best, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(found.values, Linear(w)(found.images))
    assert THREAT.violation(found.images, x) < 1e-6


def test_every_start_is_a_run_of_its_own_and_the_best_of_all_is_kept(x, w):
    """The trace has one run after the other; the value is the best that any of them met."""
    found = restarted(Quadratic(x[:1] + 0.03), x, THREAT, sign=1, restarts=4, generator=generator(), **SETTINGS)
    assert found.trace.runs == 4
    assert found.trace.values.shape == (4 * 21, len(x))
    assert torch.equal(found.values, found.trace.values.amax(0))
    assert len({float(run[0, 0]) for run in found.trace.values.chunk(4)}) == 4


def test_the_clean_image_counts_where_it_is_asked_to(x, w):
    """Of a score that is best where the image is, nothing better is found."""
    settings = {**SETTINGS, "clean": True, "steps": 2}
    x = x[:1]
    found = restarted(Quadratic(x), x, THREAT, sign=1, restarts=2, generator=generator(), **settings)
    assert torch.equal(found.images, x)


@pytest.mark.parametrize("room", [1, 2, 5, 100])
def test_however_many_run_together_the_same_is_found(x, w, room, monkeypatch):
    """One after the other as `pgd` does it, all at once, or in parts where the rest does not fit."""

    class Small(Quadratic):
        def forward(self, x, *, generator=None):
            if len(x) > 5 * room:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return -(((x.unflatten(0, (-1, 5)) - self.c) ** 2).flatten(2).sum(2)).flatten()

    detector, settings = Small(x + 0.05), {"sign": 1, "restarts": 4, **SETTINGS}
    found = restarted(detector, x, THREAT, generator=generator(), **settings)
    alone = pgd(detector, x, THREAT, generator=generator(), **settings)
    torch.testing.assert_close(found.images, alone.images)
    torch.testing.assert_close(found.trace.values, alone.trace.values)
    monkeypatch.setattr(attacks.restarts, "TOGETHER", 2 * x.numel())
    torch.testing.assert_close(restarted(detector, x, THREAT, generator=generator(), **settings).images, found.images)


def test_a_bad_image_is_named_by_its_place_among_the_images(x, w):
    class Broken(Linear):
        def forward(self, x, *, generator=None):
            score = super().forward(x)
            return torch.where(torch.arange(len(x)) == 8, torch.nan, score)  # image 3 of the second copy of 5

    with pytest.raises(NonFiniteError) as error:
        restarted(Broken(w), x, THREAT, sign=1, restarts=2, generator=generator(), **SETTINGS)
    assert error.value.index == 3


def test_a_component_without_noise_makes_its_restarts_so(x, w):
    plan = AttackPlan(THREAT, strength=Strength(5, 3, 8))
    (found,), _ = Component("pgd", "exact").run(Linear(w), x, plan, Job(1, streams("a"), x))
    alone = restarted(Linear(w), x, THREAT, sign=1, restarts=3, generator=streams("a"), **{**SETTINGS, "steps": 5})
    assert torch.equal(found.images, alone.images)
