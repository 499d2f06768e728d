"""What a budget of network passes makes of an adversary, detector by detector."""

from __future__ import annotations

from collections.abc import Mapping

import torch

import attacks
from attacks import AttackPlan
from detectors import Detector


def within(
    detector: Detector, plan: AttackPlan, budget: int | None, sized: Mapping[str, int] | None = None
) -> AttackPlan:
    """The plan with the steps and restarts that `budget` passes per image pay for; as it is where that is None.

    `sized` are noisy copies per gradient by objective. ValueError, naming the detector and the smallest budget, for one
    that pays for no attack.
    """
    if budget is None:
        return plan
    known = plan.threat.knows_seed and detector.randomized
    seen = attacks.KnownSeed(detector, torch.Generator) if known else detector
    return attacks.within(seen, plan, budget, sized, label=detector.label)
