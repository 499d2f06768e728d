"""Attacks of another kind or size on a few images: is the plan's attack as strong as it should be?"""

from __future__ import annotations

import logging
import math
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
from ..data import ImageSet
from ..engine.errors import EvaluationError
from ..metrics import Components
from ..store.cells import Cell
from .checks import CHECKS
from .evaluator import Evaluator
from .trials import Trial, affordable, candidates, trial_of, trials_of
from .truth import Images, truth_of

log = logging.getLogger("roodbench")

NOTHING = 0.01
"""AUROC from which on there is nothing left to take, and no gradient that could be masked."""


def probe(
    evaluator: Evaluator, plan: AttackPlan, directions: Sequence[Direction], *, thorough: bool = False
) -> dict[str, Any]:
    """Numbers of the indicators that need attacks of their own, and margins of two standard errors where noise is.

    They run on the first images of ID and a few of every OOD set, as many as cost no more than the attack that they
    check (`affordable`); empty where those are too few, or epsilon is 0. Methods that are no gradient attack of ours
    (noise, square, other libraries) are compared with noise and square alone.
    """
    label, worker, bench = evaluator.detector.label, evaluator.worker, evaluator.bench
    if plan.threat.eps == 0:
        return {}
    seen, wide = evaluator.attacker.seen(plan, "probe min", 0), unbounded(evaluator, plan)
    images = {"min": len(bench.id_test), "max": sum(map(len, bench.ood.values()))}
    counts = [images[direction] for direction in directions]
    size = affordable(seen, plan, wide, counts, evaluator.sized(plan), thorough=thorough)
    if size == 0:
        log.info("%s: the indicators' attacks on enough images cost more than this attack; `check` runs them", label)
        return {}

    def compute() -> Cell:
        with worker.progress(f"{label}, indicators", size * len(directions)) as advance:
            found = Probe(evaluator, plan, directions, size).numbers()
            advance(size * len(directions))
        return {"none": torch.zeros(1)}, found

    what = {
        "condition": "probe",
        "plan": asdict(plan),
        "precision": evaluator.precision,
        "sets": {name: images.digest for name, images in bench.ood.items()},
        "directions": list(directions),
        "size": size,
        "gradients": evaluator.gradients(plan, bench.id_test, *bench.ood.values()),
        **evaluator.peers(plan),
    }
    return worker.once(bench.id_test, what, compute)[1]


def unbounded(evaluator: Evaluator, plan: AttackPlan) -> attacks.ThreatModel:
    """The plan's threat model at epsilon 1 in pixels, linf."""
    return replace(plan.threat, eps=1.0 / evaluator.bench.std, norm="linf")


