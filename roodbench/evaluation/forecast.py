"""What an evaluation will take, from rehearsals of a few steps on one shard."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import NamedTuple

import torch

import attacks
from attacks import DIRECTIONS, SIGN, AttackPlan, Component, Direction

from ..data import SHARD, ImageSet
from .attacker import REPORT_DRAWS
from .evaluator import REFERENCE_DRAWS, Evaluator
from .probe import unbounded
from .trials import affordable, price, weight

STEPS, QUERIES = 2, 20
"""Of the shortest rehearsal."""
REPEATS, COMPANIES = 6, 4
"""Looks at the first ID images, and at those of every population, by the checks of the score."""
ENOUGH = 1.0
"""Seconds of a rehearsal whose images are enough to tell what each takes."""
FEWEST, MOST, LONGEST = 4, 32, 10.0
"""Images a direction by which the decided ones are estimated, and seconds that this may take beyond the fewest."""


@dataclass(frozen=True)
class Part:
    """Some of an evaluation's work."""

    detector: str
    what: str
    images: int
    passes: tuple[float, float]
    """Network passes (forward, backward) per image, of an image that is never decided."""
    seconds: float
    """Expected: those of images that are decided on the way are left out."""
    at_most: float
    """Seconds where no image is ever decided."""


@dataclass(frozen=True)
class Forecast:
    """What a run would take."""

    parts: list[Part]
    load: float
    """Seconds of loading and fitting, and of choosing precision and copies."""
    memory: int | None
    """Bytes of one process."""
    kept: int
    """Parts that an earlier start of the same run left."""
    folder: Path

    @property
    def seconds(self) -> float:
        """Of one process, as if nothing were kept."""
        return self.load + sum(part.seconds for part in self.parts)

    @property
    def at_most(self) -> float:
        """The same where no image is ever decided."""
        return self.load + sum(part.at_most for part in self.parts)


def forecast(
    evaluator: Evaluator, attack: str, plans: Sequence[AttackPlan], *, check: bool, thorough: bool = False
) -> list[Part]:
    """The parts of an evaluation and how long each takes one process, from a rehearsal of the attack on ID validation.

    Of few steps and as many restarts as the attack has, so that passes are as large as they will be. A further pass, a
    backward one counted as two, is taken to cost what it costs there in every part. How many images are decided early
    is estimated by the attack's first component on a few of those that it attacks.
    """
    detector, bench = evaluator.detector, evaluator.bench
    label, noisy = detector.label, detector.randomized
    sets = [bench.id_test, *bench.ood.values(), *bench.shifted.values()]
    draws = REPORT_DRAWS + REFERENCE_DRAWS if noisy else 1
    scored = tuple(draws * n for n in detector.score_passes())
    directions = DIRECTIONS[attack]
    found = [rehearsed(evaluator, plan) for plan in plans] if directions else []
    each, total = scoring(evaluator), sum(map(len, sets))
    parts = [part(label, "clean", total, (scored[0], scored[1]), each), first_checks(evaluator, each)]
    for plan, cost in zip(plans, found, strict=False):
        sized = evaluator.sized(plan)
        passes = attacks.cost(detector, plan, sized)
        at = f" at {plan.threat.eps:.3g}" if len(plans) > 1 else ""
        counts = {d: sum(map(len, targets(evaluator, d))) for d in directions}
        for direction, n in counts.items():
            most = n * cost.attack
            expected = most * share_spent(evaluator, plan, direction, cost.forward)
            parts.append(Part(label, f"{direction}{at}", n, passes, expected, most))
            if check and attacks.transfer_for(evaluator.attacker.seen(plan, "", 0), plan, passes) is not None:
                parts.append(Part(label, f"{direction}{at}, base score alone", n, passes, expected, most))
        if check:
            seen, wide = evaluator.attacker.seen(plan, "", 0), unbounded(evaluator, plan)
            size = affordable(seen, plan, wide, list(counts.values()), sized, thorough=thorough)
            spent = price(seen, plan, wide, sized)
            n, judged = size * len(directions), rehearsed(evaluator, plan, size).forward if size else 0.0
            parts.append(part(label, f"indicators{at}", n, (spent, 0.0), judged))
    return parts


def part(detector: str, what: str, images: int, passes: tuple[float, float], each: float) -> Part:
    """A part that no image leaves early; `each` are the seconds of a forward pass on one image."""
    seconds = images * weight(passes) * each
    return Part(detector, what, images, passes, seconds, seconds)


def first_checks(evaluator: Evaluator, each: float) -> Part:
    """Scoring again what must not change: five times (`Evaluator.repeated`), and in other company (`check_scores`)."""
    bench = evaluator.bench
    first = [min(SHARD, len(images)) for images in (bench.id_test, *bench.ood.values())]
    looks = REPEATS * first[0] / sum(first) + COMPANIES
    forward, backward = evaluator.detector.score_passes()
    return part(evaluator.detector.label, "checks of the score", sum(first), (looks * forward, looks * backward), each)


