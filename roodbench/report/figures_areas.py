"""AUROC as bars, with and without a detector over a base score, and as lines over the attack's radius."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from detectors import unknown

from ..record.pairs import evaluation_sets
from ..record.record import Record
from ..record.row import Row
from ..record.table import label_of
from .blocks import MEANS, Block, title_of
from .comparison import differing, named
from .entries import adversary
from .style import COLOURS, GREY, HATCHES, INK, LINES, MARKS, chance, shade, warn


def bars(axes: Any, block: Block, ood: str | None = None) -> Any:
    """AUROC per base score, alone and below every detector over it, with 95% intervals (PRO, Fig. 4 and 5).

    Bars begin at chance, 50%, or at 0 where one is lower. `ood` is a set, near, far or average, by default the last
    column of the block. `*` marks an attack that failed its checks.
    """
    column = block.column(ood)
    found = [(name, line[column]) for name, line in zip(block.names, block.rows, strict=True)]
    rows = [(outer(name, row), row) for name, row in found if row is not None]
    low = 50 if all(row.auroc >= 0.5 for _, row in rows) else 0
    over = sorted(dict.fromkeys(name for name, _ in rows), key=bool)
    groups: dict[str, list[tuple[str, Row]]] = {}
    for name, row in sorted(rows, key=lambda its: over.index(its[0])):
        groups.setdefault(row.base or row.detector, []).append((name, row))
    width = min(0.45, 0.8 / max(map(len, groups.values())))
    places = [
        (group + (i - (len(its) - 1) / 2) * width, name, row)
        for group, its in enumerate(groups.values())
        for i, (name, row) in enumerate(its)
    ]
    for place, name in enumerate(over):
        xs, those = zip(*((x, row) for x, its, row in places if its == name), strict=True)
        axes.bar(
            xs,
            [100 * row.auroc - low for row in those],
            0.92 * width,
            bottom=low,
            label=f"with {name}" if name else "score alone",
            color=COLOURS[(place - 1) % len(COLOURS)] if name else "#bfbfbf",
            edgecolor="white" if name else GREY,
            hatch=HATCHES[place % len(HATCHES)],
            linewidth=0.5,
        )
    for x, _, row in places:
        low_end, high_end = (100 * end for end in row.auroc_ci)
        axes.plot([x, x], [low_end, high_end], color=INK, linewidth=0.9, marker="_", markersize=4)
        said = f"{100 * row.auroc:.1f}{'*' if row.reliable is False else ''}"
        where = {"xytext": (0, 3), "textcoords": "offset points", "ha": "center", "fontsize": 6.5}
        axes.annotate(said, (x, high_end), **where, rotation=90 if width < 0.18 else 0)
    turned = len(groups) > 8
    axes.set_xticks(range(len(groups)), groups, rotation=45 if turned else 0, ha="right" if turned else "center")
    axes.set_ylim(low, 104)
    axes.set_yticks(range(low, 101, 10 if low else 20))
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel(f"AUROC, {block.columns[column]} (%)")
    axes.grid(axis="y")
    warn(axes, "*", (row for _, row in rows))
    return axes


def outer(name: str, row: Row) -> str:
    """What stands over a base score, and what tells it from others, as "ross, sigma 0.1"; nothing for a base alone."""
    return row.detector + name.removeprefix(label_of(row)) if row.base else ""


@dataclass(frozen=True)
class Line:
    """One detector's rows over the radius, the clean one first."""

    name: str
    setting: tuple[str, float] | None
    """The one number by which it differs from other lines of its detector, as ("sigma", 0.05)."""
    rows: list[Row]
    place: str = ""
    """Network, images, ball and adversary: lines that have them in common may be compared."""
    attack: str = ""
    """What a title says of the attack."""


