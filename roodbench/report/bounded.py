"""Certificates in a comparison: what each claims of its detectors, and what may stand beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from .. import metrics
from ..certify.certificate import NAME, read
from ..certify.claimed import OTHER, OWN, Settings, evidence_of, id_population
from ..certify.coherent import check_coherent
from ..certify.row import CertifiedRow
from ..record.record import Record
from .entries import Found, Place, adversary, key_of, over

CERTIFIED = {"certified min": (True, False), "certified max": (False, True), "certified both": (True, True)}
"""By condition whether the bounds of ID and of OOD are those within the radius."""


@dataclass(frozen=True)
class Claims:
    """A certificate, and the rows of its certification's record where that lies beside it."""

    certificate: Mapping[str, Any]
    config: Settings
    rows: Sequence[CertifiedRow] = ()

    @classmethod
    def read(cls, place: Any, rows: Sequence[CertifiedRow] = ()) -> Claims:
        """ValueError, in one line, for what is no certificate or contradicts itself."""
        certificate = read(place)
        check_coherent(certificate, str(place))
        return cls(certificate, Settings.of(certificate), rows)

    @property
    def data(self) -> Mapping[str, Any]:
        return self.certificate["data"]

    @property
    def sets(self) -> list[str]:
        """The OOD sets."""
        return [name.removeprefix(OTHER) for name in self.data if name.startswith(OTHER)]

    @property
    def radii(self) -> dict[float, float]:
        """Radius in the certificate's norm -> l2 radius."""
        pairs = zip(self.config.radius, self.certificate["threat"]["radii"], strict=True)
        return {round(radius, 12): radius_l2 for radius, radius_l2 in pairs}

    @property
    def network(self) -> str:
        return str(self.certificate["network"]["sha256"])


@dataclass(frozen=True)
class Bounded:
    """A detector of a certificate, in its population form: of infinitely many noisy copies."""

    name: str
    """Of no other entry: its title, with the certificate's letter where another has it too."""
    entry: Mapping[str, Any]
    claims: Claims
    groups: Mapping[str, np.ndarray]
    """By test set, for each image the first one with the same pixels; of sets in which a run says that some repeat."""

    @property
    def label(self) -> str:
        return f"{self.entry['detector']}({self.entry['base']})"

    @property
    def title(self) -> str:
        return f"{self.label}, all copies"

    def measured(self, sets: Sequence[str]) -> dict[Place, Found]:
        """By condition, radius and norm the AUROC over some OOD sets, clean and certified, with each image's part."""
        own, others = id_population(self.entry), {ood: self.entry["populations"][ood] for ood in sets}
        scores = [(np.array(its["score"], dtype=float), ood) for ood, its in others.items()]
        score, norm = np.array(own["score"], dtype=float), self.claims.config.norm
        found: dict[Place, list[metrics.Components]] = {}
        found["clean", None, None] = [self.components(score, other, ood) for other, ood in scores]
        bounds, bounds_of = evidence_of(own).bounds, {ood: evidence_of(its).bounds for ood, its in others.items()}
        for radius, radius_l2 in self.claims.radii.items():
            for condition, (near, far) in CERTIFIED.items():
                lower = bounds("bounds", radius_l2 if near else 0.0)[0]
                upper = {ood: of("bounds", radius_l2 if far else 0.0)[1] for ood, of in bounds_of.items()}
                found[condition, radius, norm] = [self.components(*strict(lower, upper[ood]), ood) for ood in sets]
        return {place: over(parts, [True]) for place, parts in found.items()}

    def components(self, own: np.ndarray, other: np.ndarray, ood: str) -> metrics.Components:
        keys = next(name for name in self.claims.data if name.startswith(OWN)), OTHER + ood
        return metrics.components(own, other, (self.groups.get(keys[0]), self.groups.get(keys[1])))


def strict(lower: np.ndarray, upper: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ranks of lower and upper bounds among all, with no ties between them: a lower one wins where it is above alone.

    >>> own, other = strict(np.array([-np.inf, 1.0, 2.0]), np.array([1.0, np.inf]))
    >>> (own[:, None] > other).tolist()
    [[False, False], [False, False], [True, False]]
    """
    values = np.unique(np.concatenate([lower, upper]))
    return 2.0 * np.searchsorted(values, lower), 2.0 * np.searchsorted(values, upper) + 1


def check_comparable(records: Mapping[str, Record | Claims]) -> None:
    """ValueError, in one line, for certificates and runs of which the one says nothing of the other.

    Of other networks, of other norms or no common radius, of another alpha; and runs whose adversary is none that a
    certificate speaks of.
    """
    claims = {name: its for name, its in records.items() if isinstance(its, Claims)}
    runs = {name: its for name, its in records.items() if isinstance(its, Record)}
    for (first, a), (second, b) in combinations(claims.items(), 2):
        who = f"'{first}' and '{second}'"
        if a.network != b.network:
            raise ValueError(f"{who} certify other networks ({a.network[:12]}, {b.network[:12]}): expected the same")
        if a.config.norm != b.config.norm:
            raise ValueError(f"{who} certify {a.config.norm} and {b.config.norm}: expected one norm")
        if a.config.alpha != b.config.alpha:
            raise ValueError(f"{who} have alpha {a.config.alpha:g} and {b.config.alpha:g}: expected the same")
        if not a.radii.keys() & b.radii.keys():
            radii = " and ".join(", ".join(f"{r:g}" for r in its.radii) for its in (a, b))
            raise ValueError(f"{who} have no radius in common ({radii}): expected one")
    for second, its in claims.items():
        for first, run in runs.items():
            check_beside(first, run, second, its)


def check_beside(first: str, run: Record, second: str, claims: Claims) -> None:
    """ValueError for a run of another network or adversary than those of a certificate."""
    network, who, norm = run.config.get("network_sha256"), f"'{first}' and '{second}'", claims.config.norm
    if network is None:
        raise ValueError(f"'{first}' does not say of which network it is: expected a run of `roodbench run`")
    if network != claims.network:
        raise ValueError(f"{who} are of other networks ({network[:12]}, {claims.network[:12]}): expected the same")
    attacked = [row for row in run.rows if row.eps is not None]
    for row in attacked[:1]:
        threat = adversary(run)["threat"]
        if row.space != "pixel":
            raise ValueError(f"'{first}' attacks in {row.space} space: expected pixels, of which '{second}' speaks")
        if row.norm != norm:
            raise ValueError(f"'{first}' attacks in {row.norm}, '{second}' certifies {norm}: expected one norm")
        if threat != "fresh":
            raise ValueError(f"'{first}' has the threat {threat}, '{second}' speaks of fresh noise: expected that")
    radii = list(dict.fromkeys(key_of(row)[1] for row in attacked))
    if attacked and not claims.radii.keys() & set(radii):
        have, wanted = (", ".join(f"{r:g}" for r in its) for its in (radii, claims.radii))
        raise ValueError(f"'{first}' attacks at radius {have}, '{second}' certifies {wanted}: expected one in common")


def certificate_of(name: str, folder: Any) -> Any:
    """The certificate in a certification's folder; ValueError where there is none."""
    file = folder / NAME
    if not file.is_file():
        raise ValueError(
            f"'{name}' has no {NAME}: expected a certification's folder with it (none is written where an attack got "
            "past a bound)"
        )
    return file
