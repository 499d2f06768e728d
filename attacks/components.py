"""One attack on one objective: how it runs, what it costs, what its trace shows.

algorithms.py has this project's attacks; methods.py says which of them a method consists of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any

import torch
from torch import Tensor

from .algorithms import ALGORITHMS, MOMENTUM, QUERIES, Algorithm
from .eot import LEAST, fixed_draws
from .external import external, is_external, is_search
from .pgd import pgd
from .plan import AttackPlan
from .restarts import restarted
from .seam import Detector, is_base, is_noisy
from .selection import indexed
from .trace import Attacked, Trace
from .two_logits import TwoLogits
from .waiting import sent

Passes = tuple[float, float]
"""Network passes (forward, backward) per image."""


@dataclass(frozen=True)
class Component:
    """An algorithm on one objective; one that asks for scores alone has none."""

    algorithm: str
    objective: str = ""
    steps: float = 1.0
    """Its steps as a share of the strength's."""
    starts: float = 1.0
    """Its restarts as a share of the strength's, rounded up."""
    long: int = 2
    """Its runs where the suite makes long ones of its restarts (`makes_long`)."""

    @property
    def name(self) -> str:
        """`pgd:exact`, `square`."""
        return f"{self.algorithm}:{self.objective}" if self.objective else self.algorithm

    @property
    def row(self) -> Algorithm:
        return ALGORITHMS[self.algorithm]

    @property
    def is_peer(self) -> bool:
        """Whether it is another library's."""
        return False

    @property
    def follows_gradient(self) -> bool:
        return self.row.follows_gradient

    @property
    def starts_at_random(self) -> bool:
        """Whether it follows a gradient from a start of its own, so that its trace shows what the gradient is there."""
        return self.follows_gradient and self.row.starts_at_random

    @property
    def goes_on(self) -> bool:
        """Whether it follows a gradient from the best that others found."""
        return self.follows_gradient and not self.row.starts_at_random

    @property
    def shows_score(self) -> bool:
        """Whether its trace holds scores, not a surrogate's values."""
        return self.objective in ("exact", "") and not self.is_peer

    @property
    def is_transfer(self) -> bool:
        """Whether it attacks the base score alone."""
        return is_base(self.objective)

    def on(self, detector: Detector, found: str) -> Component:
        """The component for an image whose best was reached on the objective `found`; it differs for `refine` alone."""
        return self

    def is_noisy(self, detector: Detector) -> bool:
        """Whether it follows a gradient that comes from noisy copies."""
        return self.follows_gradient and is_noisy(detector, self.objective)

    def draws(self, detector: Detector, plan: AttackPlan, sized: Mapping[str, int]) -> int | None:
        """Noisy copies per gradient, `sized` by objective where the strength leaves them open; None without noise."""
        if not self.is_noisy(detector):
            return None
        return sized.get(self.objective) or fixed_draws(detector, self.objective, plan) or LEAST

    def runs(self, detector: Detector, plan: AttackPlan) -> int:
        """Separate results: one per restart where only fresh noise can tell which is best."""
        return self.restarts(plan) if self.is_noisy(detector) else 1

    def restarts(self, plan: AttackPlan) -> int:
        return ceil(self.starts * plan.strength.restarts)

    def makes_long(self, detector: Detector, plan: AttackPlan) -> bool:
        """Whether a few long runs take the steps of all restarts: where a score jumps, averaging over steps helps."""
        return plan.method == "suite" and self.algorithm == "pgd" and self.objective in detector.jumps

    def arguments(self, detector: Detector, plan: AttackPlan, sized: Mapping[str, int]) -> dict[str, Any]:
        """What the function takes besides images, threat, sign and randomness."""
        noisy = self.is_noisy(detector)
        own = self.row.settings(plan, noisy)
        if not self.follows_gradient:
            return own
        found = {
            "objective": self.objective,
            "steps": ceil(self.steps * plan.strength.steps),
            "restarts": 1 if noisy else self.restarts(plan),
            "draws": self.draws(detector, plan, sized),
            "clean": plan.method == "transfer",  # elsewhere the selection compares with the clean image
            **own,
        }
        if self.makes_long(detector, plan):
            found |= {"restarts": self.long, "steps": found["restarts"] * found["steps"], "momentum": MOMENTUM}
        return found

    def cost(self, detector: Detector, plan: AttackPlan, sized: Mapping[str, int]) -> Passes:
        """Network passes (forward, backward) on one image."""
        given = self.arguments(detector, plan, sized)
        if not self.follows_gradient:
            return times(1 + given["queries"], detector.score_passes())
        best = given.get("keep", "best") == "best"
        towards = 0 if detector.network is None else ceil(self.row.towards * given["steps"])
        runs = self.runs(detector, plan)
        starts = runs * given["restarts"]
        looks = starts * (max(1, given["steps"] - towards) + best) + (given["clean"] and best)
        forward, backward = times(looks, detector.passes(self.objective, given["draws"]))
        return forward + starts * towards + runs * (towards > 0), backward + starts * towards

    def run(self, detector: Detector, x: Tensor, plan: AttackPlan, job: Job) -> tuple[list[Attacked], Passes]:
        """The results, and the passes per image that they took."""
        given = self.arguments(detector, plan, job.sized)
        if not self.row.starts_at_random:
            given["start"] = job.best
        attack, found = self.row.attack, []
        if attack is pgd and given["restarts"] > 1 and given["keep"] == "best":
            attack = restarted
        for run in range(self.runs(detector, plan)):
            place = {"place": run} if self.row.towards else {}
            found.append(attack(detector, x, plan.threat, sign=job.sign, generator=job.generator, **given, **place))
        return found, self.cost(detector, plan, job.sized)


