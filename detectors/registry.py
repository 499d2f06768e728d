"""Detectors by name: the tables, and construction with checked parameters."""

from __future__ import annotations

import difflib
import math
import reprlib
import typing
from collections.abc import Iterable
from typing import Any

from .activations import ASH, DICE, SCALE, ReAct
from .bank import SHE, NNGuide, Relation
from .detector import Classifier, Detector, keywords
from .features import FDBD, KNN, MDS, RMDS, VIM
from .gradients import GODIN, ODIN, ApproximateMass, GradNorm
from .logits import EBO, ENT, GEN, MLS, MSP, MSPT
from .maps import RankFeat
from .matching import KLM, OpenMax
from .pro import PRO
from .ross import ROSS, ROSSQ
from .score import Score
from .smoothing import COV, MAD, Median

OF_LOGITS = (MSP, MSPT, ENT, GEN, EBO, MLS, KLM, OpenMax)
OF_FEATURES = (FDBD, MDS, RMDS, KNN, VIM, ReAct, ASH, SCALE, DICE, SHE, NNGuide, Relation)
OF_PASSES = (ODIN, GradNorm, ApproximateMass, RankFeat)
BASES: dict[str, type[Score]] = {cls.name: cls for cls in (*OF_LOGITS, *OF_FEATURES, *OF_PASSES)}
"""Scores of a network's outputs."""
WRAPPERS: dict[str, type[Detector]] = {cls.name: cls for cls in (PRO, Median, MAD, COV, ROSS, ROSSQ)}
"""Detectors over a base score."""
DETECTORS: dict[str, type[Detector]] = {**BASES, **WRAPPERS}
"""What takes any network with features and a last layer: `--detector all`."""
SPECIAL: dict[str, type[Score]] = {cls.name: cls for cls in (GODIN,)}
"""Base scores of networks that were trained for them."""
KNOWN: dict[str, type[Detector]] = {**DETECTORS, **SPECIAL}
"""Every name."""


def class_of(name: str) -> type[Detector]:
    """The class of a detector or base score; ValueError for an unknown name, naming the nearest one."""
    if not isinstance(name, str) or name not in KNOWN:
        raise ValueError(unknown("detector", name, KNOWN))
    return KNOWN[name]


def base_of(base: str | type[Detector]) -> type[Detector]:
    """The class of a base score, by name or as it is; ValueError for anything else."""
    if isinstance(base, type) and issubclass(base, Detector):
        return base
    if isinstance(base, type):
        raise ValueError(f"base is the class {base.__name__}: expected one of a detector, such as a Score of your own")
    if not isinstance(base, str) or base not in {**BASES, **SPECIAL}:
        raise ValueError(unknown("base score", base, {**BASES, **SPECIAL}))
    return class_of(base)


def create(name: str, net: Classifier, *, base: str | type[Detector] = "gen", **params: Any) -> Detector:
    """The detector `name` on `net`, over the base score `base` where it wraps one: a name, or a class of your own.

    `params` are hyper-parameters of the detector or of its base, under their names or the papers' symbols (`copies` or
    N, `gain` or lambda); `base.NAME` is the base's where both have one. Raises ValueError for an unknown name, naming
    the nearest one, and for a value of the wrong type.

    >>> import torch
    >>> ross = create("ross", torch.nn.Identity(), base="gen", N=10, gamma=0.5)
    >>> ross.label, ross.copies, ross.base.gamma
    ('ross(gen)', 10, 0.5)
    >>> class Second(Score):
    ...     name = "second"
    ...     def score(self, z, h):
    ...         return z.topk(2, dim=1).values[:, 1]
    >>> create("pro", torch.nn.Identity(), base=Second).label
    'pro(second)'
    >>> create("knn", torch.nn.Identity(), neighbour=5)
    Traceback (most recent call last):
    ValueError: unknown parameter of knn 'neighbour': did you mean 'neighbours'? expected one of neighbours, chunk, K
    """
    outer = class_of(name)
    if name not in WRAPPERS:
        return outer(net, **arguments(params, outer))
    inner = base_of(base)
    given = arguments(params, outer, inner)
    own = {key: value for key, value in given.items() if not key.startswith("base.")}
    rest = {key.removeprefix("base."): value for key, value in given.items() if key.startswith("base.")}
    if name == "pro" and inner is MSPT:
        rest.setdefault("temperature", 1.0)  # PRO-MSP-T as published: T = 1, not fitted
    return outer(inner(net, **rest), **own)


