"""Attacks on a detector's score. They know a detector only by `value_and_grad`, `forward` and its objectives' names.

threat = attacks.ThreatModel(eps=8 / 255)
lower = attacks.pgd(detector, x, threat, sign=-1, generator=torch.Generator().manual_seed(0)).images
"""

from .noise import noise
from .pgd import Attacked, Trace, pgd, step_sizes
from .suite import METHODS, MOMENTUM, STRENGTHS, Best, Strength, Suite, cost, select, suite
from .threat import Detector, NonFiniteError, ThreatModel, check_finite

__all__ = [
    "METHODS",
    "MOMENTUM",
    "STRENGTHS",
    "Attacked",
    "Best",
    "Detector",
    "NonFiniteError",
    "Strength",
    "Suite",
    "ThreatModel",
    "Trace",
    "check_finite",
    "cost",
    "noise",
    "pgd",
    "select",
    "step_sizes",
    "suite",
]
