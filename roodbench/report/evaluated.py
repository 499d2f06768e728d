"""The page of a run: what its record says, section by section."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..record.result import Result
from ..record.row import CORRUPTED, AttackedPopulation, Row, label_of
from ..record.table import LABELS, cell, cells_of, conditions_of, footnotes, heading, lines_of
from ..record.text import as_fraction
from .parts import Block, Cell, Column, Figures, Fold, Notes, Page, Section, Table, folded, title_of
from .plots import over_radius
from .scored import scored
from .svg import spread
from .trust import checks, trust

KEY = {
    "clean": "clean",
    "min": "min: ID attacked",
    "max": "max: OOD attacked",
    "both": "both attacked",
    "corrupted": "corrupted ID, mean",
    "worst": "worst corruption",
}
MANY, FEW = 12, 8
"""Lines of a table: of more, the page opens at the largest radius, or leaves them folded. Notes that stay in view."""


def evaluated(result: Result) -> Page:
    """The sections of a run: verdict, radii, scores, winners, checks, images."""
    first, second = heading(result).split("\n")
    return Page(
        title_of(result.rows[0].benchmark, list(dict.fromkeys(label_of(row) for row in result.rows))),
        first,
        said(result),
        [
            verdict(result, second),
            radii(result),
            *scored(result),
            winners(result.attacks, result.rows[-1].norm),
            checks(result.indicators),
            Section(
                "images",
                "Example images",
                "This record keeps no images: a wall of clean and attacked ones, with their difference and scores, "
                "needs them.",
            ),
        ],
    )


def verdicts(result: Result) -> list[tuple[Mapping[str, Row], list[Cell]]]:
    """Per detector and radius the line over all OOD sets, and its cells as the record's table prints them."""
    _, lines = cells_of(result)
    pairs = list(zip(lines_of(result), lines, strict=True))
    means = [pair for pair in pairs if (row := next(iter(pair[0].values()))).ood == "average" and row.group == "all"]
    return [(line, [Cell(text) for text in texts]) for line, texts in means or pairs]


def verdict(result: Result, about: str) -> Section:
    """What became of every detector and whether to believe it, every line of the table, and what is said below it."""
    table, every, notes = overall(result), everything(result, about), footnotes(result)
    parts: list[Any] = [table, Fold(f"Every OOD set ({every.sizes} lines)", [every], open=every.sizes <= MANY)]
    if notes:
        parts.append(Notes(notes) if len(notes) <= FEW else Fold(f"Notes ({len(notes)})", [Notes(notes)]))
    return Section("verdict", "Verdict", "", parts)


def overall(result: Result) -> Table:
    """One line a detector and radius, over all OOD sets."""
    columns, _ = cells_of(result)
    found, conditions = verdicts(result), conditions_of(result)
    gaps = columns.index("adaptive gap") if "adaptive gap" in columns else None
    radii = list(dict.fromkeys(cells[1].text for _, cells in found if cells[1].text != "-"))
    heads = [Column("detector", "text")]
    heads += (
        [Column("eps", choice=True, first=radii[-1] if len(found) > MANY and len(radii) > 1 else "")] if radii else []
    )
    heads += [Column(name) for name in conditions] + ([Column("adaptive gap")] if gaps else [])
    heads += [Column("0 to 100", "drawing"), Column("trust", "text", choice=True)]
    lines = []
    for line, cells in found:
        lines.append(
            [
                cells[0],
                *([radius_of(cells[1].text, line)] if radii else []),
                *cells[LABELS + 1 : LABELS + 1 + len(conditions)],
                *([Cell(cells[gaps].text, note=interval(line[conditions[-1]]))] if gaps else []),
                Cell("", drawing=spread([(c, line[c].auroc, ends(line[c])) for c in conditions if c in line])),
                trust(line, result.indicators),
            ]
        )
    where = next(iter(found[0][0].values()))
    sets = len(dict.fromkeys(row.ood for row in result.rows))
    over = f"mean over {sets} OOD sets" if where.ood == "average" else f"against {where.ood}"
    caption = f"AUROC % [95% interval], {over}; higher is better"
    return Table("verdict", caption, heads, [Block(lines)], cards=True)


def said(result: Result) -> list[str]:
    """The verdict in sentences: what an attack leaves of the best, and what cannot be believed."""
    found, conditions = verdicts(result), conditions_of(result)
    worst = conditions[-1]
    at_most = max((line[worst].eps or 0.0 for line, _ in found if worst in line), default=0.0)
    lines = [line for line, _ in found if worst in line and (line[worst].eps or 0.0) == at_most]
    sound = [line for line in lines if line[worst].reliable is not False]
    how = {"clean": "without an attack", "corrupted": "under corruptions", "worst": "under the worst corruption"}
    where = how.get(worst, f"under attack at eps {as_fraction(at_most, lines[0][worst].norm)} ({worst})")
    sentences = []
    if sound:
        best = max(sound, key=lambda line: line[worst].auroc)
        label, number, before = label_of(best[worst]), cell(best[worst]), cell(best["clean"]).partition(" ")[0]
        of = "" if len(lines) == 1 else f"Of {len(lines)} detectors, "
        kept = (
            f"{label} keeps the highest AUROC {where}: {number}" if of else f"{label} has an AUROC of {number} {where}"
        )
        sentences.append(of + kept + ("" if worst == "clean" else f"; {before} clean") + ".")
    words = [trust(line, result.indicators).text for line, _ in found]
    counts = {word: words.count(word) for word in ("reliable", "inconclusive", "not judged", "unreliable")}
    kinds = [f"{n} {word}" for word, n in counts.items() if n]
    several = f"{'All' if len(kinds) == 1 else 'Of'} {len(words)} lines of the verdict"
    one = f"{'It is' if sentences else 'The verdict is'} {words[0]}."
    many = f"{several} are {words[0]}." if len(kinds) == 1 else f"{several}, {' and '.join(kinds)}."
    return [*sentences, one if len(words) == 1 else many]


