"""What an evaluation will take, from rehearsals of a few steps on one shard."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch

import attacks
from attacks import DIRECTIONS, SIGN, AttackPlan, Direction

from ..data import SHARD, ImageSet
from .attacker import REPORT_DRAWS
from .evaluator import REFERENCE_DRAWS, Evaluator
from .probe import unbounded
from .trials import affordable, price, weight

STEPS, QUERIES = 2, 20
"""Of the shortest rehearsal."""


@dataclass(frozen=True)
class Part:
    """Some of an evaluation's work."""

    detector: str
    what: str
    images: int
    passes: tuple[float, float]
    """Network passes (forward, backward) per image, of an image that is never decided."""
    seconds: float


@dataclass(frozen=True)
class Forecast:
    """What a run would take."""

    parts: list[Part]
    load: float
    """Seconds."""
    memory: int
    """Bytes of one process."""
    kept: int
    """Parts that an earlier start of the same run left."""
    folder: Path

    @property
    def seconds(self) -> float:
        """Of one process, as if nothing were kept."""
        return self.load + sum(part.seconds for part in self.parts)


def forecast(
    evaluator: Evaluator, attack: str, plans: Sequence[AttackPlan], *, check: bool, thorough: bool = False
) -> list[Part]:
    """The parts of an evaluation and how long each takes one process, from a rehearsal of the attack on ID validation.

    Of few steps and as many restarts as the attack has, so that passes are as large as they will be. A further pass, a
    backward one counted as two, is taken to cost what it costs there in every part.
    """
    detector, bench = evaluator.detector, evaluator.bench
    label, noisy = detector.label, detector.randomized
    sets = [bench.id_test, *bench.ood.values(), *bench.shifted.values()]
    draws = REPORT_DRAWS + REFERENCE_DRAWS if noisy else 1
    scored = tuple(draws * n for n in detector.score_passes())
    directions = DIRECTIONS[attack]
    found = [rehearsed(evaluator, plan) for plan in plans] if directions else []
    each = found[0].forward if found else scoring(evaluator)
    total = sum(map(len, sets))
    parts = [Part(label, "clean", total, (scored[0], scored[1]), total * weight((scored[0], scored[1])) * each)]
    for plan, cost in zip(plans, found, strict=False):
        sized = evaluator.sized(plan)
        passes = attacks.cost(detector, plan, sized)
        at = f" at {plan.threat.eps:.3g}" if len(plans) > 1 else ""
        counts = {d: sum(map(len, targets(evaluator, d))) for d in directions}
        for direction, n in counts.items():
            parts.append(Part(label, f"{direction}{at}", n, passes, n * cost.attack))
            if check and attacks.transfer_for(evaluator.attacker.seen(plan, "", 0), plan, passes) is not None:
                parts.append(Part(label, f"{direction}{at}, base score alone", n, passes, n * cost.attack))
        if check:
            seen, wide = evaluator.attacker.seen(plan, "", 0), unbounded(evaluator, plan)
            size = affordable(seen, plan, wide, list(counts.values()), sized, thorough=thorough)
            spent = price(seen, plan, wide, sized)
            n, judged = size * len(directions), rehearsed(evaluator, plan, size).forward if size else 0.0
            parts.append(Part(label, f"indicators{at}", n, (spent, 0.0), n * spent * judged))
    return parts


def targets(evaluator: Evaluator, direction: Direction) -> list[ImageSet]:
    """The populations that a direction attacks."""
    return [evaluator.bench.id_test] if SIGN[direction] < 0 else list(evaluator.bench.ood.values())


class Rehearsed(NamedTuple):
    """Seconds per image: of the plan's whole attack, and of a forward pass in it."""

    attack: float
    forward: float


def rehearsed(evaluator: Evaluator, plan: AttackPlan, size: int = SHARD) -> Rehearsed:
    """The attack of so many images with 2 and with 4 steps, or 20 and 40 queries: what every further one takes, and
    what comes before."""
    images, sized, spend = evaluator.bench.id_val, evaluator.sized(plan), plan.strength
    x = images.shard(0, min(size, SHARD, len(images))).to(evaluator.worker.device)

    def taken(share: int) -> tuple[float, float]:
        """Seconds and passes per image, a backward one counted as two, of an attack so much longer than the least."""
        steps, queries = min(STEPS * share, spend.steps), min(QUERIES * share, spend.queries)
        small = replace(plan, strength=replace(spend, steps=steps, queries=queries))
        start = time.perf_counter()
        evaluator.attacker.find(x, images.name, 0, "min", small, None, sized)
        return (time.perf_counter() - start) / len(x), weight(attacks.cost(evaluator.detector, small, sized))

    taken(1)  # what only a first one takes
    (short, fewer), (long, more) = taken(1), taken(2)
    further = (long - short) / (more - fewer) if more > fewer and long > short else long / more
    forward = min(further, long / more)  # a further pass costs no more than a mean one: what looks so is chance
    return Rehearsed(long + (weight(attacks.cost(evaluator.detector, plan, sized)) - more) * forward, forward)


def scoring(evaluator: Evaluator) -> float:
    """Seconds of a forward pass on one image as part of a score."""
    images = evaluator.bench.id_val
    x = images.shard(0, min(SHARD, len(images))).to(evaluator.worker.device)
    taken = 0.0
    for _ in range(2):
        start = time.perf_counter()
        evaluator.plain.scores(x, images.name, 0, draws=1)
        taken = time.perf_counter() - start
    return taken / weight(evaluator.detector.score_passes()) / len(x)


def peak_memory(device: torch.device) -> int:
    """Bytes that this process took at most until now: after a rehearsal, about what the run takes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource  # Windows has none, and no other use of it here

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
