"""What a fitted detector does, as a hash: results kept for it are reused for as long as it does the same.

Its make is in every key too (`identity`), but no list of code and attributes can name all that a user's code depends
on: a helper module, a file, a variable of the environment, a closure. So its scores are computed on every run, never
kept, and results are reused only where all of them are the same to the last bit.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

import attacks
from attacks import SIGN, AttackPlan, Direction
from detectors import Detector

from ..data import SHARD, Benchmark, ImageSet
from ..engine.apart import Apart
from ..engine.copies import OnCopies
from ..engine.worker import Worker
from ..store.cells import Cell
from ..store.identity import content_hash, tensor_hash
from ..store.listed import is_listed
from .attacker import Attacker

IMAGES = 16
"""ID test images, and as many of uniform noise, on which a detector that is listed whole is scored."""
FEW = 16
"""Images of a population, all over it, on which gradients and scores under attack are looked at."""
STEPS = 4
"""Of the plan's attack, half of epsilon long: from a random start to the rim of the ball, where attacks end."""
COMPARED = f"the clean scores of every image and {FEW} images of each set over {STEPS} steps of the attack"
"""Of a detector that is not listed whole."""


def scores_of(attacker: Attacker, bench: Benchmark) -> str:
    """A hash of the detector's scores on one draw: of every image of the evaluation, or of a few where `is_listed`."""
    worker = attacker.worker

    def score(shard: int, x: Tensor, name: str) -> Cell:
        with steady():
            return {"scores": attacker.scores(x, name, shard, "behaviour", draws=1)}, {}

    if is_listed(worker.detector):
        images = bench.id_test
        x = images.shard(0, IMAGES).to(worker.device)
        both = torch.cat([x, noise_like(bench, worker)])
        return tensor_hash(worker.guard(images, 0, lambda: score(0, both, images.name))[0]["scores"])
    found = []
    for images in (bench.id_test, *bench.ood.values(), *bench.shifted.values()):
        cells = worker.map(
            images, None, f"{images.name}, scored to recognise kept results", partial(score, name=images.name)
        )
        found.append([images.name, images.digest, [tensor_hash(tensors["scores"]) for tensors, _ in cells]])
    return content_hash(found)


def noise_like(bench: Benchmark, worker: Worker) -> Tensor:
    """As many images of uniform noise as `IMAGES`, or as ID test has."""
    x = bench.id_test.shard(0, IMAGES).to(worker.device)
    generator = worker.stream("behaviour/images", "noise", 0)
    return torch.rand(x.shape, generator=generator, device=x.device).to(x)


def gradients_of(attacker: Attacker, images: ImageSet, plan: AttackPlan, direction: Direction) -> str:
    """A hash of what a plan's attack meets on a few images: every objective, its gradient and the scores, step by step.

    What is no number there is hashed like the rest: the attack itself says which image it is.
    """
    worker, detector, ball = attacker.worker, attacker.detector, plan.threat
    some = images.at(np.unique(np.linspace(0, len(images) - 1, FEW).round().astype(int)))
    x = some.shard(0, len(some)).to(worker.device)
    components = attacks.components_of(attacker.seen(plan, images.name, 0), plan)
    objectives = list(dict.fromkeys(c.objective for c in components if c.objective))

    def look() -> list[Any]:
        generator = worker.stream("behaviour/gradient", images.name, 0)
        settings: dict[str, Any] = {"draws": 2, "generator": generator} if detector.randomized else {}
        found: list[Any] = []
        for objective in objectives or [""]:
            z = ball.random(x, generator)
            for _ in range(STEPS):
                if objective:
                    value, grad = attacks.gradient_of(detector, z.clone(), objective=objective, **settings)
                    found += [objective, tensor_hash(value), tensor_hash(grad)]
                    step = SIGN[direction] * ball.eps / 2 * ball.ascent(grad)
                    z = ball.project(z + step, x).nan_to_num()
                else:
                    z = ball.random(x, generator)
                with torch.no_grad():
                    scores = detector(z, generator=generator) if detector.randomized else detector(z)
                found.append(tensor_hash(scores) if isinstance(scores, Tensor) else repr(scores))
        return found

    with steady():
        return content_hash(worker.guard(some, 0, look))


def unmet(attacker: Attacker, bench: Benchmark) -> Detector | None:
    """A copy of a detector that has scored nothing, None of one that is listed whole or has no copies that do the same.

    The detector itself then scores noise, so that one that learns from what it meets first learns nothing of ID.
    """
    worker = attacker.worker
    if is_listed(worker.detector):
        return None
    noise = noise_like(bench, worker)

    @torch.no_grad()
    def scored(detector: Detector) -> list[str]:
        generator = worker.stream("behaviour/first", "noise", 0)
        batches = noise.clone(), noise[: max(1, len(noise) // 3)].clone()
        return [tensor_hash(OnCopies(detector, "")(x, generator=generator)) for x in batches]

    copies: list[Detector] = []
    with suppress(Exception):  # whatever a user's attributes raise: locks, files, tensors of a graph
        copies = [copy.deepcopy(worker.detector) for _ in range(2)]
    with suppress(Exception):  # the first real images say what is wrong
        said = scored(worker.detector)
        if copies and scored(copies[1]) == said:  # a hook may look at the original's features, not the copy's
            return copies[0]
    return None


def scored_apart(attacker: Attacker, bench: Benchmark) -> Apart | None:
    """A copy of the process that scores the first shard of every set, ID last; None of a detector that is listed whole.

    It gives scores (B,) by set. What a detector keeps outside of itself, in globals or closures, is in no copy of it.
    """
    worker = attacker.worker
    sets = [s for s in (bench.id_test, *bench.ood.values(), *bench.shifted.values()) if s.name not in bench.corruptions]

    def score() -> dict[str, np.ndarray]:
        first = {s.name: s.shard(0, SHARD).to(worker.device) for s in reversed(sets)}
        return {name: attacker.scores(x, name, 0, draws=1)[0].double().numpy() for name, x in first.items()}

    return None if is_listed(worker.detector) else Apart(score, worker.device)


@contextmanager
def steady() -> Iterator[None]:
    """Let cuDNN choose algorithms that repeat to the last bit."""
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.deterministic
    cudnn.benchmark, cudnn.deterministic = False, True
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.deterministic = before
