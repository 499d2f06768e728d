"""Where the scores of ID and OOD lie, clean and under attack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..metrics import threshold95
from ..record.record import Record
from ..record.row import Row
from ..record.rows import CONDITIONS
from ..record.table import label_of
from ..record.text import as_fraction
from .style import COLOURS, GREY, THRESHOLD, warn

BINS, TAILS = (12, 40), 0.01
"""The fewest bins and the most, and the share of a population that either end bin may hold besides its own."""


def scores(axes: Any, record: Record, detector: str, ood: str, eps: float | None = None) -> Any:
    """Histograms of a detector's scores: ID and an OOD set, filled clean, as lines attacked at a radius.

    Shares of images, of a randomised detector over all draws. The dashed line is the threshold that 95% of clean ID
    reach. The end bins hold what lies beyond them. ValueError for what the record does not hold.
    """
    own = next(key.partition(": ")[2] for key in record.data if key.startswith("ID test: "))
    rows = [row for row in record.rows if label_of(row) == detector and row.ood == ood]
    radii = sorted({row.eps for row in rows if row.eps is not None})
    eps = radii[-1] if eps is None and radii else eps
    found = {("ID", "clean"): record.scores_of(detector, own), ("OOD", "clean"): record.scores_of(detector, ood)}
    attacked = {(a.population, a.condition) for a in record.attacks if (a.detector, a.eps) == (detector, eps)}
    for side, name, state in (("ID", own, "min"), ("OOD", ood, "max")):
        if (name, state) in attacked:
            found[side, "attacked"] = record.scores_of(detector, name, state, eps)
    edges = edges_of(list(found.values()))
    for (side, state), its in found.items():
        colour = COLOURS[0] if side == "ID" else COLOURS[1]
        counts = shares(its, edges)
        if state == "clean":
            look = {"hatch": "", "facecolor": colour} if side == "ID" else {"hatch": "////", "facecolor": "none"}
            axes.stairs(counts, edges, fill=True, edgecolor=colour, alpha=0.3, linewidth=0, **look)
        style = "-" if state == "clean" else "--" if side == "ID" else ":"
        axes.stairs(counts, edges, color=colour, linestyle=style, linewidth=1.6, label=f"{side}, {state}")
    at = float(np.mean([threshold95(draw) for draw in found["ID", "clean"]]))
    axes.axvline(at, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)), label=THRESHOLD)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(bottom=0)
    axes.set_xlabel(f"score of {detector}")
    axes.set_ylabel("images (%)")
    warn(axes, "*", (row for row in rows if row.condition == worst_of(rows) and row.eps == eps))
    return axes


def areas(record: Record, detector: str, ood: str) -> str:
    """The AUROCs that the histograms show: "AUROC 99.7%, attacked 79.4% (16/255)", the largest radius."""
    rows = [row for row in record.rows if label_of(row) == detector and row.ood == ood]
    clean = next(row for row in rows if row.condition == "clean")
    said = f"AUROC {100 * clean.auroc:.1f}%"
    worst = worst_of(rows)
    attacked = max((row for row in rows if row.condition == worst), key=lambda row: row.eps or 0.0, default=None)
    if attacked is None:
        return said
    star, what = "*" if attacked.reliable is False else "", "attacked" if worst == "both" else f"{worst} alone"
    return f"{said}, {what} {100 * attacked.auroc:.1f}%{star} ({as_fraction(attacked.eps, attacked.norm)})"


def worst_of(rows: Sequence[Row]) -> str | None:
    """The condition in which most is attacked: both, or ID (min) or OOD (max) where that alone was."""
    found = [row.condition for row in rows if row.eps is not None]
    return max(found, key=list(CONDITIONS).index, default=None)


def edges_of(scores: list[np.ndarray]) -> np.ndarray:
    """Equal bins, as wide as the quantiles that leave `TAILS` of each population outside; of constant scores, around.

    >>> edges_of([np.ones((1, 10)), np.zeros((1, 10000))])[[0, -1]].tolist()  # few images are seen beside many
    [0.0, 1.0]
    """
    low, high = (pick([np.quantile(its, q) for its in scores]) for pick, q in ((min, TAILS), (max, 1 - TAILS)))
    margin = 0.5 * max(abs(low), 1e-12) if high <= low else 0.0
    count = int(np.clip(2 * np.sqrt(max(its.shape[-1] for its in scores)), *BINS))
    return np.linspace(low - margin, high + margin, count + 1)


def shares(scores: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Percent of scores in each bin; those beyond the ends in the end bins.

    >>> shares(np.array([[-5.0, 0.5, 1.5, 9.0]]), np.array([0.0, 1.0, 2.0])).tolist()
    [50.0, 50.0]
    """
    counts, _ = np.histogram(np.clip(scores, edges[0], edges[-1]), edges)
    return 100 * counts / scores.size
