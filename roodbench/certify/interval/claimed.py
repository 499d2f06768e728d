"""What a certificate of interval bounds claims, for whoever has it alone: bounds, and the metrics that follow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from ...metrics.gauroc import gauroc, gfpr95
from ..claimed import OTHER, OWN
from ..evidence import CONDITIONS
from ..stated import UNVERIFIED

KEY = ("detector", "ood", "condition", "radius_linf")
LEFT = {
    **{name: what for name, what in UNVERIFIED.items() if what.startswith(("how", "where", "the attack"))},
    **dict.fromkeys(("config.run.attack", "config.run.seed"), "the attack beside the bounds"),
    "claim": "that where the network runs its convolutions sum products, as here: not by Winograd or FFT, as cuDNN may",
}
"""The fields of a certificate that its verification takes as they are."""


def key_of(radius: float) -> str:
    """A radius as the certificate's objects name it."""
    return f"{radius:.9g}"


def metrics_of(
    entries: Iterable[Mapping[str, Any]], own: str, others: Sequence[str], radii: Sequence[float]
) -> Iterator[dict[str, Any]]:
    """The certified metrics of a certificate's detectors against OOD sets, from its bounds; `own` is the ID set."""
    for entry in entries:
        for radius, ood in product(radii, others):
            for condition, (near, far) in CONDITIONS.items():
                lower = sides_of(entry, own, radius if near else 0.0)[0]
                upper = sides_of(entry, ood, radius if far else 0.0)[1]
                threshold = lower if condition == "both" else sides_of(entry, own, 0.0)[0]
                found = {"gauroc": gauroc(lower, upper), "gfpr95": gfpr95(threshold, upper)}
                yield {**dict(zip(KEY, (entry["detector"], ood, condition, radius), strict=True)), **found}


def sides_of(entry: Mapping[str, Any], name: str, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bounds (n,) of a population that a certificate states under a detector."""
    its = entry["populations"][name]["bounds"][key_of(radius)]
    return np.array(its["lower"], dtype=float), np.array(its["upper"], dtype=float)


def tests_of(certificate: Mapping[str, Any]) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """The test sets by name, ID first: role, and what `data` says."""
    data = certificate["data"]
    return {
        name.removeprefix(prefix): (prefix.partition(" ")[0], data[name])
        for prefix in (OWN, OTHER)
        for name in data
        if name.startswith(prefix)
    }
