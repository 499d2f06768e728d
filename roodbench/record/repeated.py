"""Scores of one detector twice, on the same noise or on other: which images have others."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from .record import Record

TOLERANCE = 0.01
"""Of the interquartile range of clean scores: what another machine's rounding, also of fitted constants, may do."""
ODD = 50
"""One image of so many may differ by more: a sign in a step may turn by rounding."""
ERROR = 1e-3
"""Probability of rejecting an honest entry for noise that is drawn anew: in each test of a detector's scores of a set,
or of its attack at a radius."""


def is_same_noise(record: Record, device: torch.device) -> bool:
    """Whether a seed gives the record's noise again: on its kind of device, with its torch."""
    made = str(record.environment.versions.get("torch")).partition("+")[0]
    return record.environment.device_type == device.type and made == torch.__version__.partition("+")[0]


def differ(have: np.ndarray, here: np.ndarray, allowed: float, *, same: bool) -> np.ndarray:
    """Of scores (R, n) twice, which images (n,) differ: on the same noise by more than is allowed, else by a t-test of
    their means, all n of which together are wrong with probability `ERROR` at most.
    """
    from scipy.special import stdtr

    if have.shape != here.shape:
        return np.ones(here.shape[1], dtype=bool)
    apart = np.abs(have - here).mean(axis=0) > allowed
    if same:
        return apart
    gap, R = np.abs(have.mean(axis=0) - here.mean(axis=0)), len(have)
    error = np.sqrt((have.var(axis=0, ddof=1) + here.var(axis=0, ddof=1)) / R)
    p = 2 * stdtr(R - 1, -gap / np.maximum(error, 1e-300))  # of Welch's degrees of freedom the fewest
    return (gap > allowed) & (p <= ERROR / have.shape[1])


def spread_of(scores: Iterable[np.ndarray]) -> float:
    """The interquartile range of scores of several sets together; their range where half of them are the same."""
    its = np.concatenate([part.ravel() for part in scores])
    low, high = np.quantile(its, [0.25, 0.75])
    return float(high - low if high > low else np.ptp(its))
