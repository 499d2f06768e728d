"""Certified, attacked and clean AUROC as a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..record.text import framed
from .row import CertifiedRow

CONDITIONS = ("min", "max", "both")
Line = dict[str, CertifiedRow]


def by_line(rows: Iterable[CertifiedRow]) -> list[Line]:
    """Rows that differ in their condition alone."""
    lines: dict[tuple[str, str, str, float, float], Line] = {}
    for row in rows:
        lines.setdefault((row.detector, row.base, row.ood, row.sigma, row.radius), {})[row.condition] = row
    return list(lines.values())


def percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def certified_table(rows: Sequence[CertifiedRow]) -> str:
    """One line per detector, radius and OOD set; certified <= attacked in each condition."""
    columns, lines = cells_of(rows)
    return framed(columns, lines, before=[heading(rows[0])], after=notes_of(rows), left=(0, 2))


def cells_of(rows: Sequence[CertifiedRow]) -> tuple[list[str], list[list[str]]]:
    """The table's column names and lines."""
    first = rows[0]
    columns = [
        "detector",
        f"radius ({first.norm})",
        "OOD set",
        "clean",
        *(f"{c}: certified <= attacked" for c in CONDITIONS),
    ]
    columns += [
        f"certified both, {first.samples} fresh copies",
        "certified FPR95 both",
        "bounds that say something (ID, OOD)",
        f"{first.copies} draws: certified <= attacked <= clean",
    ]
    lines = []
    for line in by_line(rows):
        both = line["both"]
        d = both.deployed
        lines.append(
            [
                f"{both.detector}({both.base})",
                f"{both.radius:.4g}",
                f"{both.ood} ({both.group})",
                percent(both.auroc_clean),
                *(f"{percent(line[c].gauroc)} <= {percent(line[c].auroc_attacked)}" for c in CONDITIONS),
                percent(both.gauroc_predicted),
                percent(both.gfpr95),
                f"{percent(both.says_id)}, {percent(both.says_ood)}",
                " <= ".join(percent(d[k]) for k in ("certified", "attacked", "clean")),
            ]
        )
    return columns, lines


def notes_of(rows: Iterable[CertifiedRow]) -> list[str]:
    """Why bounds say nothing, each reason once a detector."""
    return list(dict.fromkeys(f"{r.detector}({r.base}): {reason}" for r in rows for reason in r.reasons))


def heading(row: CertifiedRow) -> str:
    ball = (
        "l2 adversary"
        if row.norm == "l2"
        else f"linf adversary (through its l2 ball, {row.radius_l2 / row.radius:.3g} times)"
    )
    return (
        f"{row.benchmark}, {row.model}, {row.n_id} ID images; noise sigma {row.sigma:g}, {row.samples} samples each, "
        f"alpha {row.alpha:g} for each number\n"
        "AUROC % of the detector in its population form (of infinitely many copies, estimated from the samples): "
        f"clean; certified: no {ball} within the radius gets below; attacked: by the suite in that l2 ball. "
        "min: ID is moved, max: OOD, both: both. Fresh copies have noise of their own, so theirs is a little lower."
    )
