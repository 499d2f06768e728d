"""The operating point: every statement against a population whose truth is known, and what a table and a record say."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
import torch
from scipy.special import ndtr
from scipy.stats import binom

from detectors import Median
from roodbench.certify.config import CertifyConfig
from roodbench.certify.evidence import Evidence, Scope, Together, metrics_of
from roodbench.certify.operating import Operating, fixed
from roodbench.certify.population import bounds_of, predicted_of
from roodbench.metrics.deployed import at_knots
from roodbench.metrics.gauroc import image_alpha
from roodbench.setup.config import RunConfig
from tests.attacks.analytic import Linear

N, RADII, GAP = 200, (0.4, 1.2), 4.0
"""Draws, radii and the distance of the populations of a linear score: ID N(GAP, 1), OOD N(0, 1), noise N(0, 1)."""
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(80)
DETECTOR = Median(Linear(torch.ones(1, 1, 1, dtype=torch.double)), sigma=1.0)


@dataclass(frozen=True)
class Drawn:
    """Images of which nothing is known but their class."""

    labels: np.ndarray
    related: np.ndarray

    def __len__(self):
        return len(self.labels)


def config_of(alpha, **given):
    return CertifyConfig(
        RunConfig(detector=("median",), norm="l2"), sigma=1.0, radius=RADII, samples=N, alpha=alpha, **given
    )


def evidence(rng, means, config, scope, labels):
    y = np.sort(rng.normal(means[:, None], 1, (len(means), N)), 1)
    alpha = {"bounds": config.alpha / scope.images, "counted": image_alpha(len(y), config.alpha)}

    @cache
    def bounds(kind, radius):
        if kind == "predicted":
            return predicted_of(DETECTOR, y, radius, alpha["bounds"])[:2]
        return bounds_of(DETECTOR, y, radius, alpha[kind])[:2]

    return Evidence(Drawn(labels, np.arange(len(y))), bounds, at_knots(y))


def by_copies(mean, t):
    """P(the median of N fresh copies reaches t), of images N(mean, 1)."""
    below = ndtr(t - (mean + NODES))
    return float(WEIGHTS @ binom.cdf((N - 1) // 2, N, below) / WEIGHTS.sum())


def wrong(rng, alpha, n=50, m=30):
    """Which statements of one certificate are false."""
    config, scope = config_of(alpha), Scope(n + m, 1, 1, len(RADII), 1, 2)
    t = fixed(config, rng.normal(GAP, 1, 40))
    mu, nu, labels = rng.normal(GAP, 1, n), rng.normal(0, 1, m), rng.integers(0, 2, n)

    own, other = (evidence(rng, x, config, scope, y) for x, y in ((mu, labels), (nu, np.full(m, -1))))
    point = Operating(Together(DETECTOR, config, scope, 0.0), t, own, {"ood": other})
    found = []
    for radius in (0.0, *RADII):
        said, tpr, fpr = point.at(radius), ndtr(GAP - radius - t), ndtr(radius - t)
        found += [said["tpr"] > (mu - radius >= t).mean(), said["fpr"]["ood"] < (nu + radius >= t).mean()]
        found += [said["tpr_new"] > tpr, said["tpr_worst_new"] > tpr, said["fpr_new"]["ood"] < fpr]
        found += [said["tpr_copies"] > by_copies(GAP - radius, t)]
        found += [said["fpr_copies"]["ood"] < by_copies(radius, t)]
    for radius in RADII:
        said = metrics_of(DETECTOR, config, scope, own, other, "both", radius, 0.0)
        found += [said["gauroc_joint"] > np.mean(mu[:, None] - radius > nu + radius)]
        found += [said["gauroc_new"] > ndtr((GAP - 2 * radius) / 2**0.5)]
    largest = point.largest()
    for name, tpr in (
        ("largest_radius", lambda r: (mu - r >= t).mean()),
        ("largest_radius_new", lambda r: ndtr(GAP - r - t)),
    ):
        radius = largest[name]
        found += [radius is not None and tpr(radius) < config.least_tpr - 1e-9]
    return found


def misses(alpha, runs, seed=0):
    rng = np.random.default_rng(seed)
    return np.mean([any(wrong(rng, alpha)) for _ in range(runs)])


def test_all_statements_hold_at_once():
    assert misses(0.3, 12) <= 0.3 + 3 * (0.3 * 0.7 / 12) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [0.5, 0.05])
def test_all_statements_hold_at_once_in_a_thousand_certificates(alpha):
    assert misses(alpha, 1000, seed=1) <= alpha + 3 * (alpha * (1 - alpha) / 1000) ** 0.5
