"""Certificates in a comparison: what each claims of its detectors, and what may stand beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from .. import metrics
from ..certify.certificate import INTERVAL, NAME, read
from ..certify.claimed import OTHER, OWN, Settings, evidence_of, id_name
from ..certify.coherent import check_coherent
from ..certify.interval.claimed import sides_of
from ..certify.interval.row import IntervalRow
from ..certify.row import CertifiedRow
from ..record.record import Record
from .entries import Found, Place, adversary, key_of, over

CERTIFIED = {"certified min": (True, False), "certified max": (False, True), "certified both": (True, True)}
"""By condition whether the bounds of ID and of OOD are those within the radius."""


@dataclass(frozen=True)
class Claims:
    """A certificate, and the rows of its certification's record where that lies beside it."""

    certificate: Mapping[str, Any]
    config: Settings | None
    """Of a certificate by noise; None of one of interval bounds, which is of linf and holds without a probability."""
    rows: Sequence[CertifiedRow | IntervalRow] = ()

    @classmethod
    def read(cls, place: Any, rows: Sequence[CertifiedRow | IntervalRow] = ()) -> Claims:
        """ValueError, in one line, for anything but a certificate, and for one that contradicts itself."""
        certificate = read(place)
        check_coherent(certificate, str(place))
        by_noise = certificate["schema"] != INTERVAL
        return cls(certificate, Settings.of(certificate) if by_noise else None, rows)

    @property
    def norm(self) -> str:
        return "linf" if self.config is None else self.config.norm

    @property
    def alpha(self) -> float:
        """The probability of one wrong number; 0 of interval bounds."""
        return 0.0 if self.config is None else self.config.alpha

    def entries(self, groups: Mapping[str, np.ndarray]) -> list[Bounded]:
        """Its detectors, not yet named."""
        kind = Enclosed if self.config is None else Bounded
        return [kind("", entry, self, groups) for entry in self.certificate["detectors"]]

    @property
    def data(self) -> Mapping[str, Any]:
        return self.certificate["data"]

    @property
    def sets(self) -> list[str]:
        """The OOD sets."""
        return [name.removeprefix(OTHER) for name in self.data if name.startswith(OTHER)]

    @property
    def radii(self) -> dict[float, float]:
        """Radius in the certificate's norm -> that of its bounds: l2, of interval bounds linf."""
        its = self.certificate["threat"]["radii"]
        pairs = zip(its if self.config is None else self.config.radius, its, strict=True)
        return {round(radius, 12): known for radius, known in pairs}

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

    def sides(self, name: str, radius: float) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper bounds (n,) of a population."""
        return evidence_of(self.entry["populations"][name]).bounds("bounds", radius)

    def measured(self, sets: Sequence[str]) -> dict[Place, Found]:
        """By condition, radius and norm the AUROC over some OOD sets, clean and certified, with each image's part."""
        own, norm = id_name(self.entry), self.claims.norm
        scores = {name: np.array(self.entry["populations"][name]["score"], dtype=float) for name in (own, *sets)}
        found: dict[Place, list[metrics.Components]] = {}
        found["clean", None, None] = [self.components(scores[own], scores[ood], ood) for ood in sets]
        for radius, known in self.claims.radii.items():
            for condition, (near, far) in CERTIFIED.items():
                lower = self.sides(own, known if near else 0.0)[0]
                upper = {ood: self.sides(ood, known if far else 0.0)[1] for ood in sets}
                found[condition, radius, norm] = [self.components(*strict(lower, upper[ood]), ood) for ood in sets]
        return {place: over(parts, [True]) for place, parts in found.items()}

    def components(self, own: np.ndarray, other: np.ndarray, ood: str) -> metrics.Components:
        keys = next(name for name in self.claims.data if name.startswith(OWN)), OTHER + ood
        return metrics.components(own, other, (self.groups.get(keys[0]), self.groups.get(keys[1])))


class Enclosed(Bounded):
    """A score of a certificate of interval bounds: the very one that a run has, so that it has no form of its own."""

    @property
    def label(self) -> str:
        return str(self.entry["detector"])

    @property
    def title(self) -> str:
        return f"{self.label}, interval bounds"

    def sides(self, name: str, radius: float) -> tuple[np.ndarray, np.ndarray]:
        return sides_of(self.entry, name, radius)


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

    Of other networks, of other norms or no common radius, of another alpha by noise; and runs whose adversary is none
    that a certificate speaks of.
    """
    claims = {name: its for name, its in records.items() if isinstance(its, Claims)}
    runs = {name: its for name, its in records.items() if isinstance(its, Record)}
    for (first, a), (second, b) in combinations(claims.items(), 2):
        who = f"'{first}' and '{second}'"
        if a.network != b.network:
            raise ValueError(f"{who} certify other networks ({a.network[:12]}, {b.network[:12]}): expected the same")
        if a.norm != b.norm:
            raise ValueError(f"{who} certify {a.norm} and {b.norm}: expected one norm")
        if a.alpha != b.alpha and a.alpha and b.alpha:
            raise ValueError(f"{who} have alpha {a.alpha:g} and {b.alpha:g}: expected the same")
        if not a.radii.keys() & b.radii.keys():
            radii = " and ".join(", ".join(f"{r:g}" for r in its.radii) for its in (a, b))
            raise ValueError(f"{who} have no radius in common ({radii}): expected one")
    for second, its in claims.items():
        for first, run in runs.items():
            check_beside(first, run, second, its)


def check_beside(first: str, run: Record, second: str, claims: Claims) -> None:
    """ValueError for a run of another network or adversary than those of a certificate."""
    network, who, norm = run.config.get("network_sha256"), f"'{first}' and '{second}'", claims.norm
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
            raise ValueError(
                f"'{first}' attacks in {row.norm}, '{second}' certifies {norm}: expected one norm, "
                f"a run with --norm {norm}"
            )
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