def radii(result: Result) -> Section:
    """AUROC over the radius, one drawing a detector."""
    found: dict[str, list[Mapping[str, Row]]] = {}
    for line, _ in verdicts(result):
        if any(row.eps is not None for row in line.values()):
            found.setdefault(label_of(line["clean"]), []).append(line)
    several = {label: lines for label, lines in found.items() if len(lines) > 1}
    if not several:
        return Section("radii", "AUROC over epsilon", "The record has one radius or none; the verdict has its numbers.")
    drawings = []
    conditions = [c for c in conditions_of(result) if c not in ("clean", *CORRUPTED)]
    for label, lines in several.items():
        lines = sorted(lines, key=lambda line: max(row.eps or 0.0 for row in line.values()))
        start = point(lines[0]["clean"])
        curves = {c: [start, *(point(line[c]) for line in lines if c in line)] for c in conditions}
        marked = any(row.reliable is False for line in lines for row in line.values())
        drawings.append((label + ("*" if marked else ""), over_radius(curves, f"{label}, AUROC % over epsilon", "eps")))
    about = "The mean over OOD sets, from clean at 0 on, with 95% intervals; the dotted line is chance."
    return Section("radii", "AUROC over epsilon", about, [Figures(drawings, [(c, KEY[c]) for c in conditions])])


def point(row: Row) -> tuple[float, str, float, tuple[float, float], str]:
    radius = as_fraction(row.eps, row.norm) if row.eps is not None else "clean"
    return row.eps or 0.0, radius, row.auroc, ends(row), cell(row)


def ends(row: Row) -> tuple[float, float]:
    low, high = row.auroc_ci
    return low, high


def interval(row: Row) -> str:
    """The interval of the adaptive gap, as the table writes intervals."""
    return "" if row.adaptive_gap_ci is None else "[{:.1f}, {:.1f}]".format(*(100 * end for end in row.adaptive_gap_ci))


def radius_of(text: str, line: Mapping[str, Row]) -> Cell:
    return Cell(text, value=max(row.eps or 0.0 for row in line.values()))


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
    tables = [
        (label, [won(label, f"winners-{place}", entries, norm)]) for place, (label, entries) in enumerate(found.items())
    ]
    return Section("winners", "Who won, per image", about, folded(tables))


def won(label: str, key: str, entries: Sequence[AttackedPopulation], norm: str | None) -> Table:
    names = list(dict.fromkeys(name for entry in entries for name in entry.components))
    names = [name for name in names if any(entry.wins.get(name) for entry in entries)]
    heads = [
        Column("population", "text"),
        Column("eps"),
        Column("moved"),
        *map(Column, names),
        Column("passes an image"),
    ]
    lines: list[list[Cell]] = []
    for entry in entries:
        n = len(entry.winner)
        counts = [Cell(str(k), tint=k / n) if (k := entry.wins.get(name, 0)) else Cell("0", "quiet") for name in names]
        eps = Cell(as_fraction(entry.eps, norm), value=entry.eps)
        cost = Cell(f"{sum(entry.passes):.0f}")
        lines.append([Cell(entry.population), eps, Cell(entry.condition), *counts, cost])
    return Table(key, f"Images won by each component, {label}", heads, [Block(lines)], narrow=True)


def everything(result: Result, caption: str) -> Table:
    """The record's table, line by line."""
    columns, lines = cells_of(result)
    kinds = [
        Column(name, "number" if place >= LABELS else "text", place < LABELS) for place, name in enumerate(columns)
    ]
    found = [
        [radius_of(text, line) if place == 1 else Cell(text) for place, text in enumerate(texts)]
        + [trust(line, result.indicators)]
        for line, texts in zip(lines_of(result), lines, strict=True)
    ]
    return Table("lines", caption, [*kinds, Column("trust", "text", choice=True)], [Block(found)])


def facts(result: Result) -> dict[str, Any]:
    """What decided the numbers: configuration, data, what was fitted, time."""
    fitted = {
        d.detector: ", ".join(f"{name} {value:.6g}" for name, value in d.fitted.items()) for d in result.detectors
    }
    data = {name: f"{entry.get('images')} images, sha256 {entry.get('sha256')}" for name, entry in result.data.items()}
    return {"Configuration": result.config, "Data": data, "Fitted": {k: v for k, v in fitted.items() if v}}
