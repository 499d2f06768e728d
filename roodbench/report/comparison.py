"""What a comparison of detectors found, and how it is shown."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ..record.text import as_fraction, framed
from .sandwich import Line

SHOWN = 30
"""Pairs in a table; of more, those alone that differ."""


@dataclass(frozen=True)
class Standing:
    """A detector in one condition. Metrics are fractions."""

    condition: str
    eps: float | None
    """In pixels, like that of a pair."""
    norm: str | None
    detector: str
    """Its label, with what tells it from another of that label."""
    auroc: float
    auroc_ci: list[float]
    rank: int
    rank_best: int
    rank_worst: int
    """Between these lies its rank, of all detectors and conditions together at level 95%."""
    draws: int
    reliable: bool | None


@dataclass(frozen=True)
class Pair:
    """Two detectors in one condition: AUROC of the first minus that of the second."""

    condition: str
    eps: float | None
    norm: str | None
    first: str
    second: str
    difference: float
    difference_ci: list[float]
    """Of this difference alone."""
    p: float
    p_holm: float
    """Corrected for all pairs and conditions."""
    differs: bool


@dataclass(frozen=True)
class Comparison:
    """Every detector of some runs against every other, over the mean of some OOD sets."""

    runs: list[str]
    ood: list[str]
    n_id: int
    n_ood: int
    standings: list[Standing]
    pairs: list[Pair]
    notes: list[str]
    lines: list[Line] = field(default_factory=list)
    """Where there is a certificate: clean, attacked and certified, one a detector and radius."""
    contradictions: list[str] = field(default_factory=list)
    """Of lines in which an attack got below what is certified."""

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, allow_nan=False)

    def to_csv(self) -> str:
        """The pairs, one line each."""
        out = io.StringIO()
        writer = csv.DictWriter(out, [f.name for f in fields(Pair)], lineterminator="\n")
        writer.writeheader()
        writer.writerows({**asdict(pair), "difference_ci": json.dumps(pair.difference_ci)} for pair in self.pairs)
        return out.getvalue()

    def to_table(self) -> str:
        """Standings, pairs and what to beware of, as text."""
        ranks = [
            (
                place_of(s),
                s.detector,
                f"{area_of(s)} [{', '.join(f'{100 * end:.2f}' for end in s.auroc_ci)}]"
                + ("*" if s.reliable is False else ""),
                str(s.rank) if s.rank_best == s.rank_worst else f"{s.rank} [{s.rank_best}-{s.rank_worst}]",
            )
            for s in self.standings
        ]
        tests = [
            (
                place_of(p),
                f"{p.first} - {p.second}",
                f"{100 * p.difference:+.2f} [{', '.join(f'{100 * end:+.2f}' for end in p.difference_ci)}]",
                shown_p(p.p),
                shown_p(p.p_holm),
                "differs" if p.differs else "-",
            )
            for p in self.pairs
            if p.differs or len(self.pairs) <= SHOWN
        ]
        left = len(self.pairs) - len(tests)
        more = [f"{left} of {len(self.pairs)} pairs do not differ: --format csv has them too"] if left else []
        ood = f"mean of {', '.join(self.ood)}" if len(self.ood) > 1 else self.ood[0]
        runs = [f"{name}: {run}" for name, run in zip(letters(len(self.runs)), self.runs, strict=True)]
        heading = [*(runs if len(runs) > 1 else []), f"{ood}: {self.n_id} ID and {self.n_ood} OOD images"]
        parts = [framed(SANDWICH, map(cells_of, self.lines), before=[*self.contradictions, *heading])]
        names = ("condition", "detector", "AUROC % [95% interval]", "rank [range]")
        parts = [*(parts if self.lines else []), framed(names, ranks, before=[] if self.lines else heading)]
        columns = ("condition", "pair", "difference % [95% interval]", "p", "p (Holm)", "")
        return "\n".join([*parts, framed(columns, tests, after=[*more, *self.notes, *self.contradictions])])


SANDWICH = ("detector", "radius", "clean %", "attacked %", "certified %", "")


def cells_of(line: Line) -> list[str]:
    """A line of the table of clean, attacked and certified AUROCs; what is certified is rounded down."""
    clean, attacked = ("-" if v is None else f"{100 * v:.2f}" for v in (line.clean, line.attacked))
    certified = "-" if line.certified is None else floored(line.certified)
    where = f"{line.norm} {as_fraction(line.radius, line.norm)}"
    attacked += "*" if line.reliable is False else ""
    return [line.detector, where, clean, attacked, certified, "CONTRADICTION" if line.contradicts else ""]


def floored(value: float) -> str:
    """In percent, rounded down: no more than is certified.

    >>> floored(0.71999), floored(1.0)
    ('71.99', '100.00')
    """
    return f"{math.floor(1e4 * value + 1e-9) / 100:.2f}"


def area_of(s: Standing) -> str:
    """The AUROC in percent."""
    return floored(s.auroc) if s.condition.startswith("certified") else f"{100 * s.auroc:.2f}"


def place_of(part: Standing | Pair) -> str:
    return part.condition + ("" if part.eps is None else f" {part.norm} {as_fraction(part.eps, part.norm)}")


def shown_p(p: float) -> str:
    """0.034, 2e-05, or <1e-16.

    >>> shown_p(0.0341), shown_p(2.3e-05), shown_p(0.0)
    ('0.034', '2e-05', '<1e-16')
    """
    return "<1e-16" if p < 1e-16 else f"{p:.3f}" if p >= 0.001 else f"{p:.0e}"


def letters(count: int) -> list[str]:
    """What a few runs are called.

    >>> letters(3), letters(28)[-2:]
    (['A', 'B', 'C'], ['A2', 'B2'])
    """
    return [chr(65 + i % 26) + (str(i // 26 + 1) if i >= 26 else "") for i in range(count)]


def named(those: Sequence[tuple[str, Mapping[str, Any], str]]) -> list[str]:
    """Names for detectors of (label, parameters, run): of one label, with the parameters that differ, else the run.

    >>> named([("ross(gen)", {"sigma": 0.05}, "A"), ("ross(gen)", {"sigma": 0.1}, "B"), ("gen", {}, "A")])
    ['ross(gen), sigma 0.05', 'ross(gen), sigma 0.1', 'gen']
    >>> named([("gen", {}, "A"), ("gen", {}, "B")])
    ['gen A', 'gen B']
    """
    names = [
        ", ".join([label, *(f"{k} {v}" for k, v in differing(label, params, those).items())])
        for label, params, _ in those
    ]
    return [name if names.count(name) == 1 else f"{name} {run}" for name, (_, _, run) in zip(names, those, strict=True)]


def differing(
    label: str, params: Mapping[str, Any], those: Sequence[tuple[str, Mapping[str, Any], str]]
) -> dict[str, Any]:
    """The parameters in which a detector differs from others of its label."""
    others = [its for name, its, _ in those if name == label]
    return {k: v for k, v in params.items() if any(k not in its or its[k] != v for its in others)}
