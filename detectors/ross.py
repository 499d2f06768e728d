"""ROSS over any deterministic base score: the median of noisy scores, raised where they agree."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .care import usual_state
from .detector import Batches, Detector
from .smoothing import COPIES, PAPER, SIGMAS, Smoothed, deviation, median

if TYPE_CHECKING:
    from typing_extensions import Self


class ROSS(Smoothed):
    """S = min(m, tau) + max(m - tau, 0) (1 + lambda / (D + eta)): the median, raised where copies agree.

    tau is the 5% quantile of m over the ID validation images, fitted on noise seeded with `seed`. Where all copies
    score alike (D = 0) S explodes to lambda / eta, as published; `floored` divides by max(D, eta) instead: with an eta
    that is not tiny, the form that can be certified. Besides those of `Smoothed` it has the objective `log-gain`,
    asinh((S - tau) / c) with c the interquartile range of m on ID validation: S with the explosion tamed.
    """

    name = "ross"
    objectives = ("exact", "mean", "soft-median", "log-gain", "base")
    shared = ("copies", "gain")
    symbols = {"N": "copies", "lambda": "gain"}
    reference = PAPER
    grid = {"sigma": SIGMAS, "copies": COPIES, "gain": (0.005, 0.01, 0.02, 0.05)}

    def __init__(
        self,
        base: Detector,
        *,
        copies: int = 25,
        sigma: float = 0.0125,
        gain: float = 0.01,
        eta: float = 1e-12,
        floored: bool = False,
        chunk: int = 256,
        seed: int = 0,
    ) -> None:
        super().__init__(base, copies=copies, sigma=sigma, chunk=chunk, seed=seed)
        if not gain >= 0:
            raise ValueError(f"gain {gain}: expected a number of at least 0")
        if not eta > 0:
            raise ValueError(f"eta {eta}: expected a number above 0")
        self.gain, self.eta, self.floored = gain, eta, floored
        self.tau: float | None = None
        self.spread = 1.0

    @usual_state()
    def fit(self, train: Batches, val: Batches) -> Self:
        if iter(val) is val:
            raise ValueError("ross reads the validation batches twice: give a list or a data set, not an iterator")
        self.base.fit(train, val)
        m, device = [], next((t.device for t in [*self.parameters(), *self.buffers()]), None)
        generator = torch.Generator().manual_seed(self.seed)  # on the CPU: tau is the same on every device
        with torch.no_grad():
            for x, _ in val:
                x = x if device is None else x.to(device)
                m.append(median(self.matrix(x, generator=generator))[0])
        if not m:
            raise ValueError("ross cannot fit tau on an empty validation split")
        self.fit_medians(torch.cat(m))
        return self

    def fit_medians(self, m: Tensor) -> None:
        """tau and the scale of `log-gain` from the medians of the ID validation images (n,)."""
        bad = ~m.isfinite()
        if bad.any():
            index = int(bad.nonzero()[0])
            raise ValueError(f"ross({self.base.name}): the score of ID validation image {index} is {m[index].item()}")
        tau, low, high = torch.quantile(m.double(), m.new_tensor([0.05, 0.25, 0.75], dtype=torch.double)).tolist()
        self.tau = tau
        self.spread = high - low if high > low else 1.0

    def combine(self, s: Tensor) -> Tensor:
        tau, m = self._fitted_tau(), median(s)[0]
        D = self.instability_of(s, m)
        D = D.clamp_min(self.eta) if self.floored else D + self.eta
        return m.clamp_max(tau) + (m - tau).clamp_min(0) * (1 + self.gain / D)

    def instability_of(self, s: Tensor, m: Tensor) -> Tensor:
        """What divides the gain, (B,), of the copies' scores s (N, B) with medians m (B,)."""
        return deviation(s, m)

    def _fitted_tau(self) -> float:
        if self.tau is None:
            raise ValueError(f"{self.name} has no tau yet: call fit(train, val)")
        return self.tau

    def _objective(self, s: Tensor, objective: str) -> Tensor:
        S = self.combine(s)
        return torch.asinh((S - self._fitted_tau()) / self.spread) if objective == "log-gain" else S

    def fitted(self) -> dict[str, float]:
        return {**super().fitted(), **({} if self.tau is None else {"tau": self.tau, "spread": self.spread})}


class ROSSQ(ROSS):
    """S = min(m, tau) + max(m - tau, 0) (1 + lambda / max(R, eta)): ROSS with R = q(1 - t) - q(t) in the place of D.

    q(u) is the ceil(u N)-th smallest of the copies' scores. Three quantiles decide S, and a shift of the image moves
    quantiles under Gaussian noise by a known amount: S has a certificate over any base score, bounded or not
    (`roodbench certify`). Objectives are those of ROSS.
    """

    name = "ross-q"
    reference = "RoodBench, docs/certification.md"

    def __init__(
        self,
        base: Detector,
        *,
        copies: int = 25,
        sigma: float = 0.0125,
        gain: float = 0.01,
        eta: float = 1e-3,
        tail: float = 0.05,
        chunk: int = 256,
        seed: int = 0,
    ) -> None:
        super().__init__(base, copies=copies, sigma=sigma, gain=gain, eta=eta, floored=True, chunk=chunk, seed=seed)
        if not 0 < tail < 0.5:
            raise ValueError(f"tail {tail}: expected a number between 0 and 0.5")
        self.tail = tail

    def instability_of(self, s: Tensor, m: Tensor) -> Tensor:
        """R (B,)."""
        ordered = s.sort(0).values
        low, high = (max(1, math.ceil(u * len(s) - 1e-9)) - 1 for u in (self.tail, 1 - self.tail))
        return ordered[high] - ordered[low]
