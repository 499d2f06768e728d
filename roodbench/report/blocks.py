"""The rows of some records as blocks of a table or groups of a figure: what may be compared stands together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from detectors import unknown

from ..record.pairs import evaluation_sets
from ..record.record import Record
from ..record.row import Row
from ..record.table import ORDER, adversary_of, label_of
from ..record.text import as_fraction
from .comparison import letters, named
from .entries import adversary

MEANS = {"near": "near", "far": "far", "all": "average"}
"""What a mean over the OOD sets of a group is called."""


@dataclass(frozen=True)
class Block:
    """Detectors of one network against the same images in one condition: what is best is the best of these."""

    network: str
    """Benchmark and network."""
    title: str
    """Condition and attack."""
    columns: list[str]
    """OOD sets, then near, far and average where they say more than one set."""
    names: list[str]
    rows: list[list[Row | None]]
    """Of each detector its row in every column."""

    def places(self, metric: str, column: int) -> list[int]:
        """Of each detector 1 for the best that is printed in a column, 2 for the next, else 0.

        Equal as printed is equal; an attack that failed its checks bounds AUROC from above only, and wins nothing.
        """
        rows = [line[column] for line in self.rows]
        values = [None if row is None or row.reliable is False else float(printed(row, metric)) for row in rows]
        order = sorted({value for value in values if value is not None}, reverse=metric == "auroc")[:2]
        return [order.index(v) + 1 if v in order and len(rows) > 1 else 0 for v in values]

    def column(self, ood: str | None = None) -> int:
        """The place of an OOD set, of near, far or average; the last one by default. ValueError for any other.

        The mean of a single set is the set.
        """
        if ood is None:
            return len(self.columns) - 1
        groups = {
            c: row.group for line in self.rows for c, row in zip(self.columns, line, strict=True) if row is not None
        }
        those = [c for c in self.columns if c not in MEANS.values() and ood in (groups[c], "average")]
        name = those[0] if ood not in self.columns and len(those) == 1 else ood
        if name not in self.columns:
            raise ValueError(unknown("OOD set", ood, self.columns))
        return self.columns.index(name)

    def only(self, names: Sequence[str] | None) -> Block:
        """The block of these detectors alone; ValueError for one that it lacks."""
        for name in names or ():
            if name not in self.names:
                raise ValueError(unknown("detector", name, self.names))
        kept = [i for i, name in enumerate(self.names) if names is None or name in names]
        return replace(self, names=[self.names[i] for i in kept], rows=[self.rows[i] for i in kept])


def printed(row: Row, metric: str) -> str:
    """A metric in percent with the papers' two decimals."""
    return f"{100 * getattr(row, metric):.2f}"


def blocks_of(records: Mapping[str, Record], conditions: Sequence[str] | None = None) -> list[Block]:
    """The detectors of some records by network, images and condition; `conditions` default to all.

    ValueError for a condition that no record has.
    """
    has = list(dict.fromkeys(row.condition for record in records.values() for row in record.rows))
    for name in conditions or ():
        if name not in has:
            raise ValueError(unknown("condition", name, sorted(has, key=ORDER.index)))
    found: dict[Any, dict[tuple[str, str, str], dict[str, Row]]] = {}
    heads: dict[Any, tuple[str, str]] = {}
    for name, record in records.items():
        shown = means_of(record)
        images = evaluation_sets(record)
        for row in [*record.rows, *(row for row in record.averages if row.group in shown)]:
            if conditions and row.condition not in conditions:
                continue
            attack = {} if row.condition == "clean" else {**adversary(record), "by": row.attack, "in": row.space}
            place = (ORDER.index(row.condition), row.norm or "", row.eps or 0.0)
            key = (row.benchmark, row.model or "", json.dumps(images), *place, json.dumps(attack))
            heads[key] = (f"{row.benchmark}, {row.model or 'network unknown'}", title_of(record, row))
            column = row.ood if row.ood != "average" else MEANS[row.group]
            found.setdefault(key, {}).setdefault((label_of(row), json.dumps(row.params), name), {})[column] = row
    letter = dict(zip(records, letters(len(records)), strict=True))
    return [block(*heads[key], those, letter) for key, those in sorted(found.items())]


def means_of(record: Record) -> list[str]:
    """The groups whose mean says more than a column beside it: those that the record's own table shows."""
    sets = list(dict.fromkeys((row.ood, row.group) for row in record.rows))
    members = {group: sum(group in ("all", its) for _, its in sets) for group in MEANS}
    return [g for g, n in members.items() if n > 1 and (g == "all" or n < len(sets))]


def title_of(record: Record, row: Row, *, radius: bool = True) -> str:
    """The condition, and of an attack all that says which one, with norm and `radius` or without."""
    if row.eps is None:
        return row.condition
    steps = record.config.get("steps")
    said = f"{row.condition}: {row.attack}"
    said += f", {row.norm} {as_fraction(row.eps, row.norm)}" if radius else ""
    said += "" if row.space == "pixel" else f" in {row.space} space"
    return said + adversary_of(record.config) + ("" if steps is None else f", steps {steps}")


def block(
    network: str, title: str, those: Mapping[tuple[str, str, str], Mapping[str, Row]], letter: Mapping[str, str]
) -> Block:
    """One block; what two runs have alike is in it once."""
    once: dict[tuple[str, str, str], Mapping[str, Row]] = {}
    for key, its in those.items():
        if not any(key[0] == other[0] and its == rows for other, rows in once.items()):
            once[key] = its
    groups = {column: row.group for its in once.values() for column, row in its.items()}
    means = list(MEANS.values())
    columns = sorted(groups, key=lambda name: (means.index(name) + 1 if name in means else 0, groups[name] != "near"))
    names = named([(label, json.loads(params), letter[run]) for label, params, run in once])
    return Block(network, title, columns, names, [[its.get(column) for column in columns] for its in once.values()])
