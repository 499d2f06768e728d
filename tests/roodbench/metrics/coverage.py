"""How often intervals hold the truth, by simulation.

`python -m tests.roodbench.metrics.coverage` rewrites the tables of docs/intervals.md, between `<!-- coverage: NAME -->`
and `<!-- end -->` (six minutes on one core), from 400 samples a case; another number as argument takes as many.

Every case draws scores whose metric is known exactly: normal ones, their levels, or a mixture with images that fail.
`before` are the intervals that were there: DeLong's normal one, the bootstrap's percentiles, and at 0 and 1 a bound.
"""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Callable, Iterator
from datetime import date
from functools import cache
from pathlib import Path

import numpy as np
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import norm

from roodbench import metrics

PAGE = Path(__file__).parents[3] / "docs" / "intervals.md"
SIZES = ((30, 30), (100, 100), (30, 1000), (1000, 30), (1000, 1000))
FEW_SIZES = SIZES[:2]
AUROCS = (0.5, 0.8, 0.95, 0.99, 0.999)
CUTS = np.array([0.5, 1.0, 2.0, 3.0])

Interval = tuple[float, float]
Trial = Callable[[np.random.Generator], tuple[Interval, Interval]]
"""One simulated sample: the interval before, and the one of now."""


def normal(rng, truth, n, m, variance=1.0, draws=1, noise=0.0, shared=0.0):
    """ID N(d, 1) and OOD N(0, variance), `noise` of either anew in a draw; `shared` of both moves all ID of a draw."""
    d = norm.ppf(truth) * (1 + variance) ** 0.5
    fixed = (1 - noise - shared) ** 0.5
    id_scores = d + fixed * rng.normal(size=(1, n)) + noise**0.5 * rng.normal(size=(draws, n))
    id_scores = id_scores + (shared * (1 + variance)) ** 0.5 * rng.normal(size=(draws, 1))
    ood_scores = fixed * rng.normal(size=(1, m)) + noise**0.5 * rng.normal(size=(draws, m))
    return id_scores, variance**0.5 * ood_scores


@cache
def shift_of_levels(truth):
    """The d at which levels of N(d, 1) and of N(0, 1) have this AUROC."""

    def excess(d):
        own, other = (np.diff(np.concatenate([[0.0], norm.cdf(CUTS - mean), [1.0]])) for mean in (d, 0.0))
        return float(own @ (np.cumsum(other) - other / 2)) - truth

    return brentq(excess, -1.0, 9.0)


def levels(rng, truth, n, m):
    """Five levels of normal scores: most pairs of one side are tied."""
    return np.digitize(rng.normal(shift_of_levels(truth), 1, n), CUTS), np.digitize(rng.normal(0, 1, m), CUTS)


def failing(truth):
    """The AUROC of the images that do not fail, and the share of one population that does."""
    rest = 1 - (1 - truth) / 4
    return rest, 1 - truth / rest


def failures(rng, truth, n, m, of_id=True):
    """Normal scores that miss a quarter of 1 - AUROC, and images that lie beyond all of the other side for the rest."""
    rest, share = failing(truth)
    id_scores, ood_scores = normal(rng, rest, n, m)
    if of_id:
        return np.where(rng.random((1, n)) < share, -99.0, id_scores), ood_scores
    return id_scores, np.where(rng.random((1, m)) < share, 99.0, ood_scores)


SCORES = {
    "normal": (normal, SIZES),
    "OOD thrice as wide": (lambda *a: normal(*a, variance=9.0), SIZES),
    "five levels": (levels, SIZES),
    "ID images that fail": (failures, SIZES),
    "OOD images that fail": (lambda *a: failures(*a, of_id=False), SIZES),
    "10 draws, own noise": (lambda *a: normal(*a, draws=10, noise=0.4), FEW_SIZES),
    "10 draws, shared noise": (lambda *a: normal(*a, draws=10, noise=0.3, shared=0.2), FEW_SIZES),
}


def plain(found: metrics.Components) -> Interval:
    """What `Components.interval` was: DeLong's normal interval, a binomial bound where the variance is 0 at an end."""
    half = 1.96 * found.standard_error()
    if half == 0 and found.value in (-1.0, 0.0, 1.0):
        half = 1 - 0.05 ** (1 / found.fewest())
    return max(-1.0, found.value - half), min(1.0, found.value + half)


