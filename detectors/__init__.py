"""Post-hoc OOD detectors, differentiable end to end: base scores, PRO and ROSS over any of them.

ross = detectors.create("ross", net, base="gen").fit(train, val)
scores = ross(x, generator=torch.Generator().manual_seed(0))       # (B,), higher = more in-distribution
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from .activations import ASH, SCALE, ReAct
from .detector import Batches, Classifier, Detector, Outputs, Plain, Score, collect, keywords
from .features import FDBD, KNN, MDS, RMDS, VIM
from .gradients import ODIN, GradNorm
from .logits import EBO, ENT, GEN, MLS, MSP, MSPT
from .pro import PRO
from .smoothing import COV, MAD, ROSS, Median, Smoothed

BASES: dict[str, type[Score]] = {
    cls.name: cls
    for cls in (MSP, MSPT, ENT, GEN, EBO, MLS, FDBD, MDS, RMDS, KNN, VIM, ReAct, ASH, SCALE, ODIN, GradNorm)
}
"""Scores of a network's outputs."""
WRAPPERS: dict[str, type[Detector]] = {cls.name: cls for cls in (PRO, Median, MAD, COV, ROSS)}
"""Detectors over a base score."""

__all__ = [
    "ASH",
    "BASES",
    "COV",
    "EBO",
    "ENT",
    "FDBD",
    "GEN",
    "KNN",
    "MAD",
    "MDS",
    "MLS",
    "MSP",
    "MSPT",
    "ODIN",
    "PRO",
    "RMDS",
    "ROSS",
    "SCALE",
    "VIM",
    "WRAPPERS",
    "Batches",
    "Classifier",
    "Detector",
    "GradNorm",
    "Median",
    "Outputs",
    "Plain",
    "ReAct",
    "Score",
    "Smoothed",
    "class_of",
    "collect",
    "create",
    "keywords",
    "unknown",
]


def class_of(name: str) -> type[Detector]:
    """The class of a detector or base score; ValueError for an unknown name, naming the nearest one."""
    everything: dict[str, type[Detector]] = {**BASES, **WRAPPERS}
    if name not in everything:
        raise ValueError(unknown("detector", name, everything))
    return everything[name]


def create(name: str, net: Classifier, *, base: str = "gen", **params: Any) -> Detector:
    """The detector `name` on `net`, over the base score `base` where it wraps one.

    `params` are hyper-parameters of the detector or of its base, under their names or the papers' symbols
    (`copies` or N, `gain` or lambda). Raises ValueError for an unknown name, naming the nearest one.
    """
    if name in BASES:
        return BASES[name](net, **_arguments(params, BASES[name]))
    outer = class_of(name)
    if base not in BASES:
        raise ValueError(unknown("base score", base, BASES))
    inner = BASES[base]
    arguments = _arguments(params, outer, inner)
    own = {key: value for key, value in arguments.items() if key in keywords(outer)}
    rest = {key: value for key, value in arguments.items() if key not in own}
    if name == "pro" and base == "msp-t":
        rest.setdefault("temperature", 1.0)  # PRO-MSP-T as published: T = 1, not fitted
    return outer(inner(net, **rest), **own)


def _arguments(params: dict[str, Any], *classes: type[Detector]) -> dict[str, Any]:
    """`params` with symbols replaced by argument names; ValueError for one that no class takes."""
    symbols = {symbol: name for cls in reversed(classes) for symbol, name in cls.symbols.items()}
    known = [name for cls in classes for name in keywords(cls)]
    arguments = {symbols.get(key, key): value for key, value in params.items()}
    for key in arguments:
        if key not in known:
            raise ValueError(unknown(f"parameter of {classes[0].name}", key, known))
    return arguments


def unknown(kind: str, value: str, choices: Iterable[str]) -> str:
    """One line for a value that is none of `choices`, with the nearest of them."""
    choices = list(choices)
    near = difflib.get_close_matches(value, choices, 1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown {kind} {value!r}: {hint}expected one of {', '.join(choices)}"