class Probe:
    """The first images of ID and a few of every OOD set, under the plan's attack and others."""

    def __init__(self, evaluator: Evaluator, plan: AttackPlan, directions: Sequence[Direction], size: int) -> None:
        self.evaluator, self.plan, self.attacker, self.size = evaluator, plan, evaluator.attacker, size
        self.reference, self.sized = evaluator.references(), evaluator.sized(plan)
        self.seen = self.attacker.seen(plan, "probe min", 0)
        bench = evaluator.bench
        self.clean: dict[Direction, tuple[Tensor, list[str]]] = {
            "min": self.first([bench.id_test]),
            "max": self.first(list(bench.ood.values())),
        }
        self.groups = self.same([bench.id_test]), self.same(list(bench.ood.values()))
        self.images: Images = {direction: self.clean[direction][0] for direction in directions}
        self.wins: Counter[str] = Counter()
        self.found: dict[str, float] = {}
        self.margins: dict[str, float] = {}
        self.needed: dict[str, int] = {}
        """Images that would decide what these cannot."""

    def same(self, sets: Sequence[ImageSet]) -> np.ndarray:
        """Of the images of `first`, (n,), the groups of equal ones, or copies of one, within a set."""
        share = -(-self.size // len(sets))
        return np.concatenate([s.related[:share] + share * place for place, s in enumerate(sets)])[: self.size]

    def first(self, sets: Sequence[ImageSet]) -> tuple[Tensor, list[str]]:
        """The first images of some sets, as many of each, and what to call them."""
        share = -(-self.size // len(sets))
        x = torch.cat([s.shard(0, share) for s in sets])[: self.size]
        names = [f"{s.name}, index {i} ({s.names[i]})" for s in sets for i in range(min(share, len(s)))]
        return x.to(self.evaluator.worker.device), names[: self.size]

    def numbers(self) -> dict[str, Any]:
        """The numbers and the margins."""
        gradient, noisy_ones = candidates(self.seen, self.plan)
        strongest = self.run(trial_of(self.seen, self.plan))
        best, noisy = self.winner_of(gradient), self.winner_of(noisy_ones)
        wide = unbounded(self.evaluator, self.plan)
        trials = trials_of(self.seen, self.plan, wide, best=best, noisy=noisy)
        one, area = 1 / sum(len(x) for x in self.images.values()), self.area(strongest)
        missed: float | None = None
        runs: dict[str, Images] = {}
        for name, trial in trials.items():
            if not name.startswith("unbounded"):
                runs[name] = self.run(trial, strongest if name == "square" else None)
            elif missed is None or missed > 0:  # all components only where the best alone misses some images
                missed = min(self.missed(trial), 1.0 if missed is None else missed)
        for name, indicator in INDICATORS.items():
            if name in runs:
                self.record(indicator, area, self.better(strongest, runs[name]))
        if "noise" in runs:
            self.found["random"] = self.beaten(strongest, runs["noise"])
            self.margins["random"] = one  # one image is the probe's resolution
        if "best iterate" in runs:  # without noise the traces show it, on every image
            best_kept, last = runs["best iterate"], runs["last iterate"]
            # neither the best nor the last of noisy iterates is always the better one: what counts is the balance
            self.found["silent-success"] = max(0.0, self.beaten(last, best_kept) - self.beaten(best_kept, last))
            self.margins["silent-success"] = one
        if any(c.objective == "exact" for c in gradient):
            clean = {direction: x for direction, (x, _) in self.clean.items()}
            self.found |= truth_of(self.evaluator.worker, self.plan.threat, clean, strongest, self.spread)
        if "own" in runs:
            self.record("own-gradient", self.area(runs["own"]), runs["base"])
        if missed is not None and area.value > NOTHING:
            self.found["unbounded"] = missed
        return {"numbers": self.found, "margins": self.margins, "needed": self.needed, "images": self.size}

    @property
    def spread(self) -> float:
        """The interquartile range of clean scores, ID and OOD together."""
        clean = torch.cat([scores.flatten() for scores in self.reference.values()]).double()
        low, high = torch.quantile(clean, clean.new_tensor([0.25, 0.75])).tolist()
        return high - low

    def winner_of(self, components: Sequence[Component]) -> Component | None:
        """The component that won most images, or started what was refined to win them; the first of equals."""
        return max(components, key=lambda c: self.wins[c.name], default=None)

    def record(self, name: str, area: Components, stronger: Images) -> None:
        """By how much other images lower an AUROC, the margin that noise is granted, and whether that is too wide."""
        gap, threshold = area.minus(self.area(stronger)), CHECKS[name].threshold
        margin = 2 * gap.standard_error() if self.seen.randomized else 0.0
        self.found[name], self.margins[name] = gap.value, margin
        if margin > max(threshold, threshold - gap.value):
            self.needed[name] = math.ceil(self.size * (margin / threshold) ** 2)

    def run(self, trial: Trial, start: Images | None = None) -> Images:
        """The images of the attacked populations under a trial, which may go on from others."""
        found: Images = {}
        for direction, x in self.images.items():
            reference, population = self.reference[direction], f"probe {direction}"
            try:
                suite = self.attacker.find(
                    x,
                    population,
                    0,
                    direction,
                    trial.plan,
                    reference,
                    self.sized,
                    trial.components,
                    None if start is None else start[direction],
                )
            except attacks.NonFiniteError as error:
                where = self.clean[direction][1][error.index]
                raise EvaluationError(f"{self.evaluator.detector.label}: {error} on {where}") from None
            found[direction] = suite.images
            self.wins.update(suite.components[i] for i in suite.origin.tolist())
        return found

    def better(self, *candidates: Images) -> Images:
        """Per image the best of several attacks, on the selection's noise."""
        known = self.plan.threat.knows_seed
        chosen: Images = {}
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

    def scored(self, images: Images) -> Images:
        """Report scores (R, B) of both populations; of one that is not attacked, those of the clean images."""
        found: Images = {}
        for direction, (clean, _) in self.clean.items():
            population = f"probe {direction}"
            if direction in images:
                found[direction] = self.attacker.rescored(images[direction], population, 0, direction, self.plan)
            elif self.plan.threat.knows_seed:
                found[direction] = self.attacker.scores(clean, population, 0, draws=1)
            else:
                found[direction] = self.attacker.scores(clean, population, 0)
        return found

    def area(self, images: Images) -> Components:
        """AUROC of ID under `min` against OOD under `max`, as far as they are attacked."""
        scores = self.scored(images)
        return metrics.components(scores["min"].double().numpy(), scores["max"].double().numpy(), self.groups)

    def beaten(self, strongest: Images, other: Images) -> float:
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

    def missed(self, trial: Trial) -> float:
        """How far a trial is from moving 99% of OOD above, 95% of ID below the clean threshold."""
        try:
            scores = self.scored(self.run(trial))
        except EvaluationError:
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


INDICATORS = {"square": "black-box", "twice the steps": "convergence", "twice the restarts": "restarts"}
"""The indicator of each trial that must take no more AUROC than its threshold."""
