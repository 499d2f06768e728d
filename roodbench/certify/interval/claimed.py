"""What a certificate of interval bounds claims, for whoever has it alone: bounds, and the metrics that follow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import product
from typing import Any

import numpy as np

from ...metrics import auroc
from ...metrics.gauroc import gauroc, gfpr95
from ..claimed import OTHER, OWN
from ..compare import differences
from ..evidence import CONDITIONS
from ..stated import UNVERIFIED
from .row import IntervalRow

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


def other_rows(rows: Sequence[IntervalRow], certificate: Mapping[str, Any]) -> Iterator[str]:
    """What the rows of a record say otherwise than the scores and bounds of the certificate beside it."""
    entries = {entry["detector"]: entry for entry in certificate["detectors"]}
    own, *others = tests_of(certificate)
    wanted = []
    for line in metrics_of(certificate["detectors"], own, others, certificate["threat"]["radii"]):
        its = entries[line["detector"]]["populations"]
        scores = [np.array(its[name]["score"], dtype=float) for name in (own, line["ood"])]
        sizes = dict(zip(("n_id", "n_ood"), map(len, scores), strict=True))
        found = {**line, "radius": line["radius_linf"], **sizes, "auroc_clean": auroc(*scores)}
        wanted.append({name: value for name, value in found.items() if name != "radius_linf"})
    have = [{name: asdict(row).get(name) for name in wanted[0]} for row in rows]
    yield from differences(have, wanted, "rows")


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
