"""One adversary against one detector: what it finds on a shard of images, and what the report scores there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

import attacks
from attacks import AttackPlan, Component, Direction
from detectors import Detector

from ..engine.copies import OnCopies
from ..engine.worker import Worker
from ..machine.prepare import HalfGradients
from ..models import Classifier

REPORT_DRAWS = 10


class Attacker:
    """A worker's detector under attack; `precision` is that of the attack's gradients.

    `view` are the threshold and scale under which other libraries see the detector.
    """

    def __init__(self, worker: Worker, *, precision: str = "float32", view: tuple[float, float] = (0.0, 1.0)) -> None:
        self.worker, self.precision, self.view = worker, precision, view
        self.detector = OnCopies(worker.detector, worker.detector.label)

    def find(
        self,
        x: Tensor,
        population: str,
        shard: int,
        direction: Direction,
        plan: AttackPlan,
        reference: Tensor | None,
        draws: Mapping[str, int],
        components: Sequence[Component] | None = None,
        start: Tensor | None = None,
    ) -> attacks.Suite:
        """What the plan's attack makes of one shard; `components` are other attacks to run instead, `start` images to
        go on from.
        """
        if plan.threat.knows_seed:
            reference = None  # to stop for decided images would change the noise of the others
        return attacks.suite(
            self.seen(plan, population, shard),
            x,
            plan,
            direction,
            streams=lambda name: self.worker.stream(name, population, shard),
            draws=draws,
            reference=reference,
            view=self.view,
            components=components,
            start=start,
        )

    def seen(self, plan: AttackPlan, population: str, shard: int) -> attacks.Detector:
        """The detector as the plan's adversary sees it."""
        target = self.detector
        if self.precision == "bfloat16":
            detector = self.worker.detector
            net = detector.network
            if not isinstance(net, Classifier):
                raise ValueError(f"{detector.label} shows no network: use --precision float32")
            target = OnCopies(HalfGradients(detector, net), detector.label)
        if plan.threat.knows_seed and target.randomized:
            return attacks.KnownSeed(target, lambda: self.worker.stream("report", population, shard))
        return target

    def rescored(
        self,
        found: Tensor,
        population: str,
        shard: int,
        direction: Direction,
        plan: AttackPlan,
        draws: int = REPORT_DRAWS,
    ) -> Tensor:
        """Report scores (R, B) of attacked images: on the draw that is known, or the best of several tries."""
        if not self.detector.randomized or plan.threat.knows_seed:
            return self.scores(found, population, shard, draws=1)
        tries = plan.threat.tries
        drawn = self.scores(found, population, shard, draws=draws * tries).view(draws, tries, -1)
        return drawn.amin(1) if direction == "min" else drawn.amax(1)

    def draws(self, x: Tensor, population: str, plan: AttackPlan) -> dict[str, tuple[int, float]]:
        """Per noisy objective of the plan, the copies of a gradient and the median cosine of two halves of them.

        By the cosine rule where the strength leaves them open, else of the copies that a step with momentum rests on;
        measured on the images x at a random start.
        """
        found = {}
        for name in self.noisy(plan):
            generator = self.worker.stream(f"eot/{name}", population, 0)
            draws = attacks.fixed_draws(self.detector, name, plan)
            if draws is None:
                found[name] = attacks.draws_needed(self.detector, x, plan.threat, objective=name, generator=generator)
            else:
                z, n = plan.threat.random(x, generator), attacks.rests_on(draws, plan)
                cosine = attacks.cosine(self.detector, z, objective=name, draws=n, generator=generator)
                found[name] = draws, cosine
        return found

    def noisy(self, plan: AttackPlan) -> list[str]:
        """The plan's objectives whose gradient comes from noisy copies; none where the adversary knows the noise."""
        if plan.threat.knows_seed:
            return []
        components = attacks.components_of(self.detector, plan)
        return list(dict.fromkeys(c.objective for c in components if c.objective and c.is_noisy(self.detector)))

    @torch.no_grad()
    def scores(self, x: Tensor, population: str, shard: int, name: str = "report", draws: int = REPORT_DRAWS) -> Tensor:
        """(draws, B) scores of a shard on the noise stream `name`; (1, B) for a deterministic detector."""
        with attacks.at_once():
            if self.detector.randomized:
                generator = self.worker.stream(name, population, shard)
                rows = torch.stack([self.detector(x, generator=generator) for _ in range(draws)])
            else:
                rows = self.detector(x)[None]
            attacks.check_visited(rows)
        return rows.cpu()


def within(
    detector: Detector, plan: AttackPlan, budget: int | None, sized: Mapping[str, int] | None = None
) -> AttackPlan:
    """The plan with the steps and restarts that `budget` passes per image pay for; unchanged where that is None.

    `sized` are noisy copies per gradient by objective. ValueError, naming the detector and the smallest budget, for one
    that pays for no attack.
    """
    if budget is None:
        return plan
    known = plan.threat.knows_seed and detector.randomized
    seen = attacks.KnownSeed(detector, torch.Generator) if known else detector
    return attacks.within(seen, plan, budget, sized, label=detector.label)
