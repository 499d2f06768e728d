"""The per-image worst case over a detector's objectives, chosen on noise that neither attacked nor reports."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from .noise import noise
from .pgd import Attacked, Trace, pgd
from .threat import Detector, NonFiniteError, ThreatModel, check_finite

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
    """Of images decided before a component ran, the objective is NaN."""
    passes: tuple[float, float]
    """Network passes (forward, backward) per image, selection included."""
    scores: Tensor | None = None
    """(B,) of the images, where the detector is deterministic and selected them."""


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
    `select`: report on another one. `reference` are clean scores of the opposing population, see `Best`: an image
    past all of them is decided, and later components leave it alone.
    """
    if method not in METHODS:
        raise ValueError(f"unknown attack method {method!r}: expected one of {METHODS}")
    draws = strength.draws if detector.randomized else None
    spent = [0, 0]

    def spend(images: int, passes: tuple[int, int]) -> None:
        spent[0] += images * passes[0]
        spent[1] += images * passes[1]

    def run(name: str, x: Tensor) -> Attacked:
        generator = streams(f"attack/{name}")
        if name == "noise":
            spend(len(x) * (NOISE_DRAWS + 1), detector.score_passes())
            return noise(detector, x, threat, sign=sign, n=NOISE_DRAWS, generator=generator)
        target = name.removeprefix("pgd:")
        noisy = is_noisy(detector, target)
        spend(len(x) * looks(method, strength, noisy), detector.passes(target, draws))
        return pgd(
            detector,
            x,
            threat,
            sign=sign,
            objective=target,
            steps=strength.steps,
            restarts=strength.restarts,
            draws=draws,
            generator=generator,
            momentum=MOMENTUM if noisy else 0.0,
            keep="last" if noisy else "best",
            clean=method == "transfer",  # elsewhere the selection compares with the clean image
        )

    def per_image() -> tuple[float, float]:
        return spent[0] / len(x), spent[1] / len(x)

    names = ["noise"] if method == "noise" else [f"pgd:{name}" for name in objectives_of(detector, method, objective)]
    if method == "transfer":
        found = run(names[0], x)
        winner = torch.zeros(len(x), dtype=torch.long, device=x.device)
        return Suite(found.images, winner, tuple(names), {names[0]: found.trace}, per_image())
    best = Best(detector, x, sign=sign, stream=lambda: streams("select"), reference=reference)
    traces = {}
    for name in names:
        alive = (~best.decided).nonzero().flatten()
        if not len(alive):
            nothing = torch.zeros(len(x), dtype=torch.bool, device=x.device)
            traces[name] = Trace(torch.empty(0, len(x), device=x.device), 0.0, nothing)
            continue
        with indexed(alive):
            found = run(name, x[alive])
        traces[name] = spread(found.trace, alive, len(x))
        best.offer(found.images, alive)
    spend(best.scored, detector.score_passes())
    scores = None if detector.randomized else best.scores[0]
    return Suite(best.images, best.winner, ("clean", *names), traces, per_image(), scores)


@contextmanager
def indexed(index: Tensor) -> Iterator[None]:
    """Let a NonFiniteError about a subset of a batch name the image's place in the batch."""
    try:
        yield
    except NonFiniteError as error:
        raise NonFiniteError(error.what, int(index[error.index])) from None


def spread(trace: Trace, index: Tensor, size: int) -> Trace:
    """The trace of a subset of a batch as one of the batch: NaN, and a gradient, for the others."""
    values = trace.values.new_full((len(trace.values), size), torch.nan)
    values[:, index] = trace.values
    zero_gradient = torch.zeros(size, dtype=torch.bool, device=values.device)
    zero_gradient[index] = trace.zero_gradient
    return Trace(values, trace.travel, zero_gradient)


def looks(method: str, strength: Strength, noisy: bool) -> int:
    """How often one pgd run evaluates its objective: after the last step only where the best is kept."""
    return strength.restarts * (strength.steps + (not noisy)) + (method == "transfer")


def is_noisy(detector: Detector, objective: str) -> bool:
    """Whether an objective's gradient comes from noisy copies."""
    return detector.randomized and not objective.startswith("base")


