"""Whether a detector can be evaluated: it fits the seam, its network is as at its fit, which saw no test image."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from detectors import Detector, Plain, Score, shown
from detectors.noted import GIVEN, RANGES, check_weights, same_images

from ..data import Benchmark, ImageSet
from ..store.users import described

CALLS: dict[str, tuple[int, dict[str, Any], str]] = {
    "forward": (1, {}, "forward(x, *, generator=None)"),
    "value_and_grad": (
        1,
        {"objective": "exact", "draws": None, "generator": None},
        "value_and_grad(x, *, objective='exact', draws=None, generator=None)",
    ),
    "passes": (0, {"objective": "exact", "draws": None}, "passes(objective='exact', draws=None)"),
    "score_passes": (0, {}, "score_passes()"),
    "fit": (2, {}, "fit(train, val)"),
    "fitted": (0, {}, "fitted()"),
    "hyperparameters": (0, {}, "hyperparameters()"),
    "extremes": (0, {}, "extremes()"),
    "check_objective": (1, {}, "check_objective(objective)"),
}
"""Every method of the seam: how it is called, positional arguments and keywords, and how it is written."""


def check_seam(detector: Detector, *, fitted: bool = False) -> None:
    """ValueError, in one sentence, for a detector whose attributes or methods are not those of the seam.

    Nobody calls `fit` of one that is fitted.
    """
    fault = next(faults_of(detector, ["fit"] if fitted else []), None)
    if fault is not None:
        who = type(detector.module if isinstance(detector, Plain) else detector).__name__
        raise ValueError(f"detector {who}: {fault}")


def faults_of(detector: Detector, uncalled: Sequence[str]) -> Iterator[str]:
    """What does not fit, the first of it first: later checks need what earlier ones looked at."""
    if not isinstance(detector.name, str):
        yield f"name is {shown(detector.name)}, expected a str"
    if not isinstance(detector.randomized, bool):
        yield f"randomized is {shown(detector.randomized)}, expected True or False"
    objectives = detector.objectives
    if isinstance(objectives, str):
        yield f"objectives is the str {objectives!r}, expected a tuple of names: ({objectives!r},)"
    if not isinstance(objectives, tuple | list) or not all(isinstance(name, str) for name in objectives):
        yield f"objectives is {shown(objectives)}, expected a tuple of names, such as ('exact',)"
    if "exact" not in objectives or len(set(objectives)) < len(objectives):
        yield f"objectives {', '.join(objectives) or '()'}: expected different names and 'exact', the score, among them"
    if not isinstance(detector.whole, frozenset | set | tuple) or not set(detector.whole) <= set(objectives):
        yield f"whole is {shown(detector.whole)}, expected a frozenset of some of its objectives"
    yield from faults_of_methods(detector, uncalled)
    if not isinstance(detector.label, str):
        yield f"label is {shown(detector.label)}: the seam uses this name, give your attribute another"
    net = detector.network
    if inspect.ismethod(net) or not (net is None or callable(net)):
        yield f"network is {shown(net)}: the seam uses this name for the network, an nn.Module; give yours another"
    for objective in objectives:
        try:
            counts = detector.passes(objective), detector.score_passes()
        except Exception as error:  # whatever a user's method raises
            yield f"passes({objective!r}) or score_passes() fails: {described(error)}"
            continue
        if not all(is_pair(count) for count in counts):
            yield (
                f"passes({objective!r}) and score_passes() gave {counts[0]!r} and {counts[1]!r}: expected two pairs of "
                "whole numbers, network passes (forward, backward) per image"
            )


def faults_of_methods(detector: Detector, uncalled: Sequence[str]) -> Iterator[str]:
    """What does not fit of the methods that are called."""
    module: nn.Module = detector.module if isinstance(detector, Plain) else detector
    if getattr(module.forward, "__func__", None) in (Detector.forward, nn.Module.forward):
        yield "it has no method forward(x) that gives the scores"
    if isinstance(detector, Score) and type(detector).score is Score.score and type(detector).forward is Score.forward:
        yield "it has no method score(z, h) that gives the scores"
    for name in (name for name in CALLS if name not in uncalled):
        count, keywords, written = CALLS[name]
        owner = module if name in ("forward", "fit") and hasattr(module, name) else detector
        method = getattr(owner, name)
        if not callable(method):
            yield f"{name} is {shown(method)}: the seam calls {written}; give your attribute another name"
        given = {**keywords, "generator": None} if name == "forward" and detector.randomized else keywords
        if takes(method, count, given):
            continue
        if name == "forward" and takes(method, count, {"generator": None}):
            yield "forward needs a generator, and randomized is False: set randomized = True, or give it a default"
        elif name == "forward" and takes(method, count, {}):
            yield (
                "randomized is True, and forward takes no generator: write forward(x, *, generator=None) and draw all "
                "noise from it"
            )
        yield f"{name}{signature_of(method)} cannot be called as {written}"


def takes(method: Any, count: int, keywords: Mapping[str, Any]) -> bool:
    """Whether a function can be called with so many arguments and these keywords; true where nobody knows."""
    try:
        inspect.signature(method).bind(*range(count), **keywords)
    except TypeError:
        return False
    except ValueError:  # no signature: a builtin
        return True
    return True


def signature_of(method: Any) -> str:
    """The arguments of a function, without types."""
    found = inspect.signature(method)
    bare = [p.replace(annotation=p.empty) for p in found.parameters.values()]
    return str(found.replace(parameters=bare, return_annotation=found.empty))


def is_pair(count: Any) -> bool:
    """Whether a value is two whole numbers of at least 0."""
    return isinstance(count, tuple | list) and len(count) == 2 and all(isinstance(n, int) and n >= 0 for n in count)


OVERSHOOT = 0.2
"""How far resized images may lie outside of [0, 1]."""


def check_fitted(detector: Detector, bench: Benchmark) -> None:
    """ValueError for a detector whose network's weights have changed since its fit, or that was fitted on test images
    or on images of another range.

    Known are the images of lists of batches and of image sets: what an iterator or a loader gave is gone.
    """
    check_weights(detector)
    for part in detector.chain:
        low, high = RANGES.get(part, (0.0, 1.0))
        if bench.space == "pixel" and (low < -OVERSHOOT or high > 1 + OVERSHOOT):
            raise ValueError(
                f"{part.label} was fitted on images from {low:.3g} to {high:.3g}, {bench.name} has pixels in [0, 1]: "
                "fit on such, and normalise in the network"
            )
    notes = [note for part in detector.chain for note in GIVEN.get(part, ())]
    lists = [note for note in notes if isinstance(note, Tensor) and len(note)]
    sets = [images for note in notes if not isinstance(note, Tensor) and (images := note()) is not None]
    others = [images for images in sets if images not in (bench.id_train, bench.id_val) and images.is_read]
    looks = {look for images in others for look in images.looks}
    for images in (bench.id_test, *bench.ood.values(), *bench.shifted.values()) if lists or looks else ():
        if found := [i for i, look in enumerate(images.looks) if look in looks] or among(images, lists):
            raise ValueError(
                f"{detector.label} was fitted on {len(found)} of the {len(images)} images of {images.name} "
                f"({images.split}), the first {images.names[found[0]]}: expected fit(bench.id_train, bench.id_val)"
            )


def among(images: ImageSet, lists: Sequence[Tensor]) -> list[int]:
    """The places of a set's images that are among those of some signatures."""
    if not lists:
        return []
    known = torch.cat(list(lists))
    same = torch.cat([same_images(x, known) for _, x in images.shards()])
    return same.nonzero().flatten().tolist()
