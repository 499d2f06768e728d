"""What scores do near images: one step away, along two directions, of noisy copies."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..record.surroundings import Copies, Landscape, Shifts
from .figures_scores import edges_of, shares
from .style import COLOURS, GREY, INK, THRESHOLD

LOOK = {"ID": (COLOURS[0], "o"), "near": (COLOURS[1], "s"), "far": (COLOURS[2], "D")}
"""Colour and mark by group."""
ZERO = "#8c8c8c"


def shift(axes: Any, found: Shifts) -> Any:
    """How far one step moves the score, a line per set: median, middle half (thick), middle 90% (PRO, Fig. 3 and 7).

    Left of 0 the score falls; what falls further is told apart by the step. Behind each OOD set the AUROC of its shift
    against ID's.
    """
    names = sorted(found.moved, key=lambda name: list(LOOK).index(found.groups[name]))
    axes.axvline(0, color=ZERO, linewidth=0.8)
    for place, name in enumerate(names):
        colour, mark = LOOK[found.groups[name]]
        low, first, middle, last, high = np.quantile(found.moved[name], [0.05, 0.25, 0.5, 0.75, 0.95])
        axes.plot([low, high], [place, place], color=colour, linewidth=1.0, solid_capstyle="butt")
        axes.plot([first, last], [place, place], color=colour, linewidth=4.5, alpha=0.45, solid_capstyle="butt")
        label = {"ID": "ID", "near": "near OOD", "far": "far OOD"}[found.groups[name]]
        axes.plot([middle], [place], mark, color=colour, markersize=5.5, label=label, zorder=3)
        if name != found.own:
            said = {"xycoords": ("axes fraction", "data"), "va": "center", "fontsize": 7.5, "color": INK}
            axes.annotate(f"{100 * found.separates(name):.1f}", (1.02, place), **said, annotation_clip=False)
    head = {"xycoords": "axes fraction", "xytext": (0, 4), "textcoords": "offset points", "fontsize": 7, "color": GREY}
    axes.annotate("AUROC %", (1.0, 1.0), **head)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(f"change of {found.detector}'s score")
    axes.grid(axis="x")
    axes.locator_params(axis="x", nbins=5)
    return axes


def landscape(axes: Any, found: Landscape) -> Any:
    """A score around one image over two directions (PRO, Fig. 6): dark is low; the image is the cross in the middle.

    The dashed line is the threshold that 95% of clean ID reach, where it runs through.
    """
    from matplotlib.ticker import MaxNLocator

    low, high = ends_of(found.scores)
    scale = 255 if found.offsets[-1] < 0.5 else 1
    at = scale * found.offsets
    shades = axes.contourf(at, at, found.scores, np.linspace(low, high, 17), cmap="cividis")
    axes.contour(at, at, found.scores, np.linspace(low, high, 9), colors="black", linewidths=0.3, alpha=0.5)
    if found.scores.min() < found.threshold < found.scores.max():
        axes.contour(at, at, found.scores, [found.threshold], colors="white", linewidths=1.8)
        axes.contour(at, at, found.scores, [found.threshold], colors="black", linewidths=1.0, linestyles="dashed")
        axes.plot([], [], color="black", linestyle="--", linewidth=1.0, label=THRESHOLD)
    axes.plot([0], [0], "+", color="white", markersize=11, markeredgewidth=3)
    axes.plot([0], [0], "+", color="black", markersize=9, markeredgewidth=1.2)
    axes.set_aspect("equal")
    unit = "/255" if scale == 255 else ""
    axes.set_xlabel(f"along {found.directions[0]} ({unit or 'pixels'})")
    axes.set_ylabel(f"along {found.directions[1]} ({unit or 'pixels'})")
    axes.locator_params(nbins=5)
    bar = axes.figure.colorbar(shades, ax=axes, shrink=0.85, pad=0.02)
    bar.locator = MaxNLocator(5)
    bar.update_ticks()
    bar.ax.tick_params(labelsize=7)
    bar.outline.set_visible(False)
    return axes


def ends_of(scores: np.ndarray) -> tuple[float, float]:
    """The lowest and highest score; of a constant one, a little apart."""
    low, high = scores.min(), scores.max()
    margin = 0.5 * max(abs(low), 1e-6) if high <= low else 0.0
    return float(low - margin), float(high + margin)


def heights(found: Landscape) -> str:
    """The score at an image and how far it falls and rises around it."""
    middle = found.scores[len(found.offsets) // 2, len(found.offsets) // 2]
    low, high = found.scores.min(), found.scores.max()
    return f"score {middle:.3g}, nearby {low:.3g} to {high:.3g}; threshold {found.threshold:.3g}"


def medians(axes: Any, found: Copies, ood: str) -> Any:
    """Histogram of the medians of every image's noisy copies, ID filled, OOD outlined (ROSS)."""
    its = [found.medians[found.own], found.medians[ood]]
    histogram(axes, its, edges_of([values[None] for values in its]))
    if found.threshold is not None:
        style = {"color": GREY, "linewidth": 0.8, "linestyle": (0, (4, 3))}
        axes.axvline(found.threshold, label="tau: above it ROSS adds for stability", **style)
    axes.set_xlabel(f"median of {found.copies} copies' scores")
    return axes


def instabilities(axes: Any, found: Copies, ood: str) -> Any:
    """Histogram of the copies' mean absolute deviation around their median, over a logarithmic axis (ROSS)."""
    from matplotlib.ticker import LogLocator

    its = [found.instabilities[found.own], found.instabilities[ood]]
    positive = [values[values > 0] for values in its if (values > 0).any()] or [np.array([1e-12, 1e-11])]
    edges = 10 ** edges_of([np.log10(values)[None] for values in positive])
    histogram(axes, its, edges)
    axes.set_xscale("log")
    axes.set_xlim(edges[0], edges[-1])
    wide = edges[-1] > 100 * edges[0]
    axes.xaxis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.set_xlabel(f"instability D of {found.copies} copies' scores")
    return axes


def histogram(axes: Any, its: list[np.ndarray], edges: np.ndarray) -> None:
    """Shares of ID and OOD images; the end bins hold what lies beyond them."""
    for values, colour, side, hatch in zip(its, COLOURS, ("ID", "OOD"), ("", "////"), strict=False):
        counts = shares(values, edges)
        look = {"facecolor": colour} if side == "ID" else {"facecolor": "none", "hatch": hatch}
        axes.stairs(counts, edges, fill=True, edgecolor=colour, alpha=0.3, linewidth=0, **look)
        axes.stairs(counts, edges, color=colour, linestyle="-" if side == "ID" else "--", linewidth=1.6, label=side)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(bottom=0)
    axes.set_ylabel("images (%)")
