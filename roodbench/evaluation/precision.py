"""bfloat16 for the attack's gradients, where it is faster and a rehearsal shows it harmless; scores stay float32."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

import attacks
from attacks import DIRECTIONS, AttackPlan
from detectors import Detector
from detectors.score import device_of

from ..data import Benchmark
from ..engine.copies import OnCopies
from ..engine.streams import stream
from ..machine.prepare import HalfGradients, Prepared, operations
from ..models import Classifier

log = logging.getLogger("roodbench")

HARMLESS = 0.005
"""Share of the score's change that the median image of the rehearsal may lose (benchmarks/RESULTS.md has the cost)."""
REPAYS = {"cpu": 5e12, "cuda": 5e14}
"""Floating point operations of a run from which the rehearsal repays itself, where it is no larger SHARE of them."""
SHARE = 0.05
IMAGES, STEPS = 32, 8
"""Of the rehearsal, in each direction."""


def precision_of(
    detector: Detector, net: Classifier, bench: Benchmark, plan: AttackPlan, work: float, precision: str, seed: int
) -> str:
    """`auto` is bfloat16 where the device has it, the `work` (operations) repays a rehearsal, and it passes."""
    if precision != "auto":
        return precision
    device = device_of(net)
    usable = isinstance(net.backbone, Prepared) and detector.network is net and has_bfloat16(device)
    if not usable or work < REPAYS.get(device.type, float("inf")):
        return "float32"
    passes, x = rehearsal(detector, plan), bench.id_val.shard(0, 1).to(device)
    if passes * operations(net, x) > SHARE * work:
        return "float32"
    lost = loss_of_half(detector, net, bench, plan, seed)
    chosen = "bfloat16" if lost <= HARMLESS else "float32"
    log.info("%s: %s gradients; bfloat16's lose %.1f%% in a rehearsal", detector.label, chosen, 100 * lost)
    return chosen


def rehearsed_by(detector: Detector) -> str:
    """The objective of the rehearsal."""
    return "mean" if "mean" in detector.objectives else "exact"


def rehearsal(detector: Detector, plan: AttackPlan) -> float:
    """Forward passes of the network that `loss_of_half` needs, a backward pass counted as two."""
    objective = rehearsed_by(detector)
    forward, backward = detector.passes(objective, attacks.fixed_draws(detector, objective, plan))
    return 2 * 2 * IMAGES * STEPS * (forward + 2.0 * backward)


def loss_of_half(detector: Detector, net: Classifier, bench: Benchmark, plan: AttackPlan, seed: int) -> float:
    """The share of a short attack's change of the score that bfloat16 gradients lose: median of 32 validation images.

    The worse of both directions; infinite where the attack changes nothing.
    """
    label, noisy = detector.label, detector.randomized
    plain, half = OnCopies(detector, label), OnCopies(HalfGradients(detector, net), label)
    objective, losses = rehearsed_by(detector), []
    for images, sign in ((bench.id_val, -1), (bench.ood_val, 1)):
        x = images.shard(0, IMAGES).to(device_of(net))

        def noise(name: str, population: str = images.name, device: torch.device = x.device) -> torch.Generator:
            return stream(seed, f"precision/{name}", population, 0, device)

        @torch.no_grad()
        def score(x: Tensor) -> Tensor:
            return plain(x, generator=noise("score")).double()

        changes = []
        for target in (plain, half):
            found = attacks.pgd(
                target,
                x,
                plan.threat,
                sign=sign,
                objective=objective,
                steps=STEPS,
                draws=attacks.fixed_draws(detector, objective, plan) if noisy else None,
                generator=noise("attack"),
                momentum=attacks.MOMENTUM if noisy else 0.0,
                keep="last" if noisy else "best",
            )
            changes.append(sign * (score(found.images) - score(x)))
        loss = (1 - changes[1] / changes[0]).nanmedian()
        losses.append(float(loss) if loss.isfinite() else float("inf"))
    return max(losses)


def work_of(detector: Detector, bench: Benchmark, attack: str, plan: AttackPlan) -> float:
    """Forward passes of the network that an evaluation needs at most, a backward pass counted as two."""
    forward, backward = attacks.cost(detector, plan)
    n = {"min": len(bench.id_test), "max": sum(len(images) for images in bench.ood.values())}
    return sum(n[direction] for direction in DIRECTIONS[attack]) * (forward + 2.0 * backward)


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device computes bfloat16 faster than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())
