"""Attacks of another kind or size on a few images: is the plan's attack as strong as it should be?"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from scipy.stats import t
from torch import Tensor

import attacks

from . import metrics
from .attacker import AttackPlan, Direction
from .evaluate import Evaluator
from .metrics import Components

IMAGES, IMAGES_RANDOMIZED = 32, 16
"""ID and OOD images each; a randomised detector costs many times as much."""
QUERIES = 100
"""Of square, where the attack's strength has none."""


def probe(evaluator: Evaluator, plan: AttackPlan, reference: dict[Direction, Tensor]) -> dict[str, Any]:
    """Numbers of the indicators that need attacks of their own, and margins of two standard errors where noise is.

    `reference` are the clean scores of the opposing population, by direction. Methods that are no gradient attack of
    ours (noise, square, other libraries) are compared with noise and square alone.
    """
    if plan.threat.eps == 0:
        return {}

    def compute() -> tuple[dict[str, Tensor], dict[str, Any]]:
        images = evaluator.bench.id_test
        found = evaluator.guarded(images, 0, lambda: Probe(evaluator, plan, reference).numbers())
        return {"none": torch.zeros(1)}, found

    what = {
        "condition": "probe",
        "plan": asdict(plan),
        "precision": evaluator.precision,
        "images": {name: images.digest for name, images in evaluator.bench.ood.items()},
    }
    return evaluator.cell(evaluator.bench.id_test, what, compute)[1]


