"""Bounds of a score, and the gain that ROSS and ROSS-Q give to stable images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Bounds(NamedTuple):
    """Lower and upper bounds (n,) of a score within the radius, and which of them say nothing."""

    lower: np.ndarray
    upper: np.ndarray
    vacuous_lower: np.ndarray
    """(n,) bool: the bound is the lowest value that the score can have, or the highest, which every score obeys."""
    vacuous_upper: np.ndarray
    crude_upper: np.ndarray | None = None
    """ROSS only: g(m+, D-), which the tight bound improves on."""
    at_eta: np.ndarray | None = None
    """ROSS and ROSS-Q: (n,) bool, the upper bound rests on eta: the instability may vanish within the radius."""


@dataclass(frozen=True)
class Gain:
    """g(m, D) = min(m, tau) + max(m - tau, 0) (1 + gain / max(D, eta)): rises with m, falls with D.

    Derived in docs/theorems.md, T6.
    """

    tau: float
    gain: float = 0.01
    eta: float = 1e-3

    def __call__(self, m: np.ndarray, D: np.ndarray) -> np.ndarray:
        return np.minimum(m, self.tau) + np.maximum(m - self.tau, 0) * (1 + self.gain / np.maximum(D, self.eta))

    def beside(self, slack: float) -> Gain:
        """A gain that is at least g(m + slack, D - 2 slack) - slack for every m and D; at most, of a negative slack.

        Derived in docs/theorems.md, T24.
        """
        if not 2 * abs(slack) < self.eta:
            raise ValueError(
                f"eta {self.eta:g}: expected more than {2 * abs(slack):.3g}, which rounding can make of it"
            )
        return Gain(self.tau - slack, self.gain / (1 - 2 * slack / self.eta), self.eta)

    def range(self, extremes: tuple[float, float]) -> tuple[float, float]:
        """The lowest and the highest value for medians between the extremes."""
        low, high = (np.float64(m) for m in extremes)
        return float(self(low, np.float64(np.inf))), float(self(high, np.float64(0.0)))


def flags(lower: np.ndarray, upper: np.ndarray, lowest: float, highest: float) -> dict[str, np.ndarray]:
    """Which bounds say nothing: they are no better than the ends of the score's range (docs/theorems.md, T6)."""
    return {"vacuous_lower": lower <= lowest, "vacuous_upper": upper >= highest}


def beside(lower: np.ndarray, upper: np.ndarray, slack: float, confident: bool) -> tuple[np.ndarray, np.ndarray]:
    """Bounds that give way by the slack, or, on the other side of the evidence, are granted it (T24)."""
    slack = slack if confident else -slack
    return lower - slack, upper + slack
