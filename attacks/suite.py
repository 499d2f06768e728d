"""The per-image worst case over a detector's objectives, chosen on noise that neither attacked nor reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .adversary import quantize
from .apgd import apgd
from .external import TwoLogits, external, is_external
from .noise import noise
from .pgd import Attacked, Trace, pgd
from .selection import Best, indexed
from .square import square
from .strength import (
    NOISE_DRAWS,
    STRENGTHS,
    Strength,
    components_of,
    copies_of,
    is_noisy,
    keeps,
    looks,
    queries_of,
)
from .threat import Detector, ThreatModel

MOMENTUM = 0.75
"""For `refine`, and for gradients through noise, where each step then rests on the copies of the last few. There the
last iterate is kept: the best of noisy values is mostly the luckiest. benchmarks/RESULTS.md has the figures."""


SCORED = ("pgd:exact", "apgd:exact", "refine:exact", "square", "noise")
"""Attacks whose trace holds scores; the others' hold surrogates."""


@dataclass(frozen=True)
class Suite:
    """The chosen images, the component that won each of them (an index into `components`), and the cost."""

    images: Tensor
    winner: Tensor
    components: tuple[str, ...]
    """`clean` first, then one name per attack, such as `pgd:exact`."""
    traces: Mapping[str, Trace]
    """Of images decided before a component ran, the objective is NaN."""
    passes: tuple[float, float]
    """Network passes (forward, backward) per image, selection included."""
    scores: Tensor | None = None
    """(B,) of the images, where the detector is deterministic and selected them."""
    transfer: Tensor | None = None
    """The images of PGD on the base score alone, where the suite ran it: the published attack."""

    def unseen(self, sign: int) -> int | None:
        """How many images have a visited iterate with a better score than the returned one.

        None where nothing shows it: without `scores`, or if no attack noted the score itself. A thousandth of the
        returned scores' interquartile range, or 1e-5 of a score, is rounding.
        """
        shown = [trace.values for name, trace in self.traces.items() if name in SCORED and len(trace.values)]
        if self.scores is None or not any(name in SCORED for name in self.traces):
            return None
        quartiles = torch.quantile(self.scores, torch.tensor([0.25, 0.75], device=self.scores.device).to(self.scores))
        rounding = 1e-3 * (quartiles[1] - quartiles[0]) + 1e-5 * self.scores.abs() + 1e-6
        worse = torch.zeros_like(self.winner, dtype=torch.bool)
        for values in shown:  # NaN, so not ahead, where an attack did not run
            worse |= (sign * (values - self.scores) > rounding).any(0)
        return int(worse.sum())

    def moved(self, sign: int) -> Tensor | None:
        """(B,) share of what gradients gained on the score that came in the last 10 steps (Pintor et al. 2022).

        Of the best score so far. 0 for images decided on the way, which have nothing left to gain; None with noise, or
        without that many steps.
        """
        runs = [t.values for name, t in self.traces.items() if name.endswith("pgd:exact") or name == "refine:exact"]
        values = torch.cat(runs) if runs else torch.empty(0)
        if self.scores is None or len(values) < 12:
            return None
        best = (sign * values).cummax(0).values
        gained = best[-1] - best[0]
        return ((best[-1] - best[-11]) / gained.clamp_min(torch.finfo(gained.dtype).tiny)).nan_to_num(0.0)


Streams = Callable[[str], torch.Generator]
"""A fresh, always equal generator for a named use of randomness."""