class Probe:
    """The first images of ID and a few of every OOD set, under the plan's attacks and others."""

    def __init__(self, evaluator: Evaluator, plan: AttackPlan, reference: dict[Direction, Tensor]) -> None:
        self.evaluator, self.plan, self.reference = evaluator, plan, reference
        seen = evaluator.attacker.seen(plan, "probe min", 0)
        self.components = list(attacks.components_of(seen, plan.method, plan.objective, plan.strength))
        self.gradient = [name for name in self.components if name.startswith(("pgd:", "apgd:", "refine:"))]
        self.randomized = seen.randomized
        bench, device = evaluator.bench, evaluator.device
        most = IMAGES_RANDOMIZED if evaluator.detector.randomized else IMAGES
        share = -(-most // len(bench.ood))
        self.wins: Counter[str] = Counter()
        self.images: dict[Direction, Tensor] = {
            "min": bench.id_test.shard(0, min(most, len(bench.id_test))).to(device),
            "max": torch.cat([s.shard(0, min(share, len(s))) for s in bench.ood.values()])[:most].to(device),
        }
        self.copies = {name: n for name, (n, _) in evaluator.copies(plan).items()}

    def numbers(self) -> dict[str, Any]:
        """The numbers and the margins."""
        strongest = self.run(self.gradient or self.components)
        area = self.area(self.scored(strongest))
        numbers: dict[str, float] = {}
        margins: dict[str, float] = {}
        one = 1 / sum(len(x) for x in self.images.values())  # one image is the probe's resolution

        def record(name: str, stronger: dict[Direction, Tensor], than: Components = area) -> None:
            gap = than.minus(self.area(self.scored(stronger)))
            numbers[name] = gap.value
            margins[name] = 2 * gap.standard_error() if self.randomized else 0.0

        strength = self.plan.strength
        if self.plan.method != "square":
            queries = self.run(["square"], queries=strength.queries or QUERIES)
            record("black-box", self.better(strongest, queries))
        if self.plan.method != "noise":
            numbers["random"] = self.beaten(strongest, self.run(["noise"]))
            margins["random"] = one
        if not self.gradient:
            return {"numbers": numbers, "margins": margins}
        own = [name for name in self.gradient if not name.partition(":")[2].startswith("base")]
        bases = [name for name in self.gradient if name not in own]
        best = [max(self.gradient, key=lambda name: self.wins[name])]
        again = best if self.randomized else self.gradient  # the cheap ones: all of them
        record("convergence", self.better(strongest, self.run(again, steps=2 * strength.steps)))
        noisy = [f"pgd:{name}" for name in self.evaluator.attacker.noisy(self.plan) if f"pgd:{name}" in own]
        if noisy:  # without noise the traces show it, on every image
            chosen = [max(noisy, key=lambda name: self.wins[name])]
            kept = self.run(chosen, keep="best")
            # neither the best nor the last of noisy iterates is always the better one: what counts is the balance
            numbers["silent-success"] = max(0.0, self.beaten(strongest, kept) - self.beaten(kept, self.run(chosen)))
            margins["silent-success"] = one
        if strength.restarts > 1:
            record("restarts", self.better(strongest, self.run(again, restarts=2 * strength.restarts)))
        if own and "pgd:base" in bases:
            base = self.run(["pgd:base"])
            record("own-gradient", base, self.area(self.scored(self.run(own))))
        numbers["unbounded"] = self.missed()
        return {"numbers": numbers, "margins": margins}

    def run(self, components: list[str], plan: AttackPlan | None = None, **spend: Any) -> dict[Direction, Tensor]:
        """The images of both populations under these attacks."""
        plan = plan or self.plan
        plan = replace(plan, strength=replace(plan.strength, **spend))
        found: dict[Direction, Tensor] = {}
        for direction, x in self.images.items():
            suite = self.evaluator.attacker.find(
                x, f"probe {direction}", 0, direction, plan, self.reference[direction], self.copies, components
            )
            found[direction] = suite.images
            self.wins.update(suite.components[i] for i in suite.winner.tolist())
        return found

    def better(self, *candidates: dict[Direction, Tensor]) -> dict[Direction, Tensor]:
        """Per image the best of several attacks, on the selection's noise."""
        chosen: dict[Direction, Tensor] = {}
        for direction in self.images:
            known = self.plan.adversary == "known-seed"
            chosen[direction], _ = attacks.select(
                self.evaluator.attacker.seen(self.plan, f"probe {direction}", 0),
                [c[direction] for c in candidates],
                sign=-1 if direction == "min" else 1,
                stream=lambda d=direction: self.evaluator.attacker.stream("select", f"probe {d}", 0),  # type: ignore[misc]
                reference=None if known else self.reference[direction].to(self.evaluator.device),
                tries=attacks.tries_of(self.plan.adversary),
            )
        return chosen

    def scored(self, images: dict[Direction, Tensor]) -> dict[Direction, Tensor]:
        """Report scores (R, B) of both populations."""
        return {d: self.evaluator.attacker.rescored(x, f"probe {d}", 0, d, self.plan) for d, x in images.items()}

    @staticmethod
    def area(scores: dict[Direction, Tensor]) -> Components:
        """AUROC of ID under `min` against OOD under `max`."""
        return metrics.components(scores["min"].double().numpy(), scores["max"].double().numpy())

    def beaten(self, strongest: dict[Direction, Tensor], other: dict[Direction, Tensor]) -> float:
        """The share of images that `other` moves past more of the opposing population; with noise, significantly so."""
        wins, n = 0, sum(len(x) for x in self.images.values())
        a, b = self.scored(strongest), self.scored(other)
        for direction in self.images:
            sign = -1 if direction == "min" else 1
            reference = self.reference[direction].flatten().double().sort().values
            old, new = a[direction].double(), b[direction].double()
            draws = len(old)
            if draws > 1:  # a t-test per image, so strict that among all n a false alarm is rare
                ahead = sign * (attacks.rank(new, reference) - attacks.rank(old, reference))
                error = ahead.std(0) / draws**0.5 * float(t.ppf(1 - 0.01 / n, draws - 1))
            else:
                past = old < reference[0] if sign < 0 else old > reference[-1]
                ahead = torch.where(past, 0, sign * (new - old))
                error = 1e-6 * old[0].abs()
            wins += int((ahead.mean(0) > error).sum())
        return wins / n

    def missed(self) -> float:
        """How far the attack with epsilon 1 is from moving 99% of OOD above, 95% of ID below the clean threshold."""
        threat = attacks.ThreatModel(1.0 / self.evaluator.bench.std, "linf", self.plan.threat.bounds)
        try:
            scores = self.scored(self.run(self.gradient, replace(self.plan, threat=threat)))
        except attacks.NonFiniteError:
            return 1.0
        missed = []
        clean = self.evaluator.clean(self.evaluator.bench.id_test).scores.double().numpy()
        thresholds = [metrics.threshold95(draw) for draw in clean]
        for direction in self.images:
            wanted = 0.95 if direction == "min" else 0.99
            draws = scores[direction].double().numpy()
            below = np.array([draw < line for draw, line in zip(draws, thresholds, strict=False)])
            share = below.mean() if direction == "min" else 1 - below.mean()
            missed.append(max(0.0, wanted - float(share)))
        return max(missed)
