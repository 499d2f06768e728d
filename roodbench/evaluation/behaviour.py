"""What a fitted detector does, as a hash: kept results are its own for as long as it does the same.

Its make is in every key too (`identity`), but no list of code and attributes can name all that a user's code depends
on: a helper module, a file, a variable of the environment, a closure. So its scores are computed on every run, never
kept, and results are reused only where all of them are the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

import attacks
from attacks import AttackPlan, ThreatModel

from ..data import Benchmark, ImageSet
from ..store.cells import Cell
from ..store.identity import content_hash, tensor_hash
from ..store.listed import is_listed
from .attacker import Attacker

IMAGES = 16
"""ID test images, and as many of uniform noise, on which a detector that is listed whole is scored."""
FEW = 4
"""Images of a population on which gradients and scores under attack are looked at."""
STEPS = 3
RADIUS = 0.1
"""In pixels: of the random start; a step is a third of it."""


def scores_of(attacker: Attacker, bench: Benchmark) -> str:
    """A hash of the detector's scores on one draw: of every image of the evaluation, or of a few where `is_listed`."""
    worker = attacker.worker

    def score(shard: int, x: Tensor, name: str) -> Cell:
        with steady():
            return {"scores": attacker.scores(x, name, shard, "behaviour", draws=1)}, {}

    if is_listed(worker.detector):
        images = bench.id_test
        x = images.shard(0, min(IMAGES, len(images))).to(worker.device)
        noise = torch.rand(x.shape, generator=worker.stream("behaviour/images", "noise", 0), device=x.device)
        both = torch.cat([x, noise.to(x)])
        return tensor_hash(worker.guard(images, 0, lambda: score(0, both, images.name))[0]["scores"])
    found = []
    for images in (bench.id_test, *bench.ood.values(), *bench.shifted.values()):
        cells = worker.map(
            images, None, f"{images.name}, scored to recognise kept results", partial(score, name=images.name)
        )
        found.append([images.name, images.digest, [tensor_hash(tensors["scores"]) for tensors, _ in cells]])
    return content_hash(found)


def gradients_of(attacker: Attacker, images: ImageSet, plan: AttackPlan, unit: float) -> str:
    """A hash of every objective of a plan at a random start near a few images, of its gradient, and of a few steps.

    What is no number there is hashed like the rest: the attack itself says which image it is. `unit` is a pixel of
    [0, 1] in units of the input space.
    """
    worker, detector = attacker.worker, attacker.detector
    x = images.shard(0, min(FEW, len(images))).to(worker.device)
    ball = ThreatModel(RADIUS * unit, "linf", plan.threat.bounds)
    components = attacks.components_of(attacker.seen(plan, images.name, 0), plan)
    objectives = list(dict.fromkeys(c.objective for c in components if c.follows_gradient))

    def look() -> list[Any]:
        generator = worker.stream("behaviour/gradient", images.name, 0)
        settings: dict[str, Any] = {"draws": 2, "generator": generator} if detector.randomized else {}
        z = ball.random(x, generator)
        found: list[Any] = []
        for objective in objectives:
            for _ in range(STEPS):
                value, grad = attacks.gradient_of(detector, z.clone(), objective=objective, **settings)
                found += [objective, tensor_hash(value), tensor_hash(grad)]
                z = ball.project(z + ball.eps / STEPS * grad.sign(), x).nan_to_num()
        with torch.no_grad():
            scores = detector(z, generator=generator) if detector.randomized else detector(z)
        return [*found, tensor_hash(scores) if isinstance(scores, Tensor) else repr(scores)]

    with steady():
        return content_hash(worker.guard(images, 0, look))


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
