"""The operating point: every statement against a population whose truth is known, and what a table and a record say."""

import json
import re
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.special import ndtr
from scipy.stats import binom

from detectors import Median
from roodbench import load_benchmark
from roodbench.certify.certificate import read
from roodbench.certify.config import CertifyConfig
from roodbench.certify.curve import curve
from roodbench.certify.evidence import Evidence, Scope, Together, metrics_of
from roodbench.certify.operating import Operating, farthest, fixed
from roodbench.certify.population import bounds_of, predicted_of
from roodbench.certify.run import certify
from roodbench.certify.table import events
from roodbench.certify.verifier import verify
from roodbench.metrics.deployed import at_knots
from roodbench.metrics.gauroc import image_alpha
from roodbench.setup.config import RunConfig
from tests.attacks.analytic import Linear
from tests.roodbench.certify.conftest import SMALL

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
def test_all_statements_hold_at_once_in_six_hundred_certificates(alpha):
    assert misses(alpha, 600, seed=1) <= alpha + 3 * (alpha * (1 - alpha) / 600) ** 0.5


def test_the_point_of_a_certificate(certified):
    """Its threshold is that of the validation images, its numbers fall and rise with the radius."""
    result, folder = certified
    certificate = json.loads((folder / "certificate.json").read_text())
    for said, entry, name in zip(result.operating, certificate["detectors"], SMALL.run.detector, strict=True):
        scores = np.array(entry["validation"]["score"])
        assert len(scores) == 12
        assert entry["validation"]["role"] == "ID val"
        assert said["threshold"] == scores.min()  # which all of 12 reach, 95% of them and more
        assert said["detector"] == name
        points = said["points"]
        assert [p["radius_l2"] for p in points] == [0.0, *SMALL.radius]
        for near, far in pairwise(points):
            assert far["tpr"] <= near["tpr"]
            assert far["fpr"]["unseen-digits"] >= near["fpr"]["unseen-digits"]
        for point in points:
            assert point["tpr_new"] < point["tpr"]
            assert point["tpr_worst_new"] <= point["tpr_new"]
            assert point["tpr_worst"] <= point["tpr"]
            assert point["fpr_new"]["unseen-digits"] > point["fpr"]["unseen-digits"]
        curve = said["curve"]
        assert [p["tpr"] for p in curve] == sorted((p["tpr"] for p in curve), reverse=True)
        assert curve[-1]["tpr"] == 0


def test_a_row_at_once_is_what_its_curve_says(certified):
    result, _ = certified
    row = next(row for row in result.rows if row.condition == "both" and row.radius == 0.3)
    curve = result.operating[0]["curve"]
    nearer = max((p for p in curve if p["radius_l2"] <= 0.3), key=lambda p: p["radius_l2"])
    assert row.gauroc_joint <= nearer["gauroc"]["unseen-digits"]


def test_between_two_radii_the_bound_of_the_larger_one_is_drawn(certified):
    """A straight line would claim more than is certified."""
    pytest.importorskip("matplotlib")
    drawn = curve(certified[0].rows, certified[0].operating)
    lines = [re.findall(r"[ML] (\S+) (\S+)", d) for d in re.findall(r'<path d="([^"]*)" clip-path', drawn)]
    steps = [line for line in lines if len(line) > 8]
    assert len(steps) == len(SMALL.run.detector)
    for line in steps:
        assert all((a[0] == b[0]) != (a[1] == b[1]) for a, b in pairwise(dict.fromkeys(line)))


def test_numbers_that_hold_alone_hold_together_a_little_less_surely(certified):
    result, _ = certified
    assert events(result.rows) == 2 * 3 * (2 + 1) + 1
    scope = Scope(images=24, dimension=64, detectors=3, radii=2, sets=1, classes=6)
    assert Scope.of(load_benchmark("digits", limit=2), SMALL).classes == 6  # which 2 images cannot have
    assert scope.of_new == 3 * (3 * (1 + 6 + 1 + 2) + 2 * 3 + 1)


def test_the_farthest_radius_is_found_or_there_is_none():
    assert farthest(lambda r: r <= 0.3, 1.0) == pytest.approx(0.3, abs=1e-6)
    assert farthest(lambda r: r <= 0.3, 1.0) <= 0.3
    assert farthest(lambda r: True, 1.0) == 1.0
    assert farthest(lambda r: False, 1.0) is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"threshold": 1.0, "tpr": 0.9}, "threshold 1 and tpr 0.9: expected one of them"),
        ({"threshold": float("nan")}, "threshold nan: expected a finite score"),
        ({"tpr": 1.0}, "tpr 1: expected a number between 0 and 1"),
        ({"tpr": 95}, "tpr 95: expected a number between 0 and 1"),
        ({"least_tpr": 0}, "least-tpr 0: expected a number between 0 and 1"),
    ],
)
def test_an_impossible_operating_point_is_one_sentence(given, message):
    with pytest.raises(ValueError, match=message):
        config_of(0.1, **given)


def test_a_threshold_is_of_one_detector():
    run = replace(SMALL.run, detector=("median", "ross-q"))
    with pytest.raises(ValueError, match="threshold -2 of median, ross-q: expected one detector, their scores differ"):
        CertifyConfig(run, threshold=-2)
    assert config_of(0.1, threshold="-2").tpr is None
    assert config_of(0.1).tpr == 0.95


def test_a_threshold_that_was_given_is_that_of_the_certificate(digits_net, tmp_path):
    run = RunConfig(detector=("median",), norm="l2", attack="none", ood=("photos",), limit=2, compile="off")
    _, folder = certify(replace(SMALL, run=run, samples=500, radius=(0.1,), threshold=-2.0, tpr=None), out=tmp_path)
    certificate = read(folder / "certificate.json")
    assert certificate["detectors"][0]["validation"] is None
    assert certificate["operating"][0]["threshold"] == -2.0
    assert verify(certificate, seed=3, samples=500).failures == []
    certificate["operating"][0]["threshold"] = -2.5
    assert "operating, threshold is -2.5: expected -2.0" in verify(certificate, seed=3, samples=500).failures[0]
