"""Populations that several tests of the metrics draw from."""

import numpy as np
from scipy.special import ndtri


def population(seed, ties):
    """Scores of 2 to 59 ID and of 2 to 59 OOD images; with `ties` whole numbers."""
    rng = np.random.default_rng(seed)
    id_scores, ood = rng.normal(0.7, 1, rng.integers(2, 60)), rng.normal(0, 1, rng.integers(2, 60))
    return (np.round(id_scores), np.round(ood)) if ties else (id_scores, ood)


def normal_quantiles(n):
    """(n,) ascending: the population of a linear score, N(0, 1)."""
    return ndtri((np.arange(n) + 0.5) / n)