@dataclass(frozen=True)
class Refine(Component):
    """`refine`: on each image the objective that found its best so far; `exact` where the base score or nothing did."""

    algorithm: str = "refine"

    def on(self, detector: Detector, found: str) -> Component:
        """The run that goes on from what the objective `found` reached: twice as long on one of the detector's own."""
        own = [name for name in detector.objectives if not is_base(name)]
        if found in own:
            return replace(self, objective=found, steps=2.0)
        return replace(self, objective="exact" if "exact" in own else own[0])

    def is_noisy(self, detector: Detector) -> bool:
        return is_noisy(detector, self.objective or "exact")

    def runs(self, detector: Detector, plan: AttackPlan) -> int:
        return 1

    def cost(self, detector: Detector, plan: AttackPlan, sized: Mapping[str, int]) -> Passes:
        """What it takes on the most expensive of the detector's objectives."""
        if self.objective:
            return super().cost(detector, plan, sized)
        return max((self.on(detector, name).cost(detector, plan, sized) for name in detector.objectives), key=sum)

    def run(self, detector: Detector, x: Tensor, plan: AttackPlan, job: Job) -> tuple[list[Attacked], Passes]:
        if self.objective:
            return super().run(detector, x, plan, job)
        # known noise belongs to the places in a batch: it stays whole
        names = ["exact"] * len(x) if plan.threat.knows_seed else list(job.found_by)
        images, values, traces = job.best.clone(), x.new_zeros(len(x)), []
        spent = [0.0, 0.0]
        for part in dict.fromkeys(self.on(detector, name) for name in names):
            chosen = [self.on(detector, name) == part for name in names]
            index = sent([place for place, own in enumerate(chosen) if own], x.device)
            with indexed(index):
                (found,), passes = part.run(detector, x[index], plan, replace(job, best=job.best[index]))
            images[index], values[index] = found.images, found.values.to(values)
            shown = found.trace if part.shows_score else found.trace.hidden()
            traces.append(shown.spread(index, len(x)))
            spent = [total + len(index) / len(x) * one for total, one in zip(spent, passes, strict=True)]
        return [Attacked(images, values, Trace.together(traces))], (spent[0], spent[1])


@dataclass(frozen=True)
class Peer(Component):
    """Another library's attack `LIBRARY:NAME` on the two-logit view; its trace shows nothing."""

    @property
    def name(self) -> str:
        return self.algorithm

    @property
    def is_peer(self) -> bool:
        return True

    @property
    def follows_gradient(self) -> bool:
        return not is_search(self.algorithm)

    @property
    def starts_at_random(self) -> bool:
        return False

    @property
    def goes_on(self) -> bool:
        return False

    @property
    def shows_score(self) -> bool:
        return False

    def runs(self, detector: Detector, plan: AttackPlan) -> int:
        return 1

    def cost(self, detector: Detector, plan: AttackPlan, sized: Mapping[str, int]) -> Passes:
        """A guess: as many as pgd."""
        looks = plan.strength.restarts * (plan.strength.steps + 1)
        return times(looks, detector.passes(self.objective, self.draws(detector, plan, sized)))

    def run(self, detector: Detector, x: Tensor, plan: AttackPlan, job: Job) -> tuple[list[Attacked], Passes]:
        seed = int(torch.randint(2**31, (1,), generator=job.generator, device=job.generator.device))
        view = TwoLogits(
            detector,
            *job.view,
            objective=self.objective,
            draws=self.draws(detector, plan, job.sized),
            generator=job.generator,
        ).to(x.device)
        images = external(
            view,
            x,
            plan.threat,
            sign=job.sign,
            method=self.algorithm,
            steps=plan.strength.steps,
            restarts=plan.strength.restarts,
            queries=plan.strength.queries or QUERIES,
            seed=seed,
        )
        forward, backward = view.spent
        values = torch.zeros(len(x), device=x.device, dtype=x.dtype)
        return [Attacked(images, values, Trace.empty(x))], (forward / len(x), backward / len(x))


@dataclass(frozen=True)
class Job:
    """What a component needs to run besides the detector, the images and the plan."""

    sign: int
    generator: torch.Generator
    best: Tensor
    """The best images so far, like x."""
    sized: Mapping[str, int] = field(default_factory=dict)
    """Noisy copies per gradient, by objective."""
    found_by: Sequence[str] = ()
    """Per image the objective that reached `best`, empty for none."""
    view: tuple[float, float] = (0.0, 1.0)
    """Threshold and scale under which other libraries see the detector."""


def times(n: float, passes: Passes) -> Passes:
    return n * passes[0], n * passes[1]


def component(name: str, objective: str | None = None) -> Component:
    """The component of this name, as a record has it; `objective` is that of another library's attack."""
    if is_external(name):
        return Peer(name, objective or "exact")
    if name == "refine":
        return Refine()
    algorithm, _, target = name.partition(":")
    return Component(algorithm, target)
