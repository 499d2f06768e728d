"""The verdict of a run: what became of every detector, whether to believe it, and every line of the record's table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..record.result import Result
from ..record.row import Row, label_of
from ..record.table import LABELS, cell, cells_of, conditions_of, footnotes, lines_of
from ..record.text import as_fraction
from ..words import counted
from .parts import Block, Cell, Column, Fold, Notes, Part, Section, Table
from .svg import spread
from .trust import by_detector, trust

Lines = Sequence[tuple[Mapping[str, Row], Sequence[Cell]]]
"""Rows by condition, and their cells as the record's table prints them."""
MANY, FEW = 12, 8
"""Lines of a table: of more, the page opens at the largest radius, or leaves them folded. Notes that stay in view."""


def said(result: Result, found: Lines) -> list[str]:
    """The verdict in sentences: what an attack leaves of the best, on its worst OOD set too, and what cannot be
    believed."""
    conditions, checked = conditions_of(result), by_detector(result.indicators)
    worst = conditions[-1]
    at_most = max((line[worst].eps or 0.0 for line, _ in found if worst in line), default=0.0)
    lines = [line for line, _ in found if worst in line and (line[worst].eps or 0.0) == at_most]
    sound = [line for line in lines if line[worst].reliable is not False]
    how = {"clean": "without an attack", "corrupted": "under corruptions", "worst": "under the worst corruption"}
    where = how.get(worst, f"under attack at eps {as_fraction(at_most, lines[0][worst].norm)} ({worst})")
    sentences = best_of(result, worst, sound, len(lines), where) if sound else []
    words = [trust(line, checked).text for line, _ in found]
    counts = {word: words.count(word) for word in ("reliable", "inconclusive", "not judged", "unreliable")}
    kinds = [f"{n} {word}" for word, n in counts.items() if n]
    one = f"{'It is' if sentences else 'The verdict is'} {words[0]}."
    many = f"Of {len(words)} lines of the verdict {', '.join(kinds)}."
    many = f"All {len(words)} lines of the verdict are {words[0]}." if len(kinds) == 1 else many
    failed = dict.fromkeys(i.name for i in result.indicators if i.passed is False)
    why = [f"Checks that failed: {', '.join(failed)}."] if failed else []
    return [*sentences, one if len(words) == 1 else many, *why]


def best_of(result: Result, worst: str, sound: Sequence[Mapping[str, Row]], of: int, where: str) -> list[str]:
    """What is left of the best of so many detectors, in the mean over the OOD sets and on its worst one."""
    line = max(sound, key=lambda line: line[worst].auroc)
    best, over = line[worst], ""
    label, number = label_of(best), cell(best)
    if best.ood == "average":
        its = [row for row in result.rows if (label_of(row), row.condition, row.eps) == (label, worst, best.eps)]
        least = min(its, key=lambda row: row.auroc)
        number += f", and {100 * least.auroc:.1f} on {least.ood}, the worst of them"
        over = f" over {len(its)} OOD sets"
    before = "" if worst == "clean" else f"; {cell(line['clean']).partition(' ')[0]} clean"
    if of == 1:
        return [f"{label} has {'a mean' if over else 'an'} AUROC{over} {where} of {number}{before}."]
    return [
        f"Of {of} detectors, {label} keeps the highest {'mean ' if over else ''}AUROC{over} {where}: {number}{before}.",
        "Its interval allows for the images, not for the choice: the highest of several is rather too high.",
    ]


def verdict(result: Result, found: Lines, about: str) -> Section:
    """What became of every detector and whether to believe it, every line of the table, and what is said below it."""
    table, every, notes = overall(result, found), everything(result, about), footnotes(result)
    parts: list[Part] = [
        table,
        Fold(f"Every OOD set ({counted(every.sizes, 'line')})", [every], open=every.sizes <= MANY),
    ]
    if notes:
        parts.append(Notes(notes) if len(notes) <= FEW else Fold(f"Notes ({len(notes)})", [Notes(notes)]))
    return Section("verdict", "Verdict", "", parts)


def verdicts(result: Result) -> Lines:
    """Per detector and radius the line over all OOD sets, and its cells as the record's table prints them."""
    _, lines = cells_of(result)
    pairs = list(zip(lines_of(result), lines, strict=True))
    means = [pair for pair in pairs if (row := next(iter(pair[0].values()))).ood == "average" and row.group == "all"]
    return [(line, [Cell(text) for text in texts]) for line, texts in means or pairs]


def overall(result: Result, found: Lines) -> Table:
    """One line a detector and radius, over all OOD sets."""
    conditions, checked = conditions_of(result), by_detector(result.indicators)
    gaps = any(row.adaptive_gap is not None for row in result.rows)
    radii = list(dict.fromkeys(cells[1].text for _, cells in found if cells[1].text != "-"))
    heads = [Column("detector", "text")]
    first = radii[-1] if len(found) > MANY and len(radii) > 1 else ""
    heads += [Column("eps", choice=True, first=first)] if radii else []
    heads += [Column(name) for name in conditions] + ([Column("adaptive gap")] if gaps else [])
    heads += [Column("0 to 100", "drawing"), Column("trust", "text", choice=True)]
    lines = []
    for line, cells in found:
        lines.append(
            [
                cells[0],
                *([radius_of(cells[1].text, line)] if radii else []),
                *cells[LABELS + 1 : LABELS + 1 + len(conditions)],
                *([Cell(cells[-1].text, note=interval(line[conditions[-1]]))] if gaps else []),
                Cell("", drawing=spread([(c, line[c].auroc, ends(line[c])) for c in conditions if c in line])),
                trust(line, checked),
            ]
        )
    where = next(iter(found[0][0].values()))
    sets = len(dict.fromkeys(row.ood for row in result.rows))
    over = f"mean over {sets} OOD sets" if where.ood == "average" else f"against {where.ood}"
    caption = f"AUROC % [95% interval], {over}; higher is better"
    return Table("verdict", caption, heads, [Block(lines)], cards=True)


def everything(result: Result, caption: str) -> Table:
    """The record's table, line by line."""
    columns, lines = cells_of(result)
    checked = by_detector(result.indicators)
    kinds = [*(Column(name, "text", choice=True) for name in columns[:LABELS]), *map(Column, columns[LABELS:])]
    found = [
        [radius_of(text, line) if place == 1 else Cell(text) for place, text in enumerate(texts)]
        + [trust(line, checked)]
        for line, texts in zip(lines_of(result), lines, strict=True)
    ]
    return Table("lines", caption, [*kinds, Column("trust", "text", choice=True)], [Block(found)])


def radius_of(text: str, line: Mapping[str, Row]) -> Cell:
    return Cell(text, value=max(row.eps or 0.0 for row in line.values()))


def interval(row: Row) -> str:
    """The interval of the adaptive gap, as the table writes intervals."""
    return "" if row.adaptive_gap_ci is None else "[{:.1f}, {:.1f}]".format(*(100 * end for end in row.adaptive_gap_ci))


def ends(row: Row) -> tuple[float, float]:
    low, high = row.auroc_ci
    return low, high
