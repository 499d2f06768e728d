"""A record as text: numbers, frames of tables, CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, fields
from fractions import Fraction
from typing import Any

from ..evaluation.indicators import Indicator

WIDEST = 10_000
"""Characters of a line: no table is folded or cut."""


def framed(
    columns: Sequence[str],
    lines: Iterable[Sequence[str]],
    *,
    before: Sequence[str] = (),
    after: Sequence[str] = (),
    left: Collection[int] | None = None,
) -> str:
    """A table as text, as wide as its content, between lines of words; columns but those `left` are aligned right."""
    from rich import box
    from rich.table import Table

    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, column in enumerate(columns):
        grid.add_column(column, justify="left" if left is None or place in left else "right")
    for line in lines:
        grid.add_row(*line)
    return printed(*before, grid, *after)


def printed(*parts: Any) -> str:
    """Texts and rich tables below each other, as wide as they are, without blank lines."""
    from rich.console import Console

    plain: dict[str, Any] = {"force_terminal": False, "force_jupyter": False, "no_color": True, "legacy_windows": False}
    console = Console(file=io.StringIO(), width=WIDEST, highlight=False, markup=False, emoji=False, **plain)
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, str))
    found = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in found if line.strip())


def as_fraction(eps: float | None, norm: str | None = "linf") -> str:
    """8/255 for 0.031373, 0.5 for 0.5 and in l2.

    >>> as_fraction(8 / 255), as_fraction(0.5, "l2"), as_fraction(None)
    ('8/255', '0.5', '-')
    """
    if eps is None:
        return "-"
    if norm == "l2":
        return f"{eps:.4g}"
    steps = Fraction(eps * 255).limit_denominator(16)
    return f"{float(steps):g}/255" if abs(float(steps) - eps * 255) < 1e-9 else f"{eps:.4g}"


def as_radius(radius: float, norm: str | None = "linf") -> str:
    """A radius that is claimed: a fraction of 255 where it is one, else to nine digits, not to four rounded up.

    >>> as_radius(8 / 255), as_radius(0.031376), as_radius(0.25, "l2")
    ('8/255', '0.031376', '0.25')
    """
    fraction = as_fraction(radius, norm)
    return fraction if fraction.endswith("/255") else f"{radius:.9g}"


def at_least(value: float | None) -> str:
    """A share in percent, rounded down: no more than a lower bound claims. `-` where there is none.

    >>> at_least(0.71299), at_least(0.5), at_least(1.0), at_least(None)
    ('71.2', '50.0', '100.0', '-')
    """
    return "-" if value is None else f"{math.floor(1000 * value + 1e-9) / 10:.1f}"


def at_most(value: float | None) -> str:
    """A share in percent, rounded up: no less than an upper bound claims. `-` where there is none.

    >>> at_most(0.71201), at_most(0.5), at_most(0.0), at_most(None)
    ('71.3', '50.0', '0.0', '-')
    """
    return "-" if value is None else f"{math.ceil(1000 * value - 1e-9) / 10:.1f}"


def rows_csv(rows: Sequence[Any]) -> str:
    """Dataclasses of one kind, one line each; lists, settings and truth values as JSON."""
    out = io.StringIO()
    writer = csv.DictWriter(out, [f.name for f in fields(rows[0])], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        cells = asdict(row).items()
        writer.writerow({k: json.dumps(v) if isinstance(v, list | dict | bool) else v for k, v in cells})
    return out.getvalue()


def checks_csv(indicators: Sequence[Indicator]) -> str:
    """The indicators as CSV, without their details."""
    out = io.StringIO()
    names = [f.name for f in fields(Indicator) if f.name != "detail"]
    writer = csv.DictWriter(out, names, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(asdict(indicator) for indicator in indicators)
    return out.getvalue().rstrip()
