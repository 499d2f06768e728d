"""What `roodbench certify` certifies, at which radii, from how many samples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ..setup.config import RunConfig, one_of, refuse
from ..setup.values import typed, wrong

CERTIFIABLE = ("median", "ross", "ross-q")
BOUNDED = ("msp", "mls", "ebo")
"""Scores of which interval bounds are known, without noise."""
LEAST = 8
"""Samples: the noise of an AUROC is measured on eighths of them."""
TPR = 0.95
"""Of ID validation images, at the threshold that is taken where none is given."""
MOST = 10**8
"""Samples of an image that anybody may draw."""
SHARES = {"median": 1, "ross": 2, "ross-q": 3}
"""How many quantile statements share alpha."""
IGNORED = (
    "search",
    "method",
    "objective",
    "eps",
    "threat",
    "quantize",
    "protocol",
    "space",
    "precision",
    "keep_images",
)
"""Settings of a run that no certification honours: each is refused."""
DEFAULTS: Mapping[str, Mapping[str, Any]] = {"ross": {"eta": 1e-3, "floored": True}}
"""Hyper-parameters in the form that can be certified, over the published ones."""


@dataclass(frozen=True)
class CertifyConfig:
    """Radii are in units of `run.norm` (pixels of [0, 1]); alpha is the error of each certified number.

    Numbers may be text, as 2/255, and radii one or several. Without a threshold it is the score that a share `tpr` of
    the ID validation images reach, 0.95 where neither is given. ValueError for what cannot be certified.
    """

    run: RunConfig = field(default_factory=lambda: RunConfig(detector=("median",), norm="l2"))
    sigma: float = 0.25
    radius: tuple[float, ...] = (0.1, 0.25, 0.5)
    samples: int = 10_000
    alpha: float = 1e-3
    tpr: float | None = None
    threshold: float | None = None
    """That an image's score must reach to count as ID, of one detector."""
    least_tpr: float = 0.9
    """The certified TPR up to whose radius the operating point is followed."""

    def __post_init__(self) -> None:
        if not isinstance(self.run, RunConfig):
            raise wrong("run", self.run, "a RunConfig")
        kinds = {f.name: f.type for f in fields(self) if f.name != "run"}
        for name, value in typed(kinds, {name: getattr(self, name) for name in kinds}).items():
            object.__setattr__(self, name, value)
        check_run(self.run, CERTIFIABLE)
        if not (self.sigma > 0 and math.isfinite(self.sigma)):
            raise ValueError(f"sigma {self.sigma:g}: expected a number above 0")
        if not 0 < self.alpha < 1:
            raise ValueError(f"alpha {self.alpha:g}: expected a number between 0 and 1, such as 0.001")
        self._check_operating_point()
        if not LEAST <= self.samples <= MOST:
            raise ValueError(f"samples {self.samples}: expected at least {LEAST} and at most {MOST}")
        for radius in self.radius:
            if not (radius > 0 and math.isfinite(radius)):
                raise ValueError(f"radius {radius:g}: expected a number above 0, such as 0.25")
        object.__setattr__(self, "radius", tuple(sorted(self.radius)))
        copies = self.run.params.get("copies", self.run.params.get("N"))
        if isinstance(copies, int) and copies % 2 == 0:
            raise ValueError(f"copies {copies}: expected an odd number, as {copies + 1}: the deployed median needs one")
        if "sigma" in self.run.params:
            raise ValueError("sigma is given as a parameter: give --sigma alone")

    def _check_operating_point(self) -> None:
        """ValueError for an invalid threshold, or one for several detectors; the usual TPR where neither is given."""
        if self.threshold is None and self.tpr is None:
            object.__setattr__(self, "tpr", TPR)
        if self.threshold is not None:
            if self.tpr is not None:
                raise ValueError(
                    f"threshold {self.threshold:g} and tpr {self.tpr:g}: expected one of them, tpr gives a threshold"
                )
            if not math.isfinite(self.threshold):
                raise ValueError(f"threshold {self.threshold:g}: expected a finite score")
            if len(self.run.detector) > 1:
                names = ", ".join(self.run.detector)
                raise ValueError(f"threshold {self.threshold:g} of {names}: expected one detector, their scores differ")
        for name in ("tpr", "least_tpr"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1:
                raise ValueError(f"{name.replace('_', '-')} {value:g}: expected a number between 0 and 1, such as 0.9")

    def run_config(self) -> RunConfig:
        """The run's settings with the noise and the certifiable form of every detector."""
        params = {"sigma": self.sigma, **self.run.params}
        for name in self.run.detector:
            params = {**DEFAULTS.get(name, {}), **params}
        return replace(self.run, params=params)

    def radii(self, dimension: int) -> dict[float, float]:
        """Given radius -> its l2 radius: an linf ball of epsilon lies in the l2 ball of epsilon sqrt(d).

        Derived in docs/theorems.md, T14.
        """
        scale = math.sqrt(dimension) if self.run.norm == "linf" else 1.0
        return {radius: radius * scale for radius in self.radius}

    def check_reach(self, radii: Mapping[float, float], images: int) -> list[str]:
        """A line for every detector and radius that N samples cannot certify; ValueError where they certify none.

        Derived in docs/theorems.md, T4.
        """
        from ..metrics.ranks import largest_radius

        lines = []
        for name in self.run.detector:
            alpha = self.alpha / images / SHARES[name]
            most = largest_radius(self.samples, alpha)
            for given, radius in radii.items():
                r, who = radius / self.sigma, f"{self.samples} samples at alpha {self.alpha:g} over {images} images"
                where = f"{name}: {self.run.norm} radius {given:g} is {r:.3g} sigma"
                if most <= 0:
                    lines.append(f"{name}: {who} certify nothing at any sigma: {needed(r, alpha)}")
                elif r > most:
                    remedy = f"{needed(r, alpha)}, sigma {radius / most:.3g} would"
                    lines.append(f"{where}, beyond the {most:.3g} that {who} can certify: {remedy}")
        if len(lines) == len(radii) * len(self.run.detector):
            raise ValueError(lines[0])
        return lines


def check_run(run: RunConfig, kind: Sequence[str]) -> None:
    """ValueError for detectors without a certificate of a kind, and for settings that no certification honours."""
    check_certifiable_names(run.detector, kind)
    refuse({name: getattr(run, name) for name in IGNORED}, "certify")
    one_of("attack", run.attack, ("none", "both"))
    if run.attack == "none":
        attacking = ("strength", "budget", "steps", "restarts")
        refuse({name: getattr(run, name) for name in attacking}, "certify without an attack")


def check_certifiable_names(names: Sequence[str], kind: Sequence[str]) -> None:
    """ValueError for a detector that is not certified in one way, `CERTIFIABLE` or `BOUNDED`, saying which ones are."""
    for name in names:
        if name not in (*CERTIFIABLE, *BOUNDED):
            from detectors import unknown

            known = f"{', '.join(CERTIFIABLE)} (by noise), or {', '.join(BOUNDED)} (by interval bounds, in linf)"
            near = unknown("certifiable detector", name, (*CERTIFIABLE, *BOUNDED)).partition("expected")[0]
            raise ValueError(f"{near}expected some of {known}")
    for name in names:
        if name not in kind:
            ways = {True: "by noise", False: "by interval bounds"}
            known = f"either {', '.join(CERTIFIABLE)}, or {', '.join(BOUNDED)}"
            here = f", not {ways[kind is CERTIFIABLE]} like the others" if len(names) > 1 else ""
            raise ValueError(f"{name} is certified {ways[name in CERTIFIABLE]}{here}: expected {known}")


def feasible(r: float, alpha: float) -> float:
    """The fewest samples that can bound a median at r sigma; infinite where that is more than anybody draws.

    Derived in docs/theorems.md, T4.
    """
    from ..metrics.ranks import samples_needed

    if r > 8:
        return math.inf
    least = samples_needed(r, alpha)
    return least if least <= MOST else math.inf


def needed(r: float, alpha: float) -> str:
    """How many samples a radius of r sigma takes (docs/theorems.md, T4)."""
    least = feasible(r, alpha)
    return "no feasible number of samples would do" if least == math.inf else f"{least:.0f} samples would do"
