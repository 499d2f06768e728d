"""What a page draws of scores: ROC curves and histograms, as numbers."""

from __future__ import annotations

import numpy as np

MOST = 50
"""Corners of a curve: more are thinned out, evenly on the axis it is drawn on."""
BINS = 25


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
    """Bins (BINS + 1,) that hold all scores but the outermost 0.5% a side, which the end bins take.

    >>> edges_of([np.array([[0.0, 1.0]]), np.array([[3.0]])])[[0, -1]].tolist()
    [0.0, 3.0]
    """
    scores = np.concatenate([population.ravel() for population in populations])
    low, high = np.quantile(scores, [0.005, 0.995]) if len(scores) > 200 else (scores.min(), scores.max())
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
