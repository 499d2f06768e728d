"""Certified <= attacked <= clean, one line a detector and radius, from certificates and runs together."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtrit

from ..record.text import as_fraction
from .bounded import Bounded, Enclosed
from .entries import Entry, Found, Place

ALARM = 1e-3
"""Probability that the noise of draws alone makes a contradiction of an attacked AUROC."""
FAR = 4.0
"""Standard deviations of an AUROC over draws, of which a record has the mean alone."""
SAME = 1e-5
"""Relative, of constants of one fit on two machines."""
Everything = Mapping[Place, Mapping[str, Found]]


@dataclass(frozen=True)
class Line:
    """A detector at a radius: its AUROC over the OOD sets, clean, attacked, certified; None where nothing says it."""

    detector: str
    radius: float
    norm: str
    clean: float | None
    attacked: float | None
    certified: float | None
    contradicts: bool = False
    """Whether the attack got below what is certified: one of them has a bug, or a file was edited."""
    reliable: bool | None = True
    """Whether the attack's checks passed; None where they did not run."""

    @property
    def where(self) -> str:
        return f"{self.detector} at {self.norm} {as_fraction(self.radius, self.norm)}"


def lines_of(entries: Sequence[Entry | Bounded], found: Everything, sets: Sequence[str]) -> list[Line]:
    """The lines of runs' detectors, and of certificates' in both of their forms: of all copies, and of a few drawn.

    A bound of a few copies, or of a score without noise, stands in the line of a run's detector where that is the same
    one: parameters and fit.
    """
    bounded = [entry for entry in entries if isinstance(entry, Bounded)]
    runs = [entry for entry in entries if isinstance(entry, Entry)]
    norms = {entry.claims.norm for entry in bounded}
    radii = {radius: norm for _, radius, norm in found if radius is not None and norm in norms}
    lines = []
    for radius in sorted(radii):
        place, tests = ("both", radius, radii[radius]), 2 * len(radii) * len(entries)
        own = {entry.name: [its for its in bounded if same_detector(entry, its)] for entry in runs}
        for entry in runs:
            known = [its for its in own[entry.name] if radius in its.claims.radii]
            certified = max((as_it_runs(its, radius, found, sets) for its in known), default=None)
            clean, attacked = (found.get(p, {}).get(entry.name) for p in (("clean", None, None), place))
            if attacked is not None or certified is not None:
                wrong = certified is not None and any(below(certified, area, tests) for area in (clean, attacked))
                sound = attacked is None or attacked[1]
                its_own = value(clean), value(attacked), certified, wrong, sound
                lines.append(Line(entry.name, radius, radii[radius], *its_own))
        for its in bounded:
            alone = not any(its in those for those in own.values())
            if radius in its.claims.radii:
                if alone or not isinstance(its, Enclosed):
                    lines.append(of_all_copies(its, radius, found, sets))
                if alone and not isinstance(its, Enclosed):
                    lines.append(of_few_copies(its, radius, sets))
    return lines


def as_it_runs(its: Bounded, radius: float, found: Everything, sets: Sequence[str]) -> float:
    """What is certified of the detector that a run evaluates: of a few copies, or of a score without noise."""
    if isinstance(its, Enclosed):
        return found["certified both", radius, its.claims.norm][its.name][0].value
    return few_copies(its, radius, sets)


def of_all_copies(its: Bounded, radius: float, found: Everything, sets: Sequence[str]) -> Line:
    """A certificate's detector in its population form, or a score without noise; attacked by its own certification,
    where the record is there."""
    norm = its.claims.norm
    certified = found["certified both", radius, norm][its.name][0].value
    attacked = recorded(its, radius, sets, lambda row: row.auroc_attacked)
    clean = value(found["clean", None, None][its.name])
    wrong = any(certified > known + 1e-9 for known in (clean, attacked) if known is not None)
    return Line(its.name, radius, norm, clean, attacked, certified, wrong)


def of_few_copies(its: Bounded, radius: float, sets: Sequence[str]) -> Line:
    """The same of its few fresh copies, as it is deployed."""
    certified = few_copies(its, radius, sets)
    clean, attacked = (recorded(its, radius, sets, lambda row, k=k: row.deployed[k]) for k in ("clean", "attacked"))
    populations = its.entry["populations"].values()
    spread = math.sqrt(certified * (1 - certified) / min(len(p["score"]) for p in populations))
    wrong = any(certified > known + FAR * spread + 1e-9 for known in (clean, attacked) if known is not None)
    name = f"{its.label}, {its.entry['params']['copies']} copies" + its.name.removeprefix(its.title)
    return Line(name, radius, its.claims.norm, clean, attacked, certified, wrong)


def few_copies(its: Bounded, radius: float, sets: Sequence[str]) -> float:
    """What the certificate says of a few copies at one of its radii, both moved, over the OOD sets."""
    key = (its.entry["detector"], "both", its.claims.radii[radius])
    rows = [r for r in its.claims.certificate["gauroc"] if (r["detector"], r["condition"], r["radius_l2"]) == key]
    return float(np.mean([row["deployed"] for row in rows if row["ood"] in sets]))


def recorded(its: Bounded, radius: float, sets: Sequence[str], of: Any) -> float | None:
    """A number of the certification's record, both moved, over the OOD sets; None where it has none."""
    rows = [
        row
        for row in its.claims.rows
        if (row.detector, row.condition) == (its.entry["detector"], "both")
        and round(row.radius, 12) == radius
        and row.ood in sets
    ]
    values = [of(row) for row in rows]
    return float(np.mean(values)) if values and None not in values else None


def same_detector(run: Entry, its: Bounded) -> bool:
    """Whether a run's detector is a certificate's: label, parameters and what was fitted."""
    params = next((row.params for row in run.rows), {})
    fitted = next((entry.fitted for entry in run.record.detectors if entry.detector == run.label), {})
    wanted = its.entry.get("fitted", {})
    return (
        run.label == its.label
        and json.loads(json.dumps(params)) == its.entry["params"]
        and fitted.keys() == wanted.keys()
        and all(math.isclose(value, wanted[name], rel_tol=SAME) for name, value in fitted.items())
    )


def below(certified: float, seen: Found | None, tests: int) -> bool:
    """Whether draws of an AUROC lie below a bound on its mean by more than their noise (docs/theorems.md, T16)."""
    if seen is None:
        return False
    draws = seen[0].v_id.mean(axis=1)
    noise = 0.0
    if len(draws) > 1:
        noise = float(stdtrit(len(draws) - 1, 1 - ALARM / tests) * draws.std(ddof=1) / len(draws) ** 0.5)
    return certified > float(draws.mean()) + noise + 1e-9


def value(found: Found | None) -> float | None:
    return None if found is None else found[0].value


def contradictions(lines: Sequence[Line]) -> Iterator[str]:
    """What cannot be: an AUROC below the one that is certified, in one line each."""
    for line in lines:
        if line.contradicts and line.certified is not None:
            seen = {"clean": line.clean, "attacked": line.attacked}
            least = min((v, k) for k, v in seen.items() if v is not None)
            yield (
                f"CONTRADICTION: {line.where}: certified {100 * line.certified:.2f} is above {least[1]} "
                f"{100 * least[0]:.2f}: a bug in one of them, or a file that was edited"
            )