def arguments(params: dict[str, Any], outer: type[Detector], inner: type[Detector] | None = None) -> dict[str, Any]:
    """`params` by the names of the constructors' arguments, those of `inner` as `base.NAME`, with checked types."""
    names = {key: (outer, key) for key in keywords(outer)} | {k: (outer, v) for k, v in outer.symbols.items()}
    if inner is not None:
        inside = {key: (inner, key) for key in keywords(inner)} | {k: (inner, v) for k, v in inner.symbols.items()}
        names = inside | names | {f"base.{key}": value for key, value in inside.items()}
    found: dict[str, Any] = {}
    for key, value in params.items():
        if key not in names:
            raise ValueError(unknown(f"parameter of {outer.name}", key, names))
        cls, argument = names[key]
        check_type(cls, argument, value)
        place = argument if cls is outer else f"base.{argument}"
        if place in found:
            raise ValueError(f"parameter {argument} of {cls.name} is given twice")
        found[place] = value
    return found


def check_type(cls: type[Detector], argument: str, value: Any) -> None:
    """ValueError where a value is not of the type that the constructor declares, or not finite."""
    declared = typing.get_type_hints(cls.__init__)
    if argument not in declared:  # a user's own
        return
    hint = str(declared[argument])
    number = isinstance(value, int | float) and not isinstance(value, bool)
    fits = {
        "None": value is None,
        "bool": isinstance(value, bool),
        "int": number and not isinstance(value, float),
        "float": number and math.isfinite(value),
        "tuple": pair(value, 2),
        "Sequence": pair(value, None),
    }
    wanted = [kind for kind in fits if kind.lower() in hint.replace("<class '", "").lower()]
    if "tuple" in wanted or "Sequence" in wanted:
        wanted = [kind for kind in wanted if kind != "float"]
    if not any(fits[kind] for kind in wanted):
        raise ValueError(f"{argument} {value!r} of {cls.name}: expected {' or '.join(wanted)}")


def pair(value: Any, length: int | None) -> bool:
    """Whether a value is a list of finite numbers (of that length)."""
    if not isinstance(value, list | tuple) or (length is not None and len(value) != length) or not value:
        return False
    return all(isinstance(v, int | float) and math.isfinite(v) for v in value)


def unknown(kind: str, value: Any, choices: Iterable[str]) -> str:
    """One line for a value that is not among `choices`, with the nearest of them where it is a name.

    >>> unknown("colour", "gren", ["red", "green"])
    "unknown colour 'gren': did you mean 'green'? expected one of red, green"
    >>> unknown("colour", "RED", ["red", "green"])
    "unknown colour 'RED': did you mean 'red'? expected one of red, green"
    """
    choices, is_name = list(choices), isinstance(value, str)
    plain = {choice: choice.lower().replace("_", "-") for choice in choices}
    near = difflib.get_close_matches(value.lower().replace("_", "-"), plain.values(), 1) if is_name else []
    like = difflib.get_close_matches(value, [c for c in choices if plain[c] in near], 1, 0.0) if near else []
    hint = f"did you mean {like[0]!r}? " if like else ""
    written = repr(value) if is_name else " ".join(reprlib.repr(value).split())
    return f"unknown {kind} {written}: {hint}expected one of {', '.join(choices)}"
