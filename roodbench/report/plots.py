"""The drawings of a page: AUROC over the radius, ROC curves, histograms of scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ..metrics import threshold95
from .svg import Axes, Drawing

PERCENT = [(y, f"{100 * y:.0f}") for y in (0, 0.25, 0.5, 0.75, 1)]
MOST = 50
"""Corners of a curve: more are thinned out, evenly on the axis it is drawn on."""
BINS = 25
"""Of a histogram."""
Pair = tuple[np.ndarray, np.ndarray]
"""Scores (R, n) of ID and (R, m) of OOD."""
Line = Sequence[tuple[float, str, float, tuple[float, float], str]]
"""A radius, the same in words, a value with its interval, and the cell of the table that says it."""


def over_radius(lines: Mapping[str, Line], words: str, axis: str) -> Drawing:
    """A value over the radius, one line with its band for each style."""
    most = max(point[0] for line in lines.values() for point in line)
    said = "; ".join(
        f"{name}: " + ", ".join(f"{at} {cell}" for _, at, _, _, cell in line) for name, line in lines.items()
    )
    axes = Axes((0.0, 1.04 * most), (0.0, 1.0), f"{words}. {said}")
    axes.ticks_up(PERCENT)
    axes.rules("chance", levels=[0.5])
    ticks = {x: at for line in lines.values() for x, at, *_ in line}
    axes.ticks_across(sorted({0.0: "0", **ticks}.items()), axis)
    for style, line in lines.items():
        axes.band([(x, low) for x, _, _, (low, _), _ in line], [(x, high) for x, _, _, (_, high), _ in line], style)
    for style, line in lines.items():
        points = [(x, value) for x, _, value, _, _ in line]
        axes.line(points, style)
        axes.dots([point for point in points if point[0]], style)
    return axes.drawing()


def roc_curves(curves: Sequence[tuple[str, Pair]], words: str, *, log: bool) -> Drawing:
    """ROC curves, each in its style, over a linear or a logarithmic axis."""
    images = max(pair[1].shape[-1] for _, pair in curves)
    axes = Axes((0.5 / images if log else 0.0, 1.0), (0.0, 1.0), words, log)
    axes.ticks_up(PERCENT)
    axes.rules("chance", levels=[0.95])
    places = sorted(10.0**-k for k in range(math.floor(math.log10(2 * images)) + 1)) if log else [y for y, _ in PERCENT]
    axes.rules("grid", uprights=places)
    axes.ticks_across([(x, f"{100 * x:g}") for x in places], "% of OOD taken for ID" + (", log" if log else ""))
    for style, pair in curves:
        axes.steps([*corners(roc(*pair), log=log), (1.0, 1.0)], style)
    return axes.drawing()


def histograms(clean: Pair, attacked: Mapping[str, Pair | None], words: str) -> list[Drawing]:
    """Scores of ID upwards and of OOD downwards, filled when clean, outlined when attacked: one drawing an attack.

    All have the same axes.
    """
    populations = {where: [*clean, *(pair or ())] for where, pair in attacked.items()}
    edges = edges_of([scores for found in populations.values() for scores in found])
    counted = {where: [shares(scores, edges) for scores in found] for where, found in populations.items()}
    most = max(float(values.max()) for found in counted.values() for values in found)
    threshold = float(np.mean(threshold95(clean[0])))
    return [histogram(found, edges, most, threshold, f"{words}, {where}") for where, found in counted.items()]


def histogram(found: Sequence[np.ndarray], edges: np.ndarray, most: float, threshold: float, words: str) -> Drawing:
    """The shares of clean ID and OOD, and of attacked ID and OOD, in bins."""
    axes = Axes((float(edges[0]), float(edges[-1])), (-1.08 * most, 1.08 * most), words)
    for place, (values, side) in enumerate(zip(found, (1, -1, 1, -1), strict=False)):
        style = ("id" if side > 0 else "ood") + (" moved" if place > 1 else "")
        points = [(float(x), side * float(y)) for x, y in zip(edges, values, strict=False)]
        axes.steps(points, style, kind="area" if place < 2 else "outline", close=float(edges[-1]))
    axes.rules("axis", levels=[0.0])
    if edges[0] < threshold < edges[-1]:
        axes.rules("chance", uprights=[threshold])
    low, high = axes.x
    digits = max(0, 1 - math.floor(math.log10(high - low)))
    ticks = [(x, f"{x:.{digits}f}".replace("-", "\N{MINUS SIGN}")) for x in (low, (low + high) / 2, high)]
    axes.ticks_across(ticks, "score, higher is more ID")
    axes.text(4, axes.up(most / 2) + 4, "ID", "start")
    axes.text(4, axes.up(-most / 2) + 4, "OOD", "start")
    return axes.drawing()


def roc(id_scores: np.ndarray, ood_scores: np.ndarray) -> np.ndarray:
    """The share of ID kept (m,) where k of m OOD images pass, k = 0..m-1; the mean over draws (R, n), (R, m).

    Its mean is the AUROC: ID that ties with an OOD image counts half.

    >>> roc(np.array([[2.0, 3.0]]), np.array([[1.0, 2.0]])).tolist()
    [0.75, 1.0]
    """
    found = np.zeros(ood_scores.shape[-1])
    for own, other in zip(id_scores, ood_scores, strict=True):
        own, thresholds = np.sort(own), np.sort(other)[::-1]
        above = len(own) - np.searchsorted(own, thresholds, side="right")
        reached = len(own) - np.searchsorted(own, thresholds, side="left")
        found += (above + reached) / (2 * len(own))
    return found / len(id_scores)


def corners(kept: np.ndarray, *, log: bool) -> list[tuple[float, float]]:
    """The staircase of a curve: (share of OOD that passes, share of ID kept from there on), at most `MOST` of them.

    On a log axis it begins at half an image, in the place of none.
    """
    m = len(kept)
    first = 0.5 if log else 0.0
    k = np.arange(m)
    if m > MOST:
        k = np.unique((np.geomspace(1, m, MOST) - 1 if log else np.linspace(0, m - 1, MOST)).round().astype(int))
        k = k[k < m]
    return [(max(float(place), first) / m, float(kept[place])) for place in k]


def edges_of(populations: list[np.ndarray]) -> np.ndarray:
    """Bins (BINS + 1,) that hold all scores but the outermost 0.5% of each population a side, which end bins take.

    >>> edges_of([np.array([[0.0, 1.0]]), np.array([[3.0]])])[[0, -1]].tolist()
    [0.0, 3.0]
    >>> edges_of([np.zeros((1, 1000)), np.ones((1, 4))])[[0, -1]].tolist()  # few images are seen beside many
    [0.0, 1.0]
    """
    ends = [np.quantile(its, [0.005, 0.995] if its.size > 200 else [0.0, 1.0]) for its in populations]
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    if not high > low:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, BINS + 1)


def shares(scores: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The share of scores in each bin (BINS,); those beyond the ends are in the end bins.

    >>> shares(np.array([[-9.0, 1.5]]), np.linspace(0, 3, BINS + 1))[[0, 12]].tolist()
    [0.5, 0.5]
    """
    counts, _ = np.histogram(np.clip(scores, edges[0], edges[-1]), edges)
    return counts / scores.size