def cost(detector: Detector, method: str, objective: str | None, strength: Strength) -> tuple[int, int]:
    """Network passes (forward, backward) that `suite` spends on an image that is never decided."""
    draws = strength.draws if detector.randomized else None
    names = objectives_of(detector, method, objective)
    parts = [(looks(method, strength, is_noisy(detector, name)), detector.passes(name, draws)) for name in names]
    scorings = (NOISE_DRAWS + 1) * (method == "noise")
    if method != "transfer":
        scorings += (1 + max(1, len(names))) * (SELECTION_DRAWS if detector.randomized else 1)
    parts.append((scorings, detector.score_passes()))
    return sum(n * f for n, (f, _) in parts), sum(n * b for n, (_, b) in parts)


def objectives_of(detector: Detector, method: str, objective: str | None) -> tuple[str, ...]:
    """The objectives that a method runs pgd on."""
    if method == "noise":
        return ()
    if method == "transfer":
        return ("base",) if "base" in detector.objectives else ("exact",)
    if objective is not None:
        return (objective,)
    return tuple(detector.objectives) if method == "suite" else ("exact",)


class Best:
    """Per image of a batch x, the candidate offered so far that the detector misjudges most; x itself is the first.

    A deterministic detector's candidates are compared by score. A randomised one's by their expected rank: the mean,
    over 8 draws that all candidates share, of the score's empirical distribution function (ties half) in `reference`;
    where that saturates, by the median score. An image is decided when all its scores are past all of `reference`:
    no AUROC can tell a further candidate from it.
    """

    def __init__(
        self,
        detector: Detector,
        x: Tensor,
        *,
        sign: int,
        stream: Callable[[], torch.Generator],
        reference: Tensor | None = None,
    ) -> None:
        self.detector, self.sign, self.stream = detector, sign, stream
        self.ranks = None if reference is None else reference.flatten().sort().values
        self.images = x
        self.winner = torch.zeros(len(x), dtype=torch.long, device=x.device)
        self.offers, self.scored = 0, 0
        """Candidates so far, and images scored for them."""
        self.scores = self._score(x)
        self.key = self._key(self.scores)

    def offer(self, candidates: Tensor, index: Tensor | None = None) -> None:
        """Compare the candidates of the images at `index`, default all, with the best so far; ties keep the old."""
        index = torch.arange(len(self.images), device=self.images.device) if index is None else index
        self.offers += 1
        if self.detector.randomized:  # noise is drawn for the whole batch, so that all candidates share it
            batch = self.images.clone()
            batch[index] = candidates
            scores = self._score(batch)[:, index]
        else:
            with indexed(index):
                scores = self._score(candidates)
        key = self._key(scores)
        old = self.key[:, index]
        wins = (key[0] > old[0]) | ((key[0] == old[0]) & (key[1] > old[1]))
        won = index[wins]
        self.images = self.images.index_copy(0, won, candidates[wins])
        self.scores[:, won], self.key[:, won], self.winner[won] = scores[:, wins], key[:, wins], self.offers

    @property
    def decided(self) -> Tensor:
        """(B,) bool."""
        if self.ranks is None:
            return torch.zeros_like(self.winner, dtype=torch.bool)
        return (self.scores < self.ranks[0] if self.sign < 0 else self.scores > self.ranks[-1]).all(0)

    @torch.no_grad()
    def _score(self, x: Tensor) -> Tensor:
        """(8, B) of a randomised detector, else (1, B)."""
        if self.detector.randomized:
            generator = self.stream()
            scores = torch.stack([self.detector(x, generator=generator) for _ in range(SELECTION_DRAWS)])
        else:
            scores = self.detector(x)[None]
        self.scored += scores.numel()
        for draw in scores:
            check_finite(draw)
        return scores

    def _key(self, scores: Tensor) -> Tensor:
        """(2, B), compared in this order, larger is better for the attacker."""
        median = scores.median(0).values
        rank = torch.zeros_like(median)
        if self.ranks is not None and self.detector.randomized:
            below = torch.searchsorted(self.ranks, scores) + torch.searchsorted(self.ranks, scores, right=True)
            rank = below.double().mean(0) / (2 * len(self.ranks))
        return self.sign * torch.stack([rank.double(), median.double()])


def select(
    detector: Detector,
    candidates: Sequence[Tensor],
    *,
    sign: int,
    stream: Callable[[], torch.Generator],
    reference: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Per image the best of the candidates (B, C, H, W) and its index (B,), compared as `Best` does."""
    best = Best(detector, candidates[0], sign=sign, stream=stream, reference=reference)
    for candidate in candidates[1:]:
        best.offer(candidate)
    return best.images, best.winner