def targets(evaluator: Evaluator, direction: Direction) -> list[ImageSet]:
    """The populations that a direction attacks."""
    return [evaluator.bench.id_test] if SIGN[direction] < 0 else list(evaluator.bench.ood.values())


class Rehearsed(NamedTuple):
    """Seconds per image: of the plan's whole attack, and of a forward pass in it."""

    attack: float
    forward: float


def rehearsed(evaluator: Evaluator, plan: AttackPlan, size: int = SHARD) -> Rehearsed:
    """The attack of so many images with 2 and with 4 steps, or 20 and 40 queries: what every further one takes, and
    what comes before.

    As many images as take a second are enough, `size` at most; so many meet one step of the first component, which
    takes the memory that a run does.
    """
    images, sized = evaluator.bench.id_val, evaluator.sized(plan)
    most, n = min(size, SHARD, len(images)), 1

    def taken(n: int, share: int, components: Sequence[Component] | None = None) -> tuple[float, float]:
        """Seconds and passes per image, a backward one counted as two, of an attack so much longer than the least."""
        small = shortened(plan, STEPS * share, QUERIES * share)
        x = images.shard(0, n).to(evaluator.worker.device)
        start = time.perf_counter()
        found = evaluator.attacker.find(x, images.name, 0, "min", small, None, sized, components)
        return (time.perf_counter() - start) / n, weight(found.passes)

    taken(n, 1)  # what only a first one takes
    while (found := taken(n, 1))[0] * n < ENOUGH and n < most:
        n = min(4 * n, most)
    (short, fewer), (long, more) = found, taken(n, 2)
    if n < most:
        taken(most, 1, attacks.components_of(evaluator.detector, plan)[:1])
    further = (long - short) / (more - fewer) if more > fewer and long > short else long / more
    forward = min(further, long / more)  # a further pass costs no more than a mean one: what looks so is chance
    return Rehearsed(long + (weight(attacks.cost(evaluator.detector, plan, sized)) - more) * forward, forward)


def shortened(plan: AttackPlan, steps: int, queries: int) -> AttackPlan:
    """The plan with so many steps and queries at most."""
    spend = plan.strength
    return replace(plan, strength=replace(spend, steps=min(steps, spend.steps), queries=min(queries, spend.queries)))


def share_spent(evaluator: Evaluator, plan: AttackPlan, direction: Direction, forward: float) -> float:
    """The part of `attacks.cost` that images take, in (0, 1]: those that the first component decides take no more.

    `forward` is what a pass takes, in seconds per image.
    """
    detector, sized = evaluator.detector, evaluator.sized(plan)
    first, *others = attacks.components_of(detector, plan)
    if not others or plan.threat.knows_seed:
        return 1.0
    draws = attacks.selection_draws(detector, plan.threat.tries, plan.strength.compared)
    looks = (1 + first.runs(detector, plan)) * draws * weight(detector.score_passes())
    begun = weight(first.cost(detector, plan, sized)) + looks
    sets, reference = targets(evaluator, direction), evaluator.references()[direction]
    n = ceil(min(MOST, max(FEWEST, LONGEST / (begun * forward))) / len(sets))
    decided = []
    for images in sets:
        x = images.shard(0, min(n, SHARD)).to(evaluator.worker.device)
        found = evaluator.attacker.find(x, images.name, 0, direction, plan, reference, sized, [first])
        scores = evaluator.attacker.scores(found.images, images.name, 0, "select", draws)
        decided.append((scores < reference.min() if SIGN[direction] < 0 else scores > reference.max()).all(0))
    share = begun / weight(attacks.cost(detector, plan, sized))
    return share + (1 - share) * (1 - float(torch.cat(decided).double().mean()))


def scoring(evaluator: Evaluator) -> float:
    """Seconds of a forward pass on one image in a score: float32, whatever the attack's gradients are."""
    images = evaluator.bench.id_val

    def taken(n: int) -> float:
        x = images.shard(0, n).to(evaluator.worker.device)
        start = time.perf_counter()
        evaluator.plain.scores(x, images.name, 0, draws=1)
        return time.perf_counter() - start

    n, most = 1, min(SHARD, len(images))
    taken(n)  # what only a first one takes
    while (found := taken(n)) < ENOUGH and n < most:
        n = min(4 * n, most)
    return found / weight(evaluator.detector.score_passes()) / n


def peak_memory(device: torch.device) -> int | None:
    """Bytes that this process took at most until now, about what the run takes; None where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return None
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
