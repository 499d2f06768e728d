"""Attacks on a detector's score. They know a detector only by `value_and_grad`, `forward` and its objectives' names.

>>> import torch, attacks, detectors
>>> class Mean(torch.nn.Module):
...     def forward(self, x):
...         return x.flatten(1).mean(1)
>>> x = torch.full((2, 1, 4, 4), 0.5)
>>> generator = torch.Generator().manual_seed(0)
>>> found = attacks.pgd(detectors.Plain(Mean()), x, attacks.ThreatModel(eps=0.1), sign=-1, generator=generator)
>>> found.values  # the optimum: every pixel 0.1 darker
tensor([0.4000, 0.4000])
"""

from .algorithms import ALGORITHMS, MOMENTUM
from .apgd import apgd
from .components import Component, component
from .eot import cosine, draws_needed, fixed_draws
from .external import attack_class, is_external, library_version
from .known_seed import KnownSeed
from .methods import METHODS, check_method, components_of, cost, honoured, rests_on, transfer_for, within
from .noise import noise
from .pgd import pgd, step_sizes
from .plan import DIRECTIONS, SIGN, STRENGTHS, AttackPlan, Direction, Strength
from .restarts import out_of_memory
from .seam import Detector, GradientError, NonFiniteError, check_finite, check_visited, gradient_of, is_noisy
from .selection import Best, rank, select, selection_draws
from .square import square
from .suite import Suite, suite
from .targeted import targeted
from .threat import NOISE, ThreatModel, quantize
from .trace import Attacked, Trace
from .two_logits import TwoLogits, view_of
from .waiting import at_once, demand

__all__ = [
    "ALGORITHMS",
    "DIRECTIONS",
    "METHODS",
    "MOMENTUM",
    "NOISE",
    "SIGN",
    "STRENGTHS",
    "AttackPlan",
    "Attacked",
    "Best",
    "Component",
    "Detector",
    "Direction",
    "GradientError",
    "KnownSeed",
    "NonFiniteError",
    "Strength",
    "Suite",
    "ThreatModel",
    "Trace",
    "TwoLogits",
    "apgd",
    "at_once",
    "attack_class",
    "check_finite",
    "check_method",
    "check_visited",
    "component",
    "components_of",
    "cosine",
    "cost",
    "demand",
    "draws_needed",
    "fixed_draws",
    "gradient_of",
    "honoured",
    "is_external",
    "is_noisy",
    "library_version",
    "noise",
    "out_of_memory",
    "pgd",
    "quantize",
    "rank",
    "rests_on",
    "select",
    "selection_draws",
    "square",
    "step_sizes",
    "suite",
    "targeted",
    "transfer_for",
    "view_of",
    "within",
]
