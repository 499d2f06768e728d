"""Attacks on a detector's score. They know a detector only by `value_and_grad`, `forward` and its objectives' names.

threat = attacks.ThreatModel(eps=8 / 255)
lower = attacks.pgd(detector, x, threat, sign=-1, generator=torch.Generator().manual_seed(0)).images
"""

from .adversary import KnownSeed, quantize, tries_of
from .apgd import apgd
from .eot import copies, cosine
from .external import TwoLogits, attack_class, is_external, is_search, view_of
from .noise import noise
from .pgd import Attacked, Trace, pgd, step_sizes
from .selection import Best, rank, select
from .square import square
from .strength import METHODS, STRENGTHS, Strength, components_of, cost, is_noisy
from .suite import MOMENTUM, Suite, suite
from .threat import Detector, NonFiniteError, ThreatModel, check_finite

__all__ = [
    "METHODS",
    "MOMENTUM",
    "STRENGTHS",
    "Attacked",
    "Best",
    "Detector",
    "KnownSeed",
    "NonFiniteError",
    "Strength",
    "Suite",
    "ThreatModel",
    "Trace",
    "TwoLogits",
    "apgd",
    "attack_class",
    "check_finite",
    "components_of",
    "copies",
    "cosine",
    "cost",
    "is_external",
    "is_noisy",
    "is_search",
    "noise",
    "pgd",
    "quantize",
    "rank",
    "select",
    "square",
    "step_sizes",
    "suite",
    "tries_of",
    "view_of",
]
