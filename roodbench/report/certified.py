"""Certified, attacked and clean AUROC: a table, and a curve over the radius."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from ..certify.result import CertifiedRow

CONDITIONS = ("min", "max", "both")
Line = dict[str, "CertifiedRow"]


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
    first = rows[0]
    console = Console(file=io.StringIO(), width=300)
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    columns = [
        "detector",
        f"radius ({first.norm})",
        "OOD set",
        "clean",
        *(f"{c}: certified <= attacked" for c in CONDITIONS),
    ]
    columns += [
        "certified FPR95 both",
        "bounds that say something (ID, OOD)",
        f"{first.copies} draws: certified <= attacked <= clean",
    ]
    for i, column in enumerate(columns):
        grid.add_column(column, justify="left" if i in (0, 2) else "right")
    for line in by_line(rows):
        both = line["both"]
        d = both.deployed
        grid.add_row(
            f"{both.detector}({both.base})",
            f"{both.radius:.4g}",
            f"{both.ood} ({both.group})",
            percent(both.auroc_clean),
            *(f"{percent(line[c].gauroc)} <= {percent(line[c].auroc_attacked)}" for c in CONDITIONS),
            percent(both.gfpr95),
            f"{percent(both.says_id)}, {percent(both.says_ood)}",
            " <= ".join(percent(d[k]) for k in ("certified", "attacked", "clean")),
        )
    console.print(heading(first), highlight=False, markup=False, soft_wrap=True)
    console.print(grid)
    for note in dict.fromkeys(f"{r.detector}({r.base}): {reason}" for r in rows for reason in r.reasons):
        console.print(note, highlight=False, markup=False, soft_wrap=True)
    text = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text if line.strip())


def heading(row: CertifiedRow) -> str:
    ball = (
        "l2 adversary"
        if row.norm == "l2"
        else f"linf adversary (through its l2 ball, {row.radius_l2 / row.radius:.3g} times)"
    )
    return (
        f"{row.benchmark}, {row.model}, {row.n_id} ID images; noise sigma {row.sigma:g}, {row.samples} samples each, "
        f"alpha {row.alpha:g} for each number\n"
        f"AUROC % of the detector in its population form (all samples): clean; certified: no {ball} within "
        "the radius gets below; attacked: by the suite in that l2 ball. min: ID is moved, max: OOD, both: both."
    )


def curve(rows: Sequence[CertifiedRow]) -> str | None:
    """AUROC over the radius, `both`, as SVG: clean, attacked, certified; None where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    sets = list(dict.fromkeys(row.ood for row in rows))
    figure = Figure(figsize=(5 * len(sets), 4), layout="constrained")
    for place, ood in enumerate(sets):
        axes = figure.add_subplot(1, len(sets), place + 1)
        for number, name in enumerate(dict.fromkeys((row.detector, row.base) for row in rows)):
            own = [r for r in rows if (r.detector, r.base) == name and r.ood == ood and r.condition == "both"]
            own.sort(key=lambda r: r.radius)
            x, colour = [0.0, *(r.radius for r in own)], f"C{number}"
            label = f"{name[0]}({name[1]})"
            axes.plot(x[1:], [r.gauroc for r in own], "o-", color=colour, label=f"{label} certified")
            reached = [r.auroc_attacked for r in own if r.auroc_attacked is not None]
            if len(reached) == len(own):
                axes.plot(
                    x,
                    [own[0].auroc_clean, *reached],
                    color=colour,
                    marker="x",
                    linestyle="--",
                    label=f"{label} attacked",
                )
        axes.set(title=ood, xlabel=f"radius ({rows[0].norm})", ylabel="AUROC, both", ylim=(-0.02, 1.02))
        axes.legend(fontsize="small")
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()
