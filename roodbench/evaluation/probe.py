"""Attacks of another kind or size on a few images: is the plan's attack as strong as it should be?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

import attacks
from attacks import SIGN, AttackPlan, Component, Direction

from .. import metrics
from ..metrics import Components
from ..store.cells import Cell
from .evaluator import Evaluator

IMAGES, IMAGES_RANDOMIZED = 32, 16
"""ID and OOD images each, at most; a randomised detector costs many times as much."""
FEWEST = 2
"""ID and OOD images each, at least: an AUROC of fewer says nothing."""
QUERIES = 100
"""Of square, where the attack's strength has none."""


def probe(evaluator: Evaluator, plan: AttackPlan) -> dict[str, Any]:
    """Numbers of the indicators that need attacks of their own, and margins of two standard errors where noise is.

    They run on the first images of ID and a few of every OOD set, on so many that all together cost no more than the
    attack that they check; empty where that is less than two of each. Methods that are no gradient attack of ours
    (noise, square, other libraries) are compared with noise and square alone.
    """
    images, size = evaluator.bench.id_test, affordable(evaluator, plan)
    if plan.threat.eps == 0 or size < FEWEST:
        return {}

    def compute() -> Cell:
        label = f"{evaluator.detector.label}, indicators"
        with evaluator.worker.progress(label, 2 * size) as advance:
            found = Probe(evaluator, plan, size).numbers()
            advance(2 * size)
        return {"none": torch.zeros(1)}, found

    what = {
        "condition": "probe",
        "plan": asdict(plan),
        "precision": evaluator.precision,
        "images": {name: images.digest for name, images in evaluator.bench.ood.items()},
        "size": size,
    }
    return evaluator.worker.once(images, what, compute)[1]


def affordable(evaluator: Evaluator, plan: AttackPlan) -> int:
    """The ID, and the OOD, images whose probe costs at most what the plan's attack costs on all populations."""
    detector, bench, draws = evaluator.detector, evaluator.bench, evaluator.sized(plan)
    sets = [bench.id_test, *bench.ood.values()]
    most = IMAGES_RANDOMIZED if detector.randomized else IMAGES
    attack = weight(attacks.cost(detector, plan, draws)) * sum(len(images) for images in sets)
    each = sum(weight(passes) for passes in probe_passes(detector, plan, draws))
    return min(most, len(bench.id_test), sum(map(len, bench.ood.values())), int(attack / max(1.0, 2 * each)))


def weight(passes: tuple[float, float]) -> float:
    """Passes as forward passes; a backward one counts as two."""
    return passes[0] + 2 * passes[1]


def probe_passes(detector: attacks.Detector, plan: AttackPlan, draws: dict[str, int]) -> Sequence[tuple[float, float]]:
    """What each of the probe's attacks costs on one image, in the order of `Probe.numbers`."""
    components = [c for c in attacks.components_of(detector, plan) if c.follows_gradient and not c.is_peer]
    queries = replace(plan, strength=replace(plan.strength, queries=plan.strength.queries or QUERIES))
    spent = [Component(name).cost(detector, queries, draws) for name in ("square", "noise")]
    costs = [c.cost(detector, plan, draws) for c in components]
    if not components:
        return [*spent, attacks.cost(detector, plan, draws)]
    dearest = max(costs, key=weight)
    doubled = [dearest] if detector.randomized else costs
    spent += [*costs, *doubled, *doubled, dearest]  # the attack itself, twice its steps, and without a bound
    if any(c.is_noisy(detector) for c in components):
        spent += [dearest, dearest]  # the best iterate against the last
    if plan.strength.restarts > 1:
        spent += [*doubled, *doubled]
    return spent


