"""One adversary against one detector: what it finds on a shard of images, and what the report scores there."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

import attacks
from attacks import STRENGTHS, Strength, ThreatModel
from detectors import Detector

from .models import Classifier
from .parts import label_of, network_of
from .prepare import HalfGradients

REPORT_DRAWS = 10
Direction = Literal["min", "max"]
"""min lowers ID scores, max raises OOD scores."""


class EvaluationError(RuntimeError):
    """A run that cannot go on; the message names the detector and the image."""


@dataclass(frozen=True)
class AttackPlan:
    """One adversary: its ball, its method and what it may spend."""

    threat: ThreatModel
    method: str = "suite"
    objective: str | None = None
    strength: Strength = STRENGTHS["quick"]
    adversary: str = "fresh"
    """fresh, known-seed or resubmit:q."""
    quantize: bool = False
    """Whether attacked images are rounded to 8 bits before they are scored."""


def rests_on(copies: int, plan: AttackPlan) -> int:
    """The copies whose halves must agree: where momentum averages over steps, as many as a later step rests on."""
    if plan.strength.draws is None or plan.method == "apgd" or attacks.is_external(plan.method):
        return copies
    return round(copies * (1 + attacks.MOMENTUM) / (1 - attacks.MOMENTUM))


def stream(seed: int, name: str, population: str, shard: int, device: torch.device) -> torch.Generator:
    """The generator of one use of randomness; other names, populations and shards get unrelated ones."""
    digest = hashlib.sha256(f"{seed}/{name}/{population}/{shard}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "big") >> 1)


class Attacker:
    """A fitted detector with the noise streams of a seed; `precision` is that of the attack's gradients.

    `view` are the threshold and scale under which other libraries see the detector.
    """

    def __init__(
        self,
        detector: Detector,
        *,
        seed: int,
        device: torch.device,
        precision: str = "float32",
        view: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        self.detector, self.seed, self.device, self.precision, self.view = detector, seed, device, precision, view

    def stream(self, name: str, population: str, shard: int) -> torch.Generator:
        """The generator of one use of randomness on one shard of a population."""
        return stream(self.seed, name, population, shard, self.device)

    def find(
        self,
        x: Tensor,
        population: str,
        shard: int,
        direction: Direction,
        plan: AttackPlan,
        reference: Tensor | None,
        copies: dict[str, int],
        components: Sequence[str] | None = None,
    ) -> attacks.Suite:
        """What the plan's attack makes of one shard; `components` names other attacks to run instead."""
        target = self.seen(plan, population, shard)
        if plan.adversary == "known-seed":
            reference = None  # to stop for decided images would change the noise of the others
        return attacks.suite(
            target,
            x,
            plan.threat,
            sign=-1 if direction == "min" else 1,
            streams=lambda name: self.stream(name, population, shard),
            method=plan.method,
            objective=plan.objective,
            strength=plan.strength,
            draws=copies,
            reference=None if reference is None else reference.to(x.device),
            view=self.view,
            components=components,
            eight_bits=plan.quantize and plan.threat.eps * 255 >= 1,
            tries=attacks.tries_of(plan.adversary),
        )

    def seen(self, plan: AttackPlan, population: str, shard: int) -> attacks.Detector:
        """The detector as the plan's adversary sees it."""
        target: attacks.Detector = self.detector
        if self.precision == "bfloat16":
            net = network_of(self.detector)
            if not isinstance(net, Classifier):
                raise ValueError(f"{label_of(self.detector)} shows no network: use --precision float32")
            target = HalfGradients(self.detector, net)
        if plan.adversary == "known-seed" and self.detector.randomized:
            target = attacks.KnownSeed(target, lambda: self.stream("report", population, shard))
        return target

    def rescored(self, found: Tensor, population: str, shard: int, direction: Direction, plan: AttackPlan) -> Tensor:
        """Report scores (R, B) of attacked images: on the draw that is known, or the best of several tries."""
        if not self.detector.randomized or plan.adversary == "known-seed":
            return self.scores(found, population, shard, "report", 1)
        tries = attacks.tries_of(plan.adversary)
        drawn = self.scores(found, population, shard, "report", REPORT_DRAWS * tries).view(REPORT_DRAWS, tries, -1)
        return drawn.amin(1) if direction == "min" else drawn.amax(1)

    def copies(self, x: Tensor, population: str, plan: AttackPlan) -> dict[str, tuple[int, float]]:
        """Per noisy objective of the plan, the copies of a gradient and the median cosine of two halves of them.

        By the cosine rule where the strength leaves them open, else of the copies that a step with momentum rests on;
        measured on the images x at a random start.
        """
        found = {}
        for name in self.noisy(plan):
            generator = self.stream(f"eot/{name}", population, 0)
            draws = plan.strength.draws
            if draws is None:
                found[name] = attacks.copies(self.detector, x, plan.threat, objective=name, generator=generator)
            else:
                z = plan.threat.random(x, generator)
                n = rests_on(draws, plan)
                cosine = attacks.cosine(self.detector, z, objective=name, draws=n, generator=generator)
                found[name] = draws, cosine
        return found

    def noisy(self, plan: AttackPlan) -> list[str]:
        """The plan's objectives whose gradient comes from noisy copies; none where the adversary knows the noise."""
        if plan.adversary == "known-seed":
            return []
        if attacks.is_external(plan.method):
            components: tuple[str, ...] = (
                () if attacks.is_search(plan.method) else (f"pgd:{plan.objective or 'exact'}",)
            )
        else:
            components = attacks.components_of(self.detector, plan.method, plan.objective, plan.strength)
        names = dict.fromkeys(c.partition(":")[2] for c in components if c.startswith(("pgd:", "apgd:")))
        return [name for name in names if attacks.is_noisy(self.detector, name)]

    @torch.no_grad()
    def scores(self, x: Tensor, population: str, shard: int, name: str = "report", draws: int = REPORT_DRAWS) -> Tensor:
        """(draws, B) scores of a shard on the noise stream `name`; (1, B) for a deterministic detector."""
        if self.detector.randomized:
            generator = self.stream(name, population, shard)
            rows = [self.detector(x, generator=generator) for _ in range(draws)]
        else:
            rows = [self.detector(x)]
        for row in rows:
            if row.shape != (len(x),):
                raise EvaluationError(
                    f"{label_of(self.detector)} gave scores of shape {tuple(row.shape)} for {len(x)} images: "
                    f"expected ({len(x)},)"
                )
            attacks.check_finite(row)
        return torch.stack(rows).cpu()
