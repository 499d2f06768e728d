"""The page of a run: what its record says, section by section."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..record.result import Result
from ..record.row import CORRUPTED, AttackedPopulation, Row, label_of
from ..record.table import cell, conditions_of, heading
from ..record.text import as_fraction
from .parts import Block, Cell, Column, Figures, Page, Section, Table, folded, title_of
from .plots import over_radius
from .scored import scored
from .trust import checks
from .verdict import Lines, ends, said, verdict, verdicts
from .wall import wall

KEY = {"min": "min: ID attacked", "max": "max: OOD attacked", "both": "both attacked"}


def evaluated(result: Result) -> Page:
    """The sections of a run: verdict, radii, scores, winners, checks, images."""
    first, second = heading(result).split("\n")
    found = verdicts(result)
    return Page(
        title_of(result.rows[0].benchmark, list(dict.fromkeys(label_of(row) for row in result.rows))),
        first,
        said(result, found),
        [
            verdict(result, found, second),
            radii(result, found),
            *scored(result),
            winners(result.attacks, result.rows[-1].norm),
            checks(result.indicators),
            wall(result),
        ],
    )


def radii(result: Result, lines: Lines) -> Section:
    """AUROC over the radius, one drawing a detector."""
    found: dict[str, list[Mapping[str, Row]]] = {}
    for line, _ in lines:
        if any(row.eps is not None for row in line.values()):
            found.setdefault(label_of(line["clean"]), []).append(line)
    several = {label: its for label, its in found.items() if len(its) > 1}
    if not several:
        return Section("radii", "AUROC over epsilon", "The record has one radius or none; the verdict has its numbers.")
    drawings = []
    conditions = [c for c in conditions_of(result) if c not in ("clean", *CORRUPTED)]
    for label, its in several.items():
        its = sorted(its, key=lambda line: max(row.eps or 0.0 for row in line.values()))
        start = point(its[0]["clean"])
        curves = {c: [start, *(point(line[c]) for line in its if c in line)] for c in conditions}
        marked = any(row.reliable is False for line in its for row in line.values())
        drawings.append((label + ("*" if marked else ""), over_radius(curves, f"{label}, AUROC % over epsilon", "eps")))
    about = "The mean over OOD sets, from clean at 0 on, with 95% intervals; the dotted line is chance."
    return Section("radii", "AUROC over epsilon", about, [Figures(drawings, [(c, KEY[c]) for c in conditions])])


def point(row: Row) -> tuple[float, str, float, tuple[float, float], str]:
    radius = as_fraction(row.eps, row.norm) if row.eps is not None else "clean"
    return row.eps or 0.0, radius, row.auroc, ends(row), cell(row)


def winners(attacks: Sequence[AttackedPopulation], norm: str | None) -> Section:
    """Which component of the attack won each image, counted by population."""
    about = (
        "Each attacked image is the worst that any component found, by its score on noise of its own. "
        "The counts are images; clean: nothing made the image worse."
    )
    if not attacks:
        return Section("winners", "Who won, per image", "There was no attack.")
    found: dict[str, list[AttackedPopulation]] = {}
    for entry in attacks:
        found.setdefault(entry.detector, []).append(entry)
    tables = [(label, won(label, f"winners-{place}", its, norm)) for place, (label, its) in enumerate(found.items())]
    return Section("winners", "Who won, per image", about, folded((label, [table]) for label, table in tables))


def won(label: str, key: str, entries: Sequence[AttackedPopulation], norm: str | None) -> Table:
    names = list(dict.fromkeys(name for entry in entries for name in entry.components))
    names = [name for name in names if any(entry.wins.get(name) for entry in entries)]
    heads = [Column("population", "text"), *map(Column, ("eps", "moved", *names, "passes an image"))]
    lines: list[list[Cell]] = []
    for entry in entries:
        n = len(entry.winner)
        counts = [Cell(str(k), tint=k / n) if (k := entry.wins.get(name, 0)) else Cell("0", "quiet") for name in names]
        eps = Cell(as_fraction(entry.eps, norm), value=entry.eps)
        cost = Cell(f"{sum(entry.passes):.0f}")
        lines.append([Cell(entry.population), eps, Cell(entry.condition), *counts, cost])
    return Table(key, f"Images won by each component, {label}", heads, [Block(lines)], narrow=True)


def facts(result: Result) -> dict[str, Any]:
    """What decided the numbers: configuration, data, what was fitted, time."""
    fitted = {d.detector: ", ".join(f"{k} {v:.6g}" for k, v in d.fitted.items()) for d in result.detectors}
    data = {name: f"{entry.get('images')} images, sha256 {entry.get('sha256')}" for name, entry in result.data.items()}
    return {"Configuration": result.config, "Data": data, "Fitted": {k: v for k, v in fitted.items() if v}}
