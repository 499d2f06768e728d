"""Whether data, network and clean scores are what they should be: numbers of the checks that need no attack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .. import metrics
from ..data import Benchmark, ImageSet
from .checks import CHECKS
from .populations import Evaluated

Number = tuple[float, dict[str, Any]]
"""A check's number and what its message names; `sets` has the number of every population that it judges."""


def plausibility_of(found: Evaluated) -> dict[str, Number]:
    """By name, the checks of data, network and clean scores that apply."""
    bench = found.bench
    scored = [bench.id_test, *bench.ood.values(), *bench.shifted.values()]
    entries = {
        "few-images": worst("few-images", {s.name: float(s.distinct) for s in scored}),
        "duplicates": worst("duplicates", {s.name: 1 - s.distinct / len(s) for s in scored}, copies(scored)),
        "dark": worst("dark", {s.name: s.brightest for s in scored}),
        "shifted-labels": worst(
            "shifted-labels",
            {name: found.above_chance(name) for name in readable(bench) if name in found.agreement},
            lambda name: {"accuracy": found.agreement[name][0]},
        ),
        "randomness": (found.unrepeatable, {}),
        "constant": worst("constant", {name: tied(*clean(found, name)) for name in bench.ood}),
        "reversed": reversed_of(found),
    }
    if bench.id_test.name in found.agreement:
        accuracy, chance = found.agreement[bench.id_test.name]
        name = getattr(found.detector.network, "name", "the network")
        detail = {"where": name, "accuracy": accuracy, "chance": chance}
        entries["id-accuracy"] = found.above_chance(bench.id_test.name), detail
    return {name: entry for name, entry in entries.items() if entry is not None}


def readable(bench: Benchmark) -> list[str]:
    """The shifted ID sets that a network can read: of corrupted ones the mildest; the others may leave it to chance."""
    mildest = min((severity for _, severity in bench.corruptions.values()), default=0)
    return [name for name in bench.shifted if bench.corruptions.get(name, ("", mildest))[1] == mildest]


def worst(
    name: str, numbers: dict[str, float], more: Callable[[str], dict[str, Any]] = lambda name: {}
) -> Number | None:
    """The number of the population that is furthest beyond a check's threshold; None where there is no population."""
    if not numbers:
        return None
    where = (min if CHECKS[name].least else max)(numbers, key=lambda key: numbers[key])
    return numbers[where], {"where": where, "sets": numbers, **more(where)}


def copies(sets: Sequence[ImageSet]) -> Callable[[str], dict[str, Any]]:
    by_name = {s.name: s for s in sets}
    return lambda name: {"copies": len(by_name[name]) - by_name[name].distinct, "images": len(by_name[name])}


def clean(found: Evaluated, name: str) -> tuple[Tensor, Tensor]:
    """Clean scores of ID and of an OOD set, on the first report draw."""
    id_test, ood = (found.populations[key, "clean"].scores[0] for key in (found.bench.id_test.name, name))
    return id_test, ood


def tied(id_scores: Tensor, ood_scores: Tensor) -> float:
    """The share of ID, or of OOD where that is less, whose score is the median of all, up to 4 units in the last place.

    Where more than half of both share one score, this is it: a pair that is tied counts one half in AUROC.
    """
    middle = torch.cat([id_scores, ood_scores]).median()
    unit = torch.finfo(middle.dtype).eps if middle.is_floating_point() else 0.0
    slack = 4 * unit * float(middle.abs())
    return min(float(((s - middle).abs() <= slack).double().mean()) for s in (id_scores, ood_scores))


def reversed_of(found: Evaluated) -> Number:
    """The upper end of the 95% interval of the clean AUROC, averaged over the OOD sets; equal images count once."""
    id_scores = found.scores(found.bench.id_test.name, "clean")
    of_set = [
        metrics.components(id_scores, found.scores(name, "clean"), found.groups(name)) for name in found.bench.ood
    ]
    area = metrics.average(of_set)
    return area.interval().ci[1], {"auroc": area.value}