def both(found: metrics.Components) -> tuple[Interval, Interval]:
    estimate = found.interval()
    return plain(found), (estimate.low, estimate.high)


def aurocs() -> Iterator[tuple[tuple[str, ...], list[tuple[float, Trial]]]]:
    for kind, (scores, sizes) in SCORES.items():
        for n, m in sizes:
            trials = [
                (truth, lambda rng, s=scores, t=truth, n=n, m=m: both(metrics.components(*s(rng, t, n, m))))
                for truth in AUROCS
            ]
            yield (kind, f"{n} / {m}"), trials


AVERAGES = ((0.8, 0.85, 0.9), (0.95, 0.97, 0.99), (0.99, 0.999, 0.9999), (0.999, 0.999, 0.6))


def averages() -> Iterator[tuple[tuple[str, ...], list[tuple[float, Trial]]]]:
    def trial(truths, n, m):
        def once(rng):
            id_scores = rng.normal(0, 1, n)
            sets = [rng.normal(0, 1, m) - norm.ppf(truth) * 2**0.5 for truth in truths]
            return both(metrics.average([metrics.components(id_scores, ood) for ood in sets]))

        return once

    for n, m in SIZES:
        yield (f"{n} / {m}",), [(float(np.mean(truths)), trial(truths, n, m)) for truths in AVERAGES]


PAIRS = ((0.8, 0.78, 0.95), (0.95, 0.9, 0.9), (0.99, 0.98, 0.9), (0.999, 0.1, 0.5))
"""The AUROCs of two detectors, and the correlation of an image's two scores."""
FLIPS = 0.03


def differences() -> Iterator[tuple[tuple[str, ...], list[tuple[float, Trial]]]]:
    def trial(first, second, rho, n, m):
        def once(rng):
            a, b = rng.normal(0, 1, n), rng.normal(0, 1, m)
            c, d = (rho * x + (1 - rho**2) ** 0.5 * rng.normal(0, 1, len(x)) for x in (a, b))
            before, after = norm.ppf(first) * 2**0.5, norm.ppf(second) * 2**0.5
            return both(metrics.components(a + before, b).minus(metrics.components(c + after, d)))

        return once

    def flips(n, m):
        def once(rng):
            a, b = rng.normal(9, 1, n), rng.normal(0, 1, m)
            moved = np.where(rng.random(n) < FLIPS, -99.0, a)
            return both(metrics.components(a, b).minus(metrics.components(moved, b)))

        return once

    for n, m in SIZES:
        cases = [(a - b, trial(a, b, rho, n, m)) for a, b, rho in PAIRS]
        yield (f"{n} / {m}",), [*cases, (FLIPS * norm.cdf(9 / 2**0.5), flips(n, m))]


FPRS = (0.5, 0.2, 0.05, 0.01)


def rates() -> Iterator[tuple[tuple[str, ...], list[tuple[float, Trial]]]]:
    def trial(metric, truth, n, m):
        def once(rng):
            d = -norm.ppf(0.05) - norm.ppf(truth)  # either normal population beyond the other's 95%
            found = metrics.resample(metric, rng.normal(d, 1, n), rng.normal(0, 1, m))
            value, estimate = found.draws[0], found.interval()
            low, high = np.quantile(found.again, [0.025, 0.975])
            if value in (0.0, 1.0):
                low, high = max(0.0, value - found.unseen), min(1.0, value + found.unseen)
            return (low, high), (estimate.low, estimate.high)

        return once

    for name, metric in (("FPR95 of OOD", metrics.fpr95_id), ("FPR95 of ID", metrics.fpr95_ood)):
        for n, m in SIZES:
            yield (name, f"{n} / {m}"), [(truth, trial(metric, truth, n, m)) for truth in FPRS]