class Probe:
    """The first images of ID and a few of every OOD set, under the plan's attacks and others."""

    def __init__(self, evaluator: Evaluator, plan: AttackPlan, size: int) -> None:
        self.evaluator, self.plan, self.attacker = evaluator, plan, evaluator.attacker
        self.reference = evaluator.references()
        seen = self.attacker.seen(plan, "probe min", 0)
        self.components = list(attacks.components_of(seen, plan))
        self.gradient = [c for c in self.components if c.follows_gradient and not c.is_peer]
        self.randomized = seen.randomized
        bench, device = evaluator.bench, evaluator.worker.device
        share = -(-size // len(bench.ood))
        self.wins: Counter[str] = Counter()
        self.images: dict[Direction, Tensor] = {
            "min": bench.id_test.shard(0, size).to(device),
            "max": torch.cat([s.shard(0, min(share, len(s))) for s in bench.ood.values()])[:size].to(device),
        }
        self.sized = evaluator.sized(plan)
        self.found: dict[str, float] = {}
        self.margins: dict[str, float] = {}

    def numbers(self) -> dict[str, Any]:
        """The numbers and the margins."""
        strength, one = self.plan.strength, 1 / sum(len(x) for x in self.images.values())
        strongest = self.run(self.gradient or self.components)
        area = self.area(strongest)
        if self.plan.method != "square":
            queries = self.run([Component("square")], queries=strength.queries or QUERIES)
            self.record("black-box", area, self.better(strongest, queries))
        if self.plan.method != "noise":
            self.found["random"] = self.beaten(strongest, self.run([Component("noise")]))
            self.margins["random"] = one  # one image is the probe's resolution
        if self.gradient:
            self.judge_gradients(strongest, area, one)
        return {"numbers": self.found, "margins": self.margins}

    def judge_gradients(self, strongest: dict[Direction, Tensor], area: Components, one: float) -> None:
        """The indicators of attacks that follow a gradient."""
        strength = self.plan.strength
        own = [c for c in self.gradient if not c.is_transfer]
        best = [max(self.gradient, key=lambda c: self.wins[c.name])]
        again = best if self.randomized else self.gradient  # the cheap ones: all of them
        base_won = any(self.wins[c.name] for c in self.gradient if c.is_transfer)
        self.record("convergence", area, self.better(strongest, self.run(again, steps=2 * strength.steps)))
        noisy = [c for c in own if c.objective in self.attacker.noisy(self.plan) and c.algorithm == "pgd"]
        if noisy:  # without noise the traces show it, on every image
            chosen = [max(noisy, key=lambda c: self.wins[c.name])]
            kept = self.run(chosen, keep="best")
            # neither the best nor the last of noisy iterates is always the better one: what counts is the balance
            self.found["silent-success"] = max(0.0, self.beaten(strongest, kept) - self.beaten(kept, self.run(chosen)))
            self.margins["silent-success"] = one
        if strength.restarts > 1:
            self.record("restarts", area, self.better(strongest, self.run(again, restarts=2 * strength.restarts)))
        base = [c for c in self.gradient if c.name == "pgd:base"]
        if own and base:  # where the base score's attacks won no image, the strongest attack is its own
            alone = self.area(self.run(own)) if base_won else area
            self.record("own-gradient", alone, self.run(base))
        self.found["unbounded"] = self.missed(best)

    def record(self, name: str, area: Components, stronger: dict[Direction, Tensor]) -> None:
        """By how much other images lower an AUROC, and the margin that noise is granted."""
        gap = area.minus(self.area(stronger))
        self.found[name] = gap.value
        self.margins[name] = 2 * gap.standard_error() if self.randomized else 0.0

    def run(
        self, components: Sequence[Component], plan: AttackPlan | None = None, **spend: Any
    ) -> dict[Direction, Tensor]:
        """The images of both populations under these attacks."""
        plan = plan or self.plan
        plan = replace(plan, strength=replace(plan.strength, **spend))
        found: dict[Direction, Tensor] = {}
        for direction, x in self.images.items():
            reference = self.reference[direction]
            suite = self.attacker.find(x, f"probe {direction}", 0, direction, plan, reference, self.sized, components)
            found[direction] = suite.images
            self.wins.update(suite.components[i] for i in suite.winner.tolist())
        return found

    def better(self, *candidates: dict[Direction, Tensor]) -> dict[Direction, Tensor]:
        """Per image the best of several attacks, on the selection's noise."""
        known = self.plan.threat.knows_seed
        chosen: dict[Direction, Tensor] = {}
        for direction in self.images:
            population = f"probe {direction}"
            chosen[direction], _ = attacks.select(
                self.attacker.seen(self.plan, population, 0),
                [c[direction] for c in candidates],
                sign=SIGN[direction],
                stream=lambda p=population: self.evaluator.worker.stream("select", p, 0),  # type: ignore[misc]
                reference=None if known else self.reference[direction].to(self.evaluator.worker.device),
                tries=self.plan.threat.tries,
            )
        return chosen

    def scored(self, images: dict[Direction, Tensor]) -> dict[Direction, Tensor]:
        """Report scores (R, B) of both populations."""
        return {d: self.attacker.rescored(x, f"probe {d}", 0, d, self.plan) for d, x in images.items()}

    def area(self, images: dict[Direction, Tensor]) -> Components:
        """AUROC of ID under `min` against OOD under `max`."""
        scores = self.scored(images)
        return metrics.components(scores["min"].double().numpy(), scores["max"].double().numpy())

    def beaten(self, strongest: dict[Direction, Tensor], other: dict[Direction, Tensor]) -> float:
        """The share of images that `other` moves past more of the opposing population; with noise, significantly so."""
        from scipy.special import stdtrit

        wins, n = 0, sum(len(x) for x in self.images.values())
        a, b = self.scored(strongest), self.scored(other)
        for direction in self.images:
            sign = SIGN[direction]
            reference = self.reference[direction].flatten().double().sort().values
            old, new = a[direction].double(), b[direction].double()
            draws = len(old)
            if draws > 1:  # a t-test per image, so strict that among all n a false alarm is rare
                ahead = sign * (attacks.rank(new, reference) - attacks.rank(old, reference))
                error = ahead.std(0) / draws**0.5 * float(stdtrit(draws - 1, 1 - 0.01 / n))
            else:
                past = old < reference[0] if sign < 0 else old > reference[-1]
                ahead = torch.where(past, 0, sign * (new - old))
                error = 1e-6 * old[0].abs()
            wins += int((ahead.mean(0) > error).sum())
        return wins / n

    def missed(self, best: Sequence[Component]) -> float:
        """How far attacks with epsilon 1 are from moving 99% of OOD above, 95% of ID below the clean threshold.

        Of the best component alone and, where that misses any, of all.
        """
        short = self.shortfall(best)
        return min(short, self.shortfall(self.gradient)) if short > 0 and len(self.gradient) > 1 else short

    def shortfall(self, components: Sequence[Component]) -> float:
        """`missed` of some components."""
        threat = replace(self.plan.threat, eps=1.0 / self.evaluator.bench.std, norm="linf")
        try:
            scores = self.scored(self.run(components, replace(self.plan, threat=threat)))
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
