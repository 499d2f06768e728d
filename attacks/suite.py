"""The per-image worst case over a detector's objectives, chosen on noise that neither attacked nor reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .noise import noise
from .pgd import Attacked, Trace, pgd
from .threat import Detector, ThreatModel, check_finite

SELECTION_DRAWS = 8
MOMENTUM = 0.75
"""For gradients through noise: each step then rests on the copies of the last few. The last iterate is kept there: the
best of noisy values is mostly the luckiest. benchmarks/RESULTS.md has the figures."""
NOISE_DRAWS = 100
METHODS = ("suite", "pgd", "noise", "transfer")


@dataclass(frozen=True)
class Strength:
    """How much an attack spends: steps, restarts, and copies per gradient of a randomised detector."""

    steps: int
    restarts: int
    draws: int


STRENGTHS = {"quick": Strength(steps=20, restarts=1, draws=8)}


@dataclass(frozen=True)
class Suite:
    """The chosen images, the component that won each of them (an index into `components`), and the cost."""

    images: Tensor
    winner: Tensor
    components: tuple[str, ...]
    """`clean` first, then one name per attack, such as `pgd:exact`."""
    traces: Mapping[str, Trace]
    passes: tuple[int, int]
    """Network passes (forward, backward) per image, selection included."""


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
    reference: Tensor | None = None,
) -> Suite:
    """Per image of x (B, C, H, W), the candidate that the detector misjudges most, x itself among them.

    Scores are pushed down (`sign=-1`) or up (+1). `suite` runs pgd on every objective of the detector (or on the one
    named), `pgd` on one (default `exact`), `noise` draws at random. `transfer` is the published evaluation: pgd on
    `base`, its best iterate by the base score, not compared by the full detector. Uses the streams `attack/...` and
    `select`: report on another one. `reference` are clean scores of the opposing population, see `select`.
    """
    if method not in METHODS:
        raise ValueError(f"unknown attack method {method!r}: expected one of {METHODS}")
    runs: dict[str, Attacked] = {}
    draws = strength.draws if detector.randomized else None
    cost = [0, 0]

    def spend(times: int, passes: tuple[int, int]) -> None:
        cost[0] += times * passes[0]
        cost[1] += times * passes[1]

    if method == "noise":
        runs["noise"] = noise(detector, x, threat, sign=sign, n=NOISE_DRAWS, generator=streams("attack/noise"))
        spend(NOISE_DRAWS + 1, detector.score_passes())
    for name in objectives_of(detector, method, objective):
        noisy = detector.randomized and not name.startswith("base")
        run = pgd(
            detector,
            x,
            threat,
            sign=sign,
            objective=name,
            steps=strength.steps,
            restarts=strength.restarts,
            draws=draws,
            generator=streams(f"attack/pgd:{name}"),
            momentum=MOMENTUM if noisy else 0.0,
            keep="last" if noisy else "best",
        )
        runs[f"pgd:{name}"] = run
        spend(1 + strength.restarts * (strength.steps + 1), detector.passes(name, draws))
    traces = {name: run.trace for name, run in runs.items()}
    if method == "transfer":
        (run,) = runs.values()
        return Suite(
            run.images, torch.zeros_like(run.values, dtype=torch.long), tuple(runs), traces, (cost[0], cost[1])
        )
    candidates = [x, *(run.images for run in runs.values())]
    images, winner = select(detector, candidates, sign=sign, reference=reference, stream=lambda: streams("select"))
    spend(len(candidates) * (SELECTION_DRAWS if detector.randomized else 1), detector.score_passes())
    return Suite(images, winner, ("clean", *runs), traces, (cost[0], cost[1]))


def objectives_of(detector: Detector, method: str, objective: str | None) -> tuple[str, ...]:
    """The objectives that a method runs pgd on."""
    if method == "noise":
        return ()
    if method == "transfer":
        return ("base",) if "base" in detector.objectives else ("exact",)
    if objective is not None:
        return (objective,)
    return tuple(detector.objectives) if method == "suite" else ("exact",)


@torch.no_grad()
def select(
    detector: Detector,
    candidates: Sequence[Tensor],
    *,
    sign: int,
    stream: Callable[[], torch.Generator],
    reference: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Per image the best candidate (B, C, H, W) and its index (B,); the earlier one on a tie.

    A deterministic detector's candidates are compared by score. A randomised one's by their expected rank: the mean,
    over 8 draws that all candidates share, of the score's empirical distribution function (ties half) in `reference`;
    where that saturates, by the median score.
    """
    best, best_key = candidates[0], None
    winner = torch.zeros(len(best), dtype=torch.long, device=best.device)
    ranks = None if reference is None else reference.flatten().sort().values
    for i, candidate in enumerate(candidates):
        if detector.randomized:
            generator = stream()
            scores = torch.stack([detector(candidate, generator=generator) for _ in range(SELECTION_DRAWS)])
        else:
            scores = detector(candidate)[None]
        for draw in scores:
            check_finite(draw)
        median = scores.median(0).values
        rank = torch.zeros_like(median)
        if ranks is not None and detector.randomized:
            below = torch.searchsorted(ranks, scores) + torch.searchsorted(ranks, scores, right=True)
            rank = below.double().mean(0) / (2 * len(ranks))
        key = (sign * rank, sign * median)
        if best_key is None:
            best_key = key
            continue
        wins = (key[0] > best_key[0]) | ((key[0] == best_key[0]) & (key[1] > best_key[1]))
        best = torch.where(wins.view(-1, *[1] * (best.ndim - 1)), candidate, best)
        winner = torch.where(wins, i, winner)
        best_key = (torch.where(wins, key[0], best_key[0]), torch.where(wins, key[1], best_key[1]))
    return best, winner