def aupr_of(case: tuple[float, float], n: int, m: int, of_id: bool = True) -> float:
    """The AUPR, ID positive, of normal scores with an AUROC, and a share of ID below or of OOD above all the others."""
    rest, share = case
    d, low, high = norm.ppf(rest) * 2**0.5, share * of_id, share * (not of_id)

    def precision(x):
        own, other = n * (1 - low) * norm.sf(x - d), m * ((1 - high) * norm.sf(x) + high)
        return norm.pdf(x - d) / (1 + other / own)

    last = (n * (1 - low) / (n * (1 - low) + m) + n / (n + m)) / 2  # a straight line from all other ID to all ID
    return (1 - low) * quad(precision, d - 8, d + 8, limit=200)[0] + low * last


AUPRS = {
    "normal": (normal, lambda truth, n, m: aupr_of((truth, 0.0), n, m)),
    "ID images that fail": (failures, lambda truth, n, m: aupr_of(failing(truth), n, m)),
    "OOD images that fail": (
        lambda *a: failures(*a, of_id=False),
        lambda truth, n, m: aupr_of(failing(truth), n, m, of_id=False),
    ),
}
"""Per kind of scores the draw of a sample and its AUPR, of an AUROC."""


def auprs() -> Iterator[tuple[tuple[str, ...], list[tuple[float, Trial]]]]:
    """With ID positive; by symmetry those with OOD positive are the same with ID and OOD exchanged."""

    def trial(scores, truth, n, m):
        return lambda rng: both(metrics.components(*scores(rng, truth, n, m), values=metrics.aupr_in_values))

    for kind, (scores, aupr) in AUPRS.items():
        for n, m in SIZES:
            yield (kind, f"{n} / {m}"), [(aupr(a, n, m), trial(scores, a, n, m)) for a in AUROCS]


TABLES = {
    "auroc": (aurocs, ("scores", "ID / OOD"), tuple(f"{100 * a:g}" for a in AUROCS)),
    "average": (averages, ("ID / OOD",), tuple(", ".join(f"{100 * a:g}" for a in sets) for sets in AVERAGES)),
    "difference": (
        differences,
        ("ID / OOD",),
        (*(f"{100 * a:g} - {100 * b:g}" for a, b, _ in PAIRS), f"{FLIPS:.0%} of ID fail"),
    ),
    "fpr": (rates, ("rate", "ID / OOD"), tuple(f"{100 * p:g}" for p in FPRS)),
    "aupr": (auprs, ("scores", "ID / OOD"), tuple(f"AUROC {100 * a:g}" for a in AUROCS)),
}
"""Per table its cases, the names of its left columns and of its cases."""


def coverage(truth: float, trial: Trial, repeats: int, seed: int = 0) -> tuple[float, float, float]:
    """The share of intervals that hold the truth, before and now, and the mean width of those of now."""
    rng, held, width = np.random.default_rng(seed), np.zeros(2), 0.0
    for _ in range(repeats):
        intervals = trial(rng)
        held += [low <= truth <= high for low, high in intervals]
        width += intervals[1][1] - intervals[1][0]
    before, now = held / repeats
    return float(before), float(now), width / repeats


def table(name: str, repeats: int) -> str:
    """A table in Markdown; per case coverage before -> now in percent, and the mean width in points."""
    cases, left, columns = TABLES[name]
    lines = [f"| {' | '.join((*left, *columns))} |", f"|{'---|' * (len(left) + len(columns))}"]
    for labels, trials in cases():
        found = [coverage(truth, trial, repeats) for truth, trial in trials]
        cells = [f"{100 * before:.0f} -> {100 * now:.0f} ({100 * width:.2g})" for before, now, width in found]
        lines.append(f"| {' | '.join((*labels, *cells))} |")
    return "\n".join(lines)


def main(repeats: int = 400) -> None:
    """Rewrite the tables of the page."""
    text = PAGE.read_text(encoding="utf-8")
    for name in TABLES:
        part = re.compile(rf"(<!-- coverage: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        made = table(name, repeats if name != "fpr" else repeats // 2)
        text = part.sub(lambda m, made=made: f"{m[1]}{made}\n{m[2]}", text)
    where = (
        f"{date.today()}, numpy {np.__version__}, {platform.machine()}, {repeats} samples a case (FPR95 half as many)"
    )
    text = re.sub(r"(<!-- made -->).*", lambda m: f"{m[1]} {where}.", text)
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
