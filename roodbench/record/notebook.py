"""A record in a notebook: its table as HTML, its rows as a DataFrame."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from html import escape
from typing import Any

from .record import Record
from .table import LABELS, cells_of, footnotes, heading

INSTALL = "to_pandas needs pandas: pip install 'roodbench[notebook]'"
NUMBERS = "text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap"
WORDS = "text-align: left; white-space: nowrap"


def html_table(record: Record) -> str:
    """The lines of `table` as HTML of its own, every name and message as text."""
    first, second = heading(record).split("\n")
    columns, lines = cells_of(record)
    parts = ["<table>", f'<caption style="{WORDS}">{escape(first)}<br>{escape(second)}</caption>', "<thead>"]
    parts += [row("th", columns), "</thead>", "<tbody>", *(row("td", line) for line in lines), "</tbody>", "</table>"]
    notes = [f"<li>{escape(note)}</li>" for note in footnotes(record)]
    return "\n".join([*parts, *(["<ul>", *notes, "</ul>"] if notes else [])])


def row(tag: str, cells: Iterable[str]) -> str:
    """A row of cells: labels to the left but for the radius, numbers to the right."""
    styles = (WORDS if place < LABELS and place != 1 else NUMBERS for place in range(1000))
    found = (f'<{tag} style="{style}">{escape(cell)}</{tag}>' for cell, style in zip(cells, styles, strict=False))
    return f"<tr>{''.join(found)}</tr>"


def data_frame(record: Record) -> Any:
    """Rows and averages, one line each, with the record's fractions; ValueError where pandas is not installed."""
    try:
        import pandas
    except ImportError:
        raise ValueError(INSTALL) from None
    return pandas.DataFrame([asdict(its) for its in [*record.rows, *record.averages]])