def suite(
    detector: Detector,
    x: Tensor,
    threat: ThreatModel,
    *,
    sign: int,
    streams: Streams,
    method: str = "suite",
    objective: str | None = None,
    strength: Strength = STRENGTHS["quick"],
    draws: Mapping[str, int] | None = None,
    reference: Tensor | None = None,
    view: tuple[float, float] = (0.0, 1.0),
    components: Sequence[str] | None = None,
    eight_bits: bool = False,
    tries: int = 1,
) -> Suite:
    """Per image of x (B, C, H, W), the candidate that the detector misjudges most, x itself among them.

    Scores are pushed down (`sign=-1`) or up (+1). `suite` runs pgd on every objective of the detector (or on the one
    named), at greater strength also apgd, then pgd with momentum from the best found, and square on what they left;
    `pgd`, `apgd`, `square` and `noise` run alone, on `exact` unless an objective is named. `transfer` is the published
    evaluation: pgd on `base`, its best iterate by the base score, not compared by the full detector. Other libraries'
    attacks see the detector as `TwoLogits` with `view` = (threshold, scale).

    Uses the streams `attack/...` and `select`: report on another one. `draws` are copies per gradient by objective.
    `reference` are clean scores of the opposing population, see `Best`: an image past all of them is decided, and later
    components leave it alone. `components` names the attacks to run instead of those of `method`. With `eight_bits`
    every candidate is rounded (`quantize`) before it is compared. An adversary with several `tries` compares candidates
    by the best of them.
    """
    spent = [0.0, 0.0]

    def spend(images: float, passes: tuple[int, int]) -> None:
        spent[0] += images * passes[0]
        spent[1] += images * passes[1]

    def run(name: str, x: Tensor, found: Tensor) -> list[Attacked]:
        """The attack's results: one, or one for every restart where only fresh noise can tell which is best.

        `found` are the best images so far, from which `refine` starts.
        """
        generator = streams(f"attack/{name}")
        if is_external(name):
            seed = int(torch.randint(2**31, (1,), generator=generator, device=generator.device))
            target = objective or "exact"
            two = TwoLogits(detector, *view, objective=target, draws=copies(target), generator=generator).to(x.device)
            images = external(
                two,
                x,
                threat,
                sign=sign,
                method=name,
                steps=strength.steps,
                restarts=strength.restarts,
                queries=queries_of(strength),
                seed=seed,
            )
            spend(1, (two.spent[0], two.spent[1]))
            return [Attacked(images, torch.zeros_like(x[:, 0, 0, 0]), nothing(x))]
        if name == "noise":
            spend(len(x) * (NOISE_DRAWS + 1), detector.score_passes())
            return [noise(detector, x, threat, sign=sign, n=NOISE_DRAWS, generator=generator)]
        if name == "square":
            spend(len(x) * (queries_of(strength) + 1), detector.score_passes())
            return [square(detector, x, threat, sign=sign, queries=queries_of(strength), generator=generator)]
        algorithm, _, target = name.partition(":")
        noisy = is_noisy(detector, target)
        spend(len(x) * looks(name, method, strength, noisy), detector.passes(target, copies(target)))
        settings: dict[str, Any] = {
            "sign": sign,
            "objective": target,
            "steps": strength.steps,
            "restarts": 1 if noisy else strength.restarts,
            "draws": copies(target),
            "generator": generator,
            "clean": method == "transfer",  # elsewhere the selection compares with the clean image
        }
        if algorithm == "refine":
            settings |= {"restarts": 1, "start": found, "momentum": MOMENTUM}
        elif algorithm == "pgd":
            settings["step_size"] = None if strength.step is None else strength.step * threat.eps
            settings["momentum"] = MOMENTUM if noisy else 0.0
            settings["keep"] = keeps(strength, noisy)
        attack = apgd if algorithm == "apgd" else pgd
        return [attack(detector, x, threat, **settings) for _ in range(strength.restarts if noisy else 1)]

    def rounded(images: Tensor, x: Tensor) -> Tensor:
        return quantize(images, x) if eight_bits else images

    def copies(target: str) -> int | None:
        return copies_of(detector, target, strength, draws)

    def per_image() -> tuple[float, float]:
        return spent[0] / len(x), spent[1] / len(x)

    names = tuple(components or components_of(detector, method, objective, strength))
    if method == "transfer":
        found = run(names[0], x, x)[-1]
        images, winner = rounded(found.images, x), torch.zeros(len(x), dtype=torch.long, device=x.device)
        return Suite(images, winner, names, {names[0]: found.trace}, per_image(), transfer=images)
    best = Best(detector, x, sign=sign, stream=lambda: streams("select"), reference=reference, tries=tries)
    traces, transfer = {}, None
    for name in names:
        alive = (~best.decided).nonzero().flatten()
        if not len(alive):
            traces[name] = nothing(x)
            best.component += 1
            continue
        with indexed(alive):
            results = run(name, x[alive], best.images[alive])
        traces[name] = spread(results[0].trace, alive, len(x))
        best.component += 1
        for found in results:
            best.offer(rounded(found.images, x[alive]), alive)
        if name == "pgd:base":
            transfer = x.index_copy(0, alive, rounded(found.images, x[alive]))
    spend(best.scored, detector.score_passes())
    scores = None if detector.randomized else best.scores[0]
    return Suite(best.images, best.winner, ("clean", *names), traces, per_image(), scores, transfer)


def nothing(x: Tensor) -> Trace:
    """The trace of an attack that looked at no gradient."""
    return Trace(torch.empty(0, len(x), device=x.device), 0.0, torch.full((len(x),), torch.nan, device=x.device))


def spread(trace: Trace, index: Tensor, size: int) -> Trace:
    """The trace of a subset of a batch as one of the batch: NaN for the others."""
    values = trace.values.new_full((len(trace.values), size), torch.nan)
    values[:, index] = trace.values
    zero_gradient = torch.full((size,), torch.nan, device=values.device)
    zero_gradient[index] = trace.zero_gradient.float()
    return Trace(values, trace.travel, zero_gradient)
