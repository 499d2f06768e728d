"""Two runs of one configuration, or nearly: what differs between them, and which numbers moved beyond rounding."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ..record.pairs import ROUNDING
from ..record.record import Record
from ..record.text import as_fraction, framed

MOST = 1e-5
"""Largest relative difference of clean scores that is rounding."""
LINES = 30
"""Of moved numbers, the largest first, in a table."""
PARTS = {"revision": "code", "code": "code", "python": "versions", "versions": "versions"}
"""What the record's environment speaks of; all else in it is the machine."""
ABSENT = "-"
Place = tuple[str, str, str, float | None, str | None]
"""Detector, OOD set (or mean), condition, radius, norm."""


@dataclass(frozen=True)
class Change:
    """One thing that the records say differently: data, network, configuration, code, versions or machine."""

    part: str
    name: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Moved:
    """One number of a row that is not the same."""

    detector: str
    ood: str
    condition: str
    radius: float | None
    norm: str | None
    name: str
    before: Any
    after: Any

    @property
    def by(self) -> float:
        """How far; infinite for a number that one run alone has, and for a verdict that turned."""
        numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (self.before, self.after))
        return abs(self.after - self.before) if numbers else math.inf


@dataclass(frozen=True)
class Changes:
    """What differs between two runs."""

    changes: list[Change]
    moved: list[Moved]
    """Beyond rounding, the farthest first."""
    compared: int
    """Numbers of rows that both have."""
    alone: dict[str, list[str]]
    """Detector, condition and radius of rows that only one of the two has, by A and B."""
    scores: dict[str, float]
    """Largest relative difference of clean and of attacked scores, over images, draws and radii; of what both have."""

    @property
    def verdict(self) -> str:
        """What moved, and what may be the cause, in one sentence."""
        parts = list(dict.fromkeys(change.part for change in self.changes))
        differ = f"what differs: {', '.join(parts)}" if parts else "nothing else that the records say differs"
        clean = self.scores.get("clean")
        rounding = "" if clean is None else f"; clean scores differ by {clean:.1e} at most, "
        rounding += "" if clean is None else "which is rounding" if clean <= MOST else "which is more than rounding"
        if not self.moved:
            return f"all {self.compared} numbers are the same, {differ}{rounding}"
        return f"{len(self.moved)} of {self.compared} numbers moved, {differ}{rounding}"

    def to_json(self) -> str:
        return json.dumps({**asdict(self), "verdict": self.verdict}, indent=1, default=str)

    def to_table(self) -> str:
        """What differs and what moved, as text; the verdict stands below."""
        changes = [(c.part, c.name, shown(c.before), shown(c.after)) for c in self.changes]
        moved = [
            (
                m.detector,
                as_fraction(m.radius, m.norm),
                m.ood,
                m.condition,
                m.name,
                shown(m.before),
                shown(m.after),
                f"{m.by:.1e}" if math.isfinite(m.by) else ABSENT,
            )
            for m in self.moved[:LINES]
        ]
        notes = [f"rows in {run} alone: {', '.join(those)}" for run, those in self.alone.items() if those]
        more = [f"{len(self.moved) - LINES} more moved less: --format json has them"] if len(self.moved) > LINES else []
        columns = ("detector", "eps", "OOD set", "condition", "number", "A", "B", "moved by")
        parts = [framed(("differs", "what", "A", "B"), changes)] if changes else []
        parts += [framed(columns, moved, after=more)] if moved else []
        return "\n".join([*parts, *notes, self.verdict])


def shown(value: Any) -> str:
    """A value in a cell."""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def what_changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> Changes:
    """From `to_dict()` of two records, of `run` or of `certify`: what differs, and what moved beyond rounding."""
    changes = [
        Change(part, name, one, other)
        for part, keys in {"data": "data", "network": "network", "configuration": "config"}.items()
        for name, one, other in different(before.get(keys, {}), after.get(keys, {}))
    ]
    changes += [
        Change(PARTS.get(name.partition(", ")[0], "machine"), name, one, other)
        for name, one, other in different(before["environment"], after["environment"])
    ]
    old, new = (numbers_of(record) for record in (before, after))
    if not old.keys() & new.keys():
        raise ValueError("the two runs have no row in common: expected two of one configuration, or nearly")
    both = {row: (old[row], new[row]) for row in old if row in new}
    moved = [
        Moved(*row, name=name, before=one.get(name, ABSENT), after=other.get(name, ABSENT))
        for row, (one, other) in both.items()
        for name in {**one, **other}
        if not same(one.get(name, ABSENT), other.get(name, ABSENT))
    ]
    alone = {
        run: list(
            dict.fromkeys(f"{r[0]} {r[2]} {as_fraction(r[3], r[4])}".removesuffix(" -") for r in one if r not in other)
        )
        for run, one, other in (("A", old, new), ("B", new, old))
    }
    compared = sum(len(one) for one, _ in both.values())
    return Changes(changes, sorted(moved, key=lambda m: -m.by), compared, alone, {})


def with_scores(before: Record, after: Record) -> Changes:
    """The same of two runs, with the largest relative differences of their scores."""
    found, scores = what_changed(before.to_dict(), after.to_dict()), dict[str, float]()
    for key in before.scores.keys() & after.scores.keys():
        a, b = (record.scores[key].double().numpy() for record in (before, after))
        if not key.endswith("/winner") and a.shape == b.shape:
            kind = "clean" if key.endswith("/clean") else "attacked"
            scores[kind] = max(scores.get(kind, 0.0), relative(a, b))
    return replace(found, scores=scores)


def relative(a: np.ndarray, b: np.ndarray) -> float:
    """The largest |a - b| / max(|a|, |b|), so that 2 is the most; 0 where both are equal.

    >>> relative(np.array([2.0, 0.0]), np.array([1.0, 0.0]))
    0.5
    """
    larger = np.maximum(np.abs(a), np.abs(b))
    return float(np.divide(np.abs(a - b), larger, out=np.zeros_like(a), where=a != b).max())


def different(before: Any, after: Any, where: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The leaves of nested dicts that are not equal, by the names that lead to them."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in dict.fromkeys([*before, *after]):
            name = f"{where}, {key}" if where else str(key)
            yield from different(before.get(key, ABSENT), after.get(key, ABSENT), name)
    elif json.dumps(before, default=str) != json.dumps(after, default=str):
        yield where, before, after


def numbers_of(record: Mapping[str, Any]) -> dict[Place, dict[str, Any]]:
    """Of every row its numbers and verdicts, by name."""
    found: dict[Place, dict[str, Any]] = {}
    for row in [*record["rows"], *record.get("averages", [])]:
        label = row["detector"] + (f"({row['base']})" if row.get("base") else "")
        ood = f"mean of {row['group']}" if row["ood"] == "average" else row["ood"]
        numbers = (int, float, type(None))
        found[label, ood, row["condition"], row.get("eps", row.get("radius")), row.get("norm")] = {
            n: v for n, v in row.items() if isinstance(v, numbers) and n not in ("eps", "radius", "base")
        }
    return found


def same(before: Any, after: Any) -> bool:
    """Whether two numbers are equal up to rounding."""
    if isinstance(before, bool) or isinstance(after, bool):
        return before is after
    numbers = isinstance(before, int | float) and isinstance(after, int | float)
    return bool(abs(before - after) <= ROUNDING) if numbers else before == after
