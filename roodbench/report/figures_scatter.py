"""FPR95 against AUROC, one mark a detector, by family (PRO, Fig. 1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from detectors import KNOWN
from detectors.registry import BASES, OF_FEATURES, OF_LOGITS, WRAPPERS

from ..record.row import Row
from .blocks import Block
from .style import COLOURS, INK, warn

FAMILIES = {
    "logits": ("o", COLOURS[0]),
    "features": ("s", COLOURS[2]),
    "gradients and maps": ("^", COLOURS[5]),
    "perturbation": ("*", COLOURS[1]),
    "smoothing": ("D", COLOURS[3]),
    "other": ("X", COLOURS[6]),
}
"""Mark and colour."""
CROWDED = 5
"""Below this median of 100 - AUROC, in percent, axes are of square roots of FPR95 and 100 - AUROC."""
RINGS, WAYS = (9, 17, 26, 37, 50, 66, 84, 104), 16
"""Where a name may stand: how far from its mark, in points, and in how many directions."""


def family_of(row: Row) -> str:
    """What a detector looks at.

    A detector over a base score is of its own family, whatever the base.
    """
    if row.detector in WRAPPERS:
        return "perturbation" if row.detector == "pro" else "smoothing"
    cls = KNOWN.get(row.detector)
    if cls in OF_LOGITS:
        return "logits"
    return "features" if cls in OF_FEATURES else "gradients and maps" if row.detector in BASES else "other"


def scatter(axes: Any, block: Block, ood: str | None = None) -> Any:
    """FPR95 (of ID at the threshold of 95% of OOD, as OpenOOD) against AUROC: the best are at the upper left.

    `ood` is a set, near, far or average, by default near where the block has it, else its last column.
    """
    near = "near" if any(row is not None and row.group == "near" for line in block.rows for row in line) else None
    column = block.column(ood or near)
    rows = [(name, line[column]) for name, line in zip(block.names, block.rows, strict=True)]
    points = [(name, row, 100 * row.fpr95_ood, 100 * row.auroc) for name, row in rows if row is not None]
    for family, (mark, colour) in FAMILIES.items():
        its = [(x, y) for _, row, x, y in points if family_of(row) == family]
        if its:
            xs, ys = zip(*its, strict=True)
            size = 100 if mark == "*" else 36
            look = {"facecolor": (colour, 0.35), "edgecolor": colour, "linewidth": 1.1}  # what lies below shows
            axes.scatter(xs, ys, size, marker=mark, label=family, zorder=3, **look)
    spread = ""
    if points and np.median([100 - y for *_, y in points]) < CROWDED:
        spread = "\n(square-root axes)"
        axes.set_xscale("function", functions=(root, square))
        axes.set_yscale("function", functions=(lambda y: -root(100 - y), lambda y: 100 + square(y)))
        axes.set_xticks([0, 1, 2, 5, 10, 20, 40, 60, 80, 100])
        axes.set_yticks([0, 20, 40, 60, 70, 80, 90, 95, 98, 99, 100])
        axes.set_xlim(0, min(100, 1.2 * max(x for *_, x, _ in points) + 2))
        axes.set_ylim(max(0, 100 - 1.2 * max(100 - y for *_, y in points) - 1), 100)
    else:
        axes.margins(0.12)
        axes.set_xlim(max(axes.get_xlim()[0], -4), min(axes.get_xlim()[1], 104))
        axes.set_ylim(top=min(axes.get_ylim()[1], 101.5))
    axes.set_xlabel(f"FPR95, {block.columns[column]} (%), lower is better{spread}")
    axes.set_ylabel(f"AUROC, {block.columns[column]} (%), higher is better")
    axes.grid(axis="both")
    warn(axes, "*", (row for _, row, _, _ in points))
    name_points(axes, [(name + ("*" if row.reliable is False else ""), x, y) for name, row, x, y in points])
    return axes


def root(values: np.ndarray) -> np.ndarray:
    """Square roots with their signs: margins of an axis may lie below 0."""
    return np.sign(values) * np.sqrt(np.abs(values))


def square(values: np.ndarray) -> np.ndarray:
    """What `root` undoes."""
    return np.sign(values) * np.square(values)


def name_points(axes: Any, points: Sequence[tuple[str, float, float]]) -> None:
    """A name beside every mark, where it hits no other name and no mark: near, and away from other marks if it can."""
    axes.figure.draw_without_rendering()  # the layout decides where the marks are
    scale, frame = axes.figure.dpi / 72, axes.get_window_extent()
    marks = axes.transData.transform([(x, y) for _, x, y in points])
    taken = [box_around(mark, 8 * scale, 8 * scale) for mark in marks]
    crowd = [sum(np.hypot(*(marks - mark).T) < 40 * scale) for mark in marks]
    for i in np.argsort(crowd, kind="stable"):
        name, x, y = points[i]
        text = axes.annotate(name, (x, y), (0, 0), textcoords="offset points", fontsize=7, color=INK)
        extent = text.get_window_extent()
        near = marks[np.hypot(*(marks - marks[i]).T) < 60 * scale]
        away = marks[i] - near.mean(axis=0)
        away = away / max(float(np.hypot(*away)), 1e-9)
        best, place = np.inf, (0.0, 0.0)
        for ring in RINGS:
            for angle in np.linspace(0, 2 * np.pi, WAYS, endpoint=False):
                way = np.array([np.cos(angle), np.sin(angle)])
                middle = marks[i] + way * (ring * scale + np.abs(way) * (extent.width / 2, extent.height / 4))
                box = box_around(middle, extent.width + scale, extent.height)
                outside = box[0] < frame.x0 or box[2] > frame.x1 or box[1] < frame.y0 or box[3] > frame.y1
                cost = sum(overlap(box, other) for other in taken) + ring + 8 * (1 - way @ away) + 1e6 * outside
                if cost < best:
                    best, place = cost, tuple((middle - marks[i]) / scale)
        text.remove()
        taken.append(box_around(marks[i] + np.array(place) * scale, extent.width, extent.height))
        gap = np.maximum(np.abs(place) - np.array([extent.width, extent.height]) / (2 * scale), 0)
        line = {"arrowstyle": "-", "linewidth": 0.5, "color": "#8c8c8c", "shrinkA": 1, "shrinkB": 3}
        axes.annotate(
            name,
            (x, y),
            place,
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=7,
            color=INK,
            arrowprops=line if np.hypot(*gap) > 8 else None,
        )


def box_around(middle: np.ndarray, wide: float, high: float) -> tuple[float, float, float, float]:
    """Left, low, right, high."""
    x, y = middle
    return (x - wide / 2, y - high / 2, x + wide / 2, y + high / 2)


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """The area that two boxes (left, low, right, high) share.

    >>> overlap((0, 0, 2, 2), (1, 1, 3, 3)), overlap((0, 0, 1, 1), (2, 0, 3, 1))
    (1, 0)
    """
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
