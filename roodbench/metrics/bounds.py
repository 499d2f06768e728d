"""Certified bounds of smoothed scores under any l2 shift of the image, from sorted noisy scores (numpy, float64).

Y = s(x + G) with G ~ N(0, sigma^2 I), q_x(u) its u-quantile, r = radius / sigma. For every d with norm2(d) <= radius
(Chiang et al. 2020)

    Q-(u) <= q_{x+d}(u) <= Q+(u),    Q-(u) = q_x(Phi(z(u) - r)),  Q+(u) = q_x(Phi(z(u) + r)),  z = Phi^-1.

Everything here takes `y` (n, N), ascending scores of N noisy copies of n images, and gives one-sided bounds that hold
for each image with probability 1 - alpha over the copies. Ranks are 1-based; rank 0 is the lowest value the score can
have and rank N + 1 the highest. `confident=False` turns every confidence margin around: what the same bound is at
least (a lower bound: at most) as good as, the other side of the evidence, for checking a certificate. `slack` is how
far a score may be from the one meant by the rounding of a computation: bounds give way by it (T24).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from scipy.special import ndtr, ndtri

from .gain import Bounds, Gain, beside, flags
from .ranks import rank

ROWS = 128
"""Images whose bounds are computed at once: the working memory of a cache."""


def checked(y: np.ndarray, r: float, alpha: float) -> np.ndarray:
    """The scores as given; ValueError for what no bound can come from."""
    y = np.asarray(y)
    if y.ndim != 2 or y.shape[1] < 1:
        raise ValueError(f"scores of shape {y.shape}: expected (images, samples)")
    if not 0 <= r < math.inf or not 0 < alpha < 1:
        raise ValueError(f"r {r:g}, alpha {alpha:g}: expected r of at least 0 and alpha between 0 and 1")
    some = np.concatenate([y[:, :: max(1, y.shape[1] // 128)], y[:, -1:]], axis=1)  # a look, not a second pass
    if not (np.diff(some, axis=1) >= 0).all():
        raise ValueError("scores are not sorted (or not finite): sort each image's ascending")
    return y


def padded(y: np.ndarray, extremes: tuple[float, float]) -> np.ndarray:
    """(n, N + 2): the scores between the extremes, so that a rank is an index; rounding may exceed an extreme."""
    y = y.astype(np.float64, copy=False)
    low, high = np.minimum(extremes[0], y[:, :1]), np.maximum(extremes[1], y[:, -1:])
    return np.concatenate([low, y, high], axis=1)


def blocks(y: np.ndarray, extremes: tuple[float, float]) -> Iterator[tuple[slice, np.ndarray]]:
    """Padded rows, a few images at a time."""
    for start in range(0, len(y), ROWS):
        rows = slice(start, start + ROWS)
        yield rows, padded(y[rows], extremes)


def column(y: np.ndarray, k: int, extremes: tuple[float, float]) -> np.ndarray:
    """Y_(k) of every image, (n,) (docs/theorems.md, T3)."""
    N = y.shape[1]
    edge = y[:, 0 if k < 1 else N - 1 if k > N else k - 1].astype(np.float64)
    return np.minimum(extremes[0], edge) if k < 1 else np.maximum(extremes[1], edge) if k > N else edge


def quantile_bound(
    y: np.ndarray, z: float, alpha: float, extremes: tuple[float, float], *, lower: bool, confident: bool = True
) -> tuple[np.ndarray, int]:
    """A bound (n,) on q_x(Phi(z)) from below (`lower`) or above, and its rank.

    Derived in docs/theorems.md, T2, T3; confident=False: T15.
    """
    k = rank(y.shape[1], z, alpha, lower=lower == confident)
    return column(y, k, extremes), k


def median_bounds(
    y: np.ndarray,
    r: float,
    alpha: float,
    extremes: tuple[float, float] = (-math.inf, math.inf),
    *,
    confident: bool = True,
    slack: float = 0.0,
) -> Bounds:
    """Of the population median: q_x(Phi(-r)) from below, q_x(Phi(r)) from above.

    >>> found = median_bounds(np.arange(1.0, 1001.0)[None], 1.0, 1e-3)
    >>> found.lower.item(), found.upper.item()
    (124.0, 877.0)

    Derived in docs/theorems.md, T2, T3; confident=False: T15.
    """
    y = checked(y, r, alpha)
    lower, _ = quantile_bound(y, -r, alpha, extremes, lower=True, confident=confident)
    upper, _ = quantile_bound(y, r, alpha, extremes, lower=False, confident=confident)
    lower, upper = beside(lower, upper, slack, confident)
    return Bounds(lower, upper, **flags(lower, upper, *extremes))


def dkw(N: int, alpha: float) -> float:
    """Half-width of the band around the empirical distribution function that covers all of the true one.

    >>> round(dkw(2000, 1e-3), 4)
    0.0436

    Derived in docs/theorems.md, T5.
    """
    return math.sqrt(math.log(2 / alpha) / (2 * N))


def edges(N: int, w: float) -> np.ndarray:
    """The band's probabilities v_k (N + 1,) = k / N + w, in [0, 1], of a band of constant half-width abs(w).

    Y_(k) bounds q_x(v) from below for v in (v_{k-1}, v_k], and from above with a negative w.

    Derived in docs/theorems.md, T5.
    """
    return np.clip(np.arange(N + 1) / N + w, 0, 1)


def cells(v: np.ndarray, shift: float, start: float, stop: float) -> np.ndarray:
    """Lengths (m + 2,) of the sets of u in [start, stop] on which a band's side takes each of the ranks 0..m + 1.

    Rank k is taken where Phi(z(u) - shift) lies in (v_{k-1}, v_k]; v (m + 1,) ascends.

    Derived in docs/theorems.md, T5, T27.
    """
    ends = np.concatenate([[0.0], ndtr(ndtri(v) + shift), [1.0]])
    return np.diff(np.clip(ends, start, stop))


def deviation_weights(below: np.ndarray, above: np.ndarray, r: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights (m + 2,) of the ordered scores in D+ and D-, the largest and least E|Y - median| within the radius.

    D+ = int_0^{1/2} Q+(1-u) - Q-(u) du and D- = int_0^c Q-(1-u) - Q+(u) du, c where the two ranks meet: Phi(-r)
    without a band, z(c) = z(v) - r with one, v the middle of its side `above`. `below` and `above` (m + 1,) are the
    probabilities of the two sides, mirrored: below_k = 1 - above_{m-k}.

    Derived in docs/theorems.md, T7, T27.
    """
    most = cells(above, -r, 0.5, 1) - cells(below, r, 0, 0.5)
    c = min(0.5, float(ndtr(ndtri(above[len(above) // 2]) - r)))
    return most, cells(below, r, 1 - c, 1) - cells(above, -r, 0, c)


def least_deviation(
    y: np.ndarray, weights_above: np.ndarray, weights_below: np.ndarray, start: int, stop: int
) -> np.ndarray:
    """Dmin(m') = int_0^1 (Q-(u) - m')_+ + (m' - Q+(u))_+ du at m' = Y_(start)..Y_(stop), (n, stop - start + 1).

    `y` are padded rows; the weights (m + 2,) are the `cells` of Q- and of Q+ over [0, 1].

    Derived in docs/theorems.md, T8.
    """
    m, part = y[:, start : stop + 1], slice(start + 1, stop + 1)
    sums = []
    for weights, rest in ((weights_above, slice(stop + 1, None)), (weights_below, slice(0, start + 1))):
        mass = np.concatenate([[0.0], np.cumsum(weights[part])])
        moment = np.zeros(m.shape)
        np.cumsum(y[:, part] * weights[part], axis=1, out=moment[:, 1:])
        if weights is weights_above:  # all scores above m'
            mass, moment = mass[-1] - mass, moment[:, -1:] - moment
        sums.append((mass + weights[rest].sum(), moment + (y[:, rest] @ weights[rest])[:, None]))
    (mass_above, moment_above), (mass_below, moment_below) = sums
    return np.maximum(moment_above - m * mass_above + m * mass_below - moment_below, 0)


def ross_bounds(
    y: np.ndarray,
    r: float,
    alpha: float,
    gain: Gain,
    extremes: tuple[float, float],
    *,
    confident: bool = True,
    slack: float = 0.0,
) -> Bounds:
    """Of ROSS in its population form g(median, E|Y - median|), for a score that is bounded.

    S- = g(m-, D+); S+ = max over m' <= m+ of g(m', Dmin(m')), at most g(m+, D-). The median takes half of alpha and the
    band that covers all quantiles at once (Dvoretzky, Kiefer, Wolfowitz; Massart 1990) the other half.

    Derived in docs/theorems.md, T6 to T8; confident=False: T15.
    """
    y = checked(y, r, alpha)
    N, sign = y.shape[1], 1 if confident else -1
    w = dkw(N, alpha / 2) * sign
    m_low, _ = quantile_bound(y, -r, alpha / 2, extremes, lower=True, confident=confident)
    m_high = quantile_bound(y, r, alpha / 2, extremes, lower=False, confident=confident)
    return from_band(y, m_low, m_high, (edges(N, w), edges(N, -w)), r, gain, extremes, slack=slack * sign)


def from_band(
    y: np.ndarray,
    m_low: np.ndarray,
    m_high: tuple[np.ndarray, int],
    band: tuple[np.ndarray, np.ndarray],
    r: float,
    gain: Gain,
    extremes: tuple[float, float],
    *,
    slack: float = 0.0,
) -> Bounds:
    """Of g(m, E|Y - m|) from sorted scores (n, m), bounds of the median, the upper one with its rank, and the
    probabilities (m + 1,) of either side of a band.

    Derived in docs/theorems.md, T7, T8, T27.
    """
    if not np.isfinite(extremes).all():
        raise ValueError("ross has no certificate over an unbounded score: its instability has no bound; use ross-q")
    (most_median, k_high), (below, above), n = m_high, band, len(y)
    low, high = gain.beside(-slack), gain.beside(slack)
    most, least = deviation_weights(below, above, r)
    weights = cells(below, r, 0, 1), cells(above, -r, 0, 1)
    mass = np.cumsum(weights[1]) + np.cumsum(weights[0]) - 1  # the slope of Dmin right of Y_(k)
    turn = min(int(np.searchsorted(mass, 0)), k_high)  # left of it Dmin falls, so g rises
    lower, upper, crude, at_eta = np.empty(n), np.empty(n), np.empty(n), np.empty(n, dtype=bool)
    for rows, block in blocks(y, extremes):
        lower[rows] = low(m_low[rows], block @ most)
        crude[rows] = high(most_median[rows], np.maximum(block @ least, 0))
        D = least_deviation(block, *weights, turn, k_high)
        m = block[:, turn : k_high + 1]
        value = high(m, D)
        best = value.argmax(1)[:, None]
        upper[rows] = np.take_along_axis(value, best, 1)[:, 0]
        at_eta[rows] = np.take_along_axis(D, best, 1)[:, 0] <= gain.eta
        if D.shape[1] > 1:  # where Dmin passes eta between two scores, g has a peak there
            passes = (D[:, :-1] < gain.eta) & (gain.eta < D[:, 1:])
            share = np.divide(gain.eta - D[:, :-1], np.diff(D, axis=1), out=np.zeros_like(D[:, 1:]), where=passes)
            peak = np.where(passes, m[:, :-1] + share * np.diff(m, axis=1), -np.inf)
            highest = high(peak, np.full_like(peak, gain.eta)).max(1)
            at_eta[rows] |= highest > upper[rows]
            upper[rows] = np.maximum(upper[rows], highest)
    crude = beside(lower, crude, slack, confident=True)[1]
    lower, upper = beside(lower, upper, slack, confident=True)
    return Bounds(lower, upper, **flags(lower, upper, *gain.range(extremes)), crude_upper=crude, at_eta=at_eta)


def ross_q_bounds(
    y: np.ndarray,
    r: float,
    alpha: float,
    gain: Gain,
    extremes: tuple[float, float] = (-math.inf, math.inf),
    *,
    tail: float = 0.05,
    confident: bool = True,
    slack: float = 0.0,
) -> Bounds:
    """Of ROSS-Q, g(median, q(1-t) - q(t)), from three quantiles with a third of alpha each.

    Derived in docs/theorems.md, T9; confident=False: T15.
    """
    y = checked(y, r, alpha)

    def both(z: float) -> tuple[np.ndarray, np.ndarray]:
        """Bounds on the quantile at Phi(z) within the radius."""
        lower, _ = quantile_bound(y, z - r, alpha / 3, extremes, lower=True, confident=confident)
        upper, _ = quantile_bound(y, z + r, alpha / 3, extremes, lower=False, confident=confident)
        return lower, upper

    z_t = -float(ndtri(tail))
    return from_quantiles(both(0.0), both(-z_t), both(z_t), gain, extremes, slack=slack if confident else -slack)


def from_quantiles(
    middle: tuple[np.ndarray, np.ndarray],
    bottom: tuple[np.ndarray, np.ndarray],
    top: tuple[np.ndarray, np.ndarray],
    gain: Gain,
    extremes: tuple[float, float],
    *,
    slack: float = 0.0,
) -> Bounds:
    """Of g(m, R), R = top - bottom, from lower and upper bounds (n,) of the median m, and of R's two quantiles.

    S- = g(m-, R+); S+ = max over m' <= m+ of g(m', (A - m')_+ + (m' - B)_+), A the lower bound of the top and B the
    upper one of the bottom.

    Derived in docs/theorems.md, T9.
    """
    low, high = gain.beside(-slack), gain.beside(slack)
    m_high, A, B = middle[1], top[0], bottom[1]
    upper, at_eta = np.full(len(A), -np.inf), np.zeros(len(A), dtype=bool)
    for candidate in (m_high, A, B, B + gain.eta):  # R falls up to A and B, then rises; at B + eta it leaves eta
        m = np.minimum(candidate, m_high)
        with np.errstate(invalid="ignore"):  # inf - inf, of an unbounded score: no bound on R
            R = np.nan_to_num(np.maximum(A - m, 0) + np.maximum(m - B, 0), nan=0.0, posinf=np.inf)
        value = np.where(m == -np.inf, -np.inf, high(m, R))
        floored = gain.eta >= R
        at_eta = np.where(value > upper, floored, at_eta)
        upper = np.maximum(upper, value)
    lower, upper = beside(low(middle[0], top[1] - bottom[0]), upper, slack, confident=True)
    return Bounds(lower, upper, **flags(lower, upper, *gain.range(extremes)), at_eta=at_eta)