def lines_of(
    records: Mapping[str, Record], condition: str, ood: str | None, names: Sequence[str] | None = None
) -> list[Line]:
    """Every detector's rows of an OOD set (or near, far, average) in a condition, by radius.

    Lines of one label and place have the settings that differ in their names, as "ross(gen), sigma 0.05". ValueError
    where no record has such rows.
    """
    found: dict[tuple[str, str, str], dict[float, Row]] = {}
    heads: dict[str, str] = {}
    for record in records.values():
        attacked = next((row for row in record.rows if row.eps is not None and row.condition == condition), None)
        if attacked is None:
            continue
        place = place_of(record, attacked)
        heads[place] = title_of(record, attacked, radius=False)
        for row in [*record.rows, *record.averages]:
            drawn = row.condition == ("clean" if row.eps is None else condition)
            if drawn and is_of(row, ood, record):
                found.setdefault((place, label_of(row), json.dumps(row.params)), {})[row.eps_pixel or 0.0] = row
    known = {row.ood: None for record in records.values() for row in record.rows}
    if ood is not None and ood not in (*known, *MEANS.values()):
        raise ValueError(unknown("OOD set", ood, [*known, *MEANS.values()]))
    labels = list(dict.fromkeys(label for _, label, _ in found))
    for name in names or ():
        if name not in labels:
            raise ValueError(unknown("detector", name, labels))
    found = {key: its for key, its in found.items() if len(its) > 1 and (names is None or key[1] in names)}
    if not found:
        has = sorted({row.condition for r in records.values() for row in r.rows if row.eps is not None})
        raise ValueError(unknown("attacked condition", condition, has) if has else "no attacked rows in these records")
    lines = []
    for place in dict.fromkeys(place for place, _, _ in found):
        its = {(label, text): rows for (where, label, text), rows in found.items() if where == place}
        those = [(label, json.loads(text), "") for label, text in its]
        for name, (label, params, _), rows in zip(named(those), those, its.values(), strict=True):
            differ = [(k, v) for k, v in differing(label, params, those).items() if isinstance(v, int | float)]
            setting, ordered = differ[0] if len(differ) == 1 else None, [rows[eps] for eps in sorted(rows)]
            lines.append(Line(name, setting, ordered, place, heads[place]))
    return lines


def place_of(record: Record, row: Row) -> str:
    """What lines on one axis have in common, by an attacked row of their record."""
    ball = (row.norm, row.space, row.attack, adversary(record))
    return json.dumps([row.benchmark, row.model, evaluation_sets(record), ball], default=str)


def is_of(row: Row, ood: str | None, record: Record) -> bool:
    """Whether a row is of an OOD set, or of the mean that near, far or average (the default) names."""
    group = {"near": "near", "far": "far", "average": "all", None: "all"}.get(ood)
    sets = {its.ood for its in record.rows}
    if ood is None and len(sets) == 1:
        return row.ood in sets
    return row.ood == ood if group is None else (row.ood, row.group) == ("average", group)


def epsilon(axes: Any, lines: Sequence[Line]) -> Any:
    """AUROC over the attack's radius with 95% intervals, the clean one at 0 (ROSS: one line per sigma).

    Lines that differ in one number alone are shaded by it. A hollow mark is an attack that failed its checks; marks of
    one radius stand a little apart.
    """
    valued = sorted({line.setting[1] for line in lines if line.setting})
    rest = [line for line in lines if not line.setting]
    linf = lines[0].rows[-1].norm != "l2"
    widest = max(row.eps_pixel or 0.0 for line in lines for row in line.rows) * (255 if linf else 1)
    for place, line in enumerate(sorted(lines, key=lambda its: (its.setting is not None, its.setting or ("", 0.0)))):
        order = valued.index(line.setting[1]) if line.setting else 0
        colour = shade(order, len(valued)) if line.setting else COLOURS[rest.index(line) % len(COLOURS)]
        apart = 0.009 * widest * (place - (len(lines) - 1) / 2)
        x = [(row.eps_pixel or 0.0) * (255 if linf else 1) + apart for row in line.rows]
        y = [100 * row.auroc for row in line.rows]
        for at, row in zip(x, line.rows, strict=True):
            axes.plot([at, at], [100 * end for end in row.auroc_ci], color=colour, linewidth=0.9, clip_on=False)
        mark, style = MARKS[place % len(MARKS)], LINES[place % len(LINES)]
        axes.plot(x, y, color=colour, linestyle=style, marker=mark, label=line.name, clip_on=False)
        bad = [i for i, row in enumerate(line.rows) if row.reliable is False]
        hollow = {"color": colour, "markerfacecolor": "white", "zorder": 3}
        axes.plot([x[i] for i in bad], [y[i] for i in bad], mark, **hollow)
    last = lines[0].rows[-1]
    what = last.ood if last.ood != "average" else MEANS[last.group]
    axes.set_xlabel(f"attack radius, {last.norm} ({'1/255 of the pixel range' if linf else 'pixels in [0, 1]'})")
    axes.set_ylabel(f"AUROC, {what} (%)")
    axes.set_ylim(0, 101)
    axes.set_xlim(-0.03 * widest, 1.03 * widest)
    axes.grid(axis="y")
    chance(axes)
    warn(axes, "hollow", (row for line in lines for row in line.rows))
    return axes
