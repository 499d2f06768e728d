"""Attacks look at numbers on the device once per component: a GPU does not stand still while they decide."""

import pytest
import torch

from attacks import (
    ALGORITHMS,
    AttackPlan,
    Component,
    NonFiniteError,
    Strength,
    ThreatModel,
    at_once,
    check_finite,
    demand,
    suite,
)
from attacks.selection import indexed
from attacks.waiting import sent
from detectors import Detector
from tests.attacks.analytic import Linear, Noisy, streams

STRENGTH = Strength(steps=3, restarts=2, draws=2, apgd=True, queries=12, compared=2)


class Wild(Detector):
    """<w, x> on the first `healthy` calls, then infinite on the image of place 2."""

    name = "wild"

    def __init__(self, w, healthy):
        super().__init__()
        self.w, self.healthy = w, healthy

    def forward(self, x, *, generator=None):
        self.healthy -= 1
        score = (x * self.w).flatten(1).sum(1)
        return torch.where(torch.arange(len(x), device=x.device) == 2, torch.inf, score) if self.healthy < 0 else score


def streams_on(device):
    return lambda name: torch.Generator(device).manual_seed(streams(name).initial_seed())


def attacked(detector, x, method="suite", direction="min", components=None, **settings):
    plan = AttackPlan(ThreatModel(0.1), method=method, strength=STRENGTH)
    return suite(detector, x, plan, direction, streams=streams_on(x.device), components=components, **settings)


@pytest.mark.parametrize("noise", [None, 0.1], ids=["plain", "noisy"])
@pytest.mark.parametrize("method", ["suite", "transfer", *(name for name in ALGORITHMS if name != "refine")])
def test_a_component_waits_once(method, noise, x, w, gpu):
    x, w = x.to("cuda"), w.to("cuda")
    detector = Linear(w) if noise is None else Noisy(w, noise)
    gpu.waits.clear()
    found = attacked(detector, x, method)
    assert gpu.waits.total() <= len(found.traces) + 2, gpu.waits  # one for the images, one at the end


@pytest.mark.parametrize("queries", [20, 40])
def test_square_and_noise_wait_no_more_for_more_queries(queries, x, w, gpu):
    x, w = x.to("cuda"), w.to("cuda")
    gpu.waits.clear()
    for name in ("square", "noise"):
        plan = AttackPlan(ThreatModel(0.1), strength=Strength(1, 1, None, queries=queries))
        suite(Noisy(w, 0.1), x, plan, "max", streams=streams_on(x.device), components=[Component(name)])
    assert gpu.waits.total() == 6, gpu.waits


@pytest.mark.parametrize("method", ["suite", "square", "noise"])
def test_the_device_changes_no_number(method, x, w, gpu):
    """CPU and pretend GPU draw the same numbers here, so that all must be equal."""
    reference = torch.linspace(-3, 3, 20)[None].double()
    here = attacked(Linear(w), x, method, reference=reference)
    there = attacked(Linear(w.to("cuda")), x.to("cuda"), method, reference=reference.to("cuda"))
    assert torch.equal(here.images, there.images.cpu())
    assert torch.equal(here.winner, there.winner.cpu())
    assert here.passes == there.passes


@pytest.mark.parametrize("healthy", [0, 1, 4])
@pytest.mark.parametrize("component", ["pgd", "apgd", "square", "noise"])
def test_the_first_image_is_named_at_the_end(component, healthy, x, w):
    objective = "exact" if ALGORITHMS[component].follows_gradient else ""
    detector = Wild(w, healthy)
    with pytest.raises(NonFiniteError, match="score inf is not finite") as error:
        attacked(detector, x, components=[Component(component, objective)])
    assert error.value.index == 2


def test_of_a_subset_the_image_of_the_batch_is_named(x, w):
    """Images 0 and 1 are decided, so that place 2 of the others is image 4."""
    score = Linear(w)(x)
    order = score.argsort()
    worst = torch.tensor([float(score[order[1]]) + 1e-9, 1e9], dtype=x.dtype)
    with pytest.raises(NonFiniteError) as error:
        attacked(Wild(w, 1), x[order], components=[Component("noise")], reference=worst)
    assert error.value.index == 4


def test_demands_are_looked_at_together():
    seen = []
    with at_once() as demands:
        demand(torch.tensor(True), lambda: seen.append("never made"))
        assert demands.look(torch.tensor([True, False]), torch.tensor([3, 4, 5])) == [[1, 0], [3, 4, 5]]
        check_finite(torch.tensor([1.0, torch.nan]))
        check_finite(torch.tensor([torch.inf, 1.0]))
        seen.append("went on")
        with pytest.raises(NonFiniteError, match="score nan") as error:
            demands.look()
        assert error.value.index == 1
        assert demands.look() == []
    assert seen == ["went on"]


def test_outside_a_demand_is_looked_at_at_once():
    with pytest.raises(KeyError, match="unmet"):
        demand(torch.tensor(False), lambda: KeyError("unmet"))


def test_demands_of_a_subset_name_the_place_in_the_batch():
    index = torch.tensor([7, 5])
    batch = torch.tensor([0, 5, 9, 6, 4, 8, 1, 3])
    with pytest.raises(NonFiniteError) as error, at_once(), indexed(batch), indexed(index):
        check_finite(torch.tensor([0.0, torch.nan]))
    assert error.value.index == 8
    with pytest.raises(KeyError), at_once(), indexed(index):
        demand(torch.tensor(False), lambda: KeyError("unmet"))


def test_an_error_inside_leaves_no_demand_behind():
    def broken():
        check_finite(torch.tensor([torch.nan]))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), at_once():
        broken()
    with pytest.raises(NonFiniteError):
        check_finite(torch.tensor([torch.nan]))


def test_numbers_are_sent_without_a_wait(gpu):
    assert sent([2, 0], torch.device("cuda")).device.type == "cuda"
    assert not gpu.waits
