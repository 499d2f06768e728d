"""What an evaluation will take, from a rehearsal of one step on one shard."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

import attacks
from attacks import DIRECTIONS, SIGN, AttackPlan, Direction

from ..data import SHARD, ImageSet
from .attacker import REPORT_DRAWS
from .evaluator import REFERENCE_DRAWS, Evaluator
from .probe import unbounded
from .trials import affordable, candidates, trial_of, trials_of, weight

QUERIES = 20
"""Of square and noise in the rehearsal."""


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

    Of one step and as many restarts as the attack has, so that passes are as large as they will be. A pass, a backward
    one counted as two, is taken to cost there what it will cost in every part.
    """
    detector, bench = evaluator.detector, evaluator.bench
    label, noisy = detector.label, detector.randomized
    sets = [bench.id_test, *bench.ood.values(), *bench.shifted.values()]
    draws = REPORT_DRAWS + REFERENCE_DRAWS if noisy else 1
    scored = tuple(draws * n for n in detector.score_passes())
    directions = DIRECTIONS[attack]
    each = max((rehearsed(evaluator, plan) for plan in plans), default=0.0) if directions else scoring(evaluator)
    total = sum(map(len, sets))
    parts = [Part(label, "clean", total, (scored[0], scored[1]), total * weight((scored[0], scored[1])) * each)]
    for plan in plans if directions else ():
        sized = evaluator.sized(plan)
        passes = attacks.cost(detector, plan, sized)
        at = f" at {plan.threat.eps:.3g}" if len(plans) > 1 else ""
        counts = {d: sum(map(len, targets(evaluator, d))) for d in directions}
        for direction, n in counts.items():
            parts.append(Part(label, f"{direction}{at}", n, passes, n * weight(passes) * each))
            if check and attacks.transfer_for(evaluator.attacker.seen(plan, "", 0), plan, passes) is not None:
                parts.append(Part(label, f"{direction}{at}, base score alone", n, passes, n * weight(passes) * each))
        if check:
            seen, wide = evaluator.attacker.seen(plan, "", 0), unbounded(evaluator, plan)
            size = affordable(seen, plan, wide, list(counts.values()), sized, thorough=thorough)
            best, noisy_ones = (found[0] if found else None for found in candidates(seen, plan))
            trials = [trial_of(seen, plan), *trials_of(seen, plan, wide, best=best, noisy=noisy_ones).values()]
            price = sum(trial.price(seen, sized) for trial in trials)
            n = size * len(directions)
            parts.append(Part(label, f"indicators{at}", n, (price, 0.0), n * price * each))
    return parts


def targets(evaluator: Evaluator, direction: Direction) -> list[ImageSet]:
    """The populations that a direction attacks."""
    return [evaluator.bench.id_test] if SIGN[direction] < 0 else list(evaluator.bench.ood.values())


def rehearsed(evaluator: Evaluator, plan: AttackPlan) -> float:
    """Seconds of a forward pass on one image as part of the plan's attack; the second of two rehearsals counts."""
    spend = plan.strength
    small = replace(plan, strength=replace(spend, steps=1, queries=min(QUERIES, spend.queries)))
    images, sized = evaluator.bench.id_val, evaluator.sized(plan)
    x = images.shard(0, min(SHARD, len(images))).to(evaluator.worker.device)
    passes = weight(attacks.cost(evaluator.detector, small, sized))
    taken = 0.0
    for _ in range(2):
        start = time.perf_counter()
        evaluator.attacker.find(x, images.name, 0, "min", small, None, sized)
        taken = time.perf_counter() - start
    return taken / passes / len(x)


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
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
