"""The page of a certification: what its record says, section by section."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..certify.row import CertifiedRow
from ..certify.table import CONDITIONS, Line, by_line, cells_of, heading, notes_of, percent
from ..record.text import as_radius, at_least
from ..words import counted
from .parts import Block, Cell, Column, Figures, Fold, Notes, Page, Part, Section, Table, title_of
from .plots import over_radius
from .read import Certified
from .svg import spread

STYLES = {"attacked": "attacked by the suite", "certified": "certified: no adversary gets below"}


def certified(result: Certified) -> Page:
    """The sections of a certification: verdict, radii, and every number."""
    rows = result.rows
    first, second = heading(rows[0]).split("\n")
    names = list(dict.fromkeys(label_of(row) for row in rows))
    columns, lines = cells_of(rows)
    found = [[Cell(text) for text in texts] for texts in lines]
    kinds = [Column(name, "text" if place in (0, 2) else "number", place < 3) for place, name in enumerate(columns)]
    table = Table("lines", second, kinds, [Block(found)])
    notes = [*result.violations, *notes_of(rows)]
    parts: list[Part] = [
        verdict(result),
        Fold(f"Every number ({counted(len(found), 'line')})", [table], open=len(found) <= 12),
    ]
    parts += [Notes(notes)] if notes else []
    return Page(
        title_of(f"{rows[0].benchmark}, certified", names),
        first,
        said(result),
        [
            Section("verdict", "Verdict", "", parts),
            radii(rows),
        ],
    )


def label_of(row: CertifiedRow) -> str:
    return f"{row.detector}({row.base})"


def radius_of(row: CertifiedRow) -> str:
    return as_radius(row.radius, row.norm)


def verdict(result: Certified) -> Table:
    """Per detector, radius and OOD set: clean, attacked, certified."""
    lines = by_line(result.rows)
    radii = dict.fromkeys(radius_of(line["both"]) for line in lines)
    heads = [Column("detector", "text", True), Column("radius", choice=len(radii) > 1), Column("OOD set", "text", True)]
    heads += [Column("clean"), *(Column(f"attacked {c}") for c in CONDITIONS)]
    heads += [Column("certified both"), Column("0 to 100", "drawing"), Column("trust", "text", True)]
    found = [
        [
            Cell(label_of(line["both"])),
            Cell(radius_of(line["both"]), value=line["both"].radius),
            Cell(f"{line['both'].ood} ({line['both'].group})"),
            Cell(percent(line["both"].auroc_clean)),
            *(Cell(percent(line[c].auroc_attacked)) for c in CONDITIONS),
            Cell(at_least(line["both"].gauroc)),
            Cell("", drawing=spread(marks(line["both"]))),
            trust(line, result.violations),
        ]
        for line in lines
    ]
    sure = f"with probability {1 - result.rows[0].alpha:g} for each number"
    caption = f"AUROC %, higher is better; certified: no adversary gets below, {sure}"
    return Table("verdict", caption, heads, [Block(found)], cards=True)


def marks(row: CertifiedRow) -> list[tuple[str, float, tuple[float, float]]]:
    low, high = row.auroc_clean_ci
    found = [("clean", row.auroc_clean, (low, high))]
    if row.auroc_attacked is not None and row.auroc_attacked_ci is not None:
        low, high = row.auroc_attacked_ci
        found.append(("attacked", row.auroc_attacked, (low, high)))
    return [*found, ("certified", row.gauroc, (row.gauroc, row.gauroc))]


def trust(line: Line, violations: Sequence[str]) -> Cell:
    """certified, a bound that says nothing, or one that an attack got below."""
    row = line["both"]
    if violations:
        return Cell("contradicted", "bad", "an attack got below a bound")
    if not row.gauroc > 0:
        return Cell("says nothing", "open", "the bound is 0")
    return Cell("certified", "good")


def said(result: Certified) -> list[str]:
    """Of every detector the bounds on the OOD set where they are lowest, at every radius."""
    found: dict[str, dict[float, CertifiedRow]] = {}
    for row in result.rows:
        if row.condition == "both":
            least = found.setdefault(label_of(row), {})
            least[row.radius] = min(least.get(row.radius, row), row, key=lambda its: its.gauroc)
    sets = len({row.ood for row in result.rows})
    where = f"on the worst of {sets} OOD sets" if sets > 1 else f"on {result.rows[0].ood}"
    lines = []
    for label, its in found.items():
        bounds = ", ".join(
            f"{at_least(row.gauroc)} within {row.norm} {as_radius(radius, row.norm)}" for radius, row in its.items()
        )
        lines.append(f"{label} keeps an AUROC of at least, against every adversary, {where}: {bounds}.")
    sure = f"Each of these bounds holds with probability {1 - result.rows[0].alpha:g}."
    return [*lines, sure, *(f"{counted(len(result.violations), 'contradiction')}." for _ in result.violations[:1])]


def radii(rows: Sequence[CertifiedRow]) -> Section:
    """Certified and attacked AUROC over the radius, one drawing a detector and OOD set."""
    found: dict[tuple[str, str], list[CertifiedRow]] = {}
    for row in rows:
        if row.condition == "both":
            found.setdefault((label_of(row), row.ood), []).append(row)
    drawings = []
    for (label, ood), its in found.items():
        its.sort(key=lambda row: row.radius)
        clean = (0.0, "clean", its[0].auroc_clean, ends(its[0].auroc_clean_ci), percent(its[0].auroc_clean))
        attacked = [
            (
                r.radius,
                radius_of(r),
                r.auroc_attacked,
                ends(r.auroc_attacked_ci),
                percent(r.auroc_attacked),
            )
            for r in its
            if r.auroc_attacked is not None and r.auroc_attacked_ci is not None
        ]
        bound = [(r.radius, radius_of(r), r.gauroc, (r.gauroc, r.gauroc), at_least(r.gauroc)) for r in its]
        lines = {**({"attacked": [clean, *attacked]} if attacked else {}), "certified": bound}
        drawn = over_radius(lines, f"{label} against {ood}, AUROC %", f"radius, {its[0].norm}")
        drawings.append((f"{label}, {ood}", drawn))
    about = "Both populations attacked and bounded: the truth about the worst adversary lies between the two lines."
    return Section("radii", "AUROC over the radius", about, [Figures(drawings, list(STYLES.items()))])


def ends(ci: Sequence[float]) -> tuple[float, float]:
    low, high = ci
    return low, high


def facts(result: Certified) -> dict[str, Any]:
    """What decided the numbers."""
    return {"Configuration": result.config, "Network": result.network, "Data": result.data}
