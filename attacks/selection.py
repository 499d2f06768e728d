"""Choosing among candidates, per image, on noise that neither attacks nor reports."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import comb

import torch
from torch import Tensor

from .seam import Detector, NonFiniteError, check_visited
from .trace import pick
from .waiting import renamed, sent

SELECTION_DRAWS = 8


def selection_draws(detector: Detector, tries: int, draws: int) -> int:
    """How many scores of a candidate are compared: 1; of a randomised detector `draws`, or as many as tries if more."""
    return max(draws, tries) if detector.randomized else 1


class Best:
    """Per image of a batch x, the candidate offered so far that the detector misjudges most; x itself is the first.

    A deterministic detector's candidates are compared by score. A randomised one's by their expected rank: the mean,
    over `draws` that all candidates share, of the score's empirical distribution function (ties half) in `reference`;
    where that saturates, by the median score. Of an adversary with `tries` submissions it is the expected rank of the
    best of them. An image is decided when all its scores are past all of `reference`: no AUROC of
    these scores can tell a further candidate from it.
    """

    def __init__(
        self,
        detector: Detector,
        x: Tensor,
        *,
        sign: int,
        stream: Callable[[], torch.Generator],
        reference: Tensor | None = None,
        tries: int = 1,
        draws: int = SELECTION_DRAWS,
    ) -> None:
        self.detector, self.sign, self.stream = detector, sign, stream
        draws = selection_draws(detector, tries, draws)
        self.weights = best_of(tries, draws, x.device) if detector.randomized else None
        self.ranks = None if reference is None else reference.to(x.device).flatten().sort().values
        self.images = x
        self.winner = torch.zeros(len(x), dtype=torch.long, device=x.device)
        self.component, self.scored = 0, 0
        """What `winner` notes for the next offers, and the images scored so far."""
        self.scores = self._score(x)
        self.key = self._key(self.scores)

    def offer(self, candidates: Tensor, index: Tensor | None = None) -> None:
        """Compare the candidates of the images at `index`, default all, with the best so far; ties keep the old."""
        index = torch.arange(len(self.images), device=self.images.device) if index is None else index
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
        kept = pick(wins, candidates, self.images[index])
        self.images = self.images.index_copy(0, index, kept)
        self.scores[:, index] = torch.where(wins, scores, self.scores[:, index])
        self.key[:, index] = torch.where(wins, key, old)
        self.winner[index] = torch.where(wins, self.component, self.winner[index])

    @property
    def decided(self) -> Tensor:
        """(B,) bool."""
        if self.ranks is None:
            return torch.zeros_like(self.winner, dtype=torch.bool)
        return (self.scores < self.ranks[0] if self.sign < 0 else self.scores > self.ranks[-1]).all(0)

    @torch.no_grad()
    def _score(self, x: Tensor) -> Tensor:
        """(draws, B) of a randomised detector, else (1, B)."""
        if self.weights is not None:
            generator = self.stream()
            scores = torch.stack([self.detector(x, generator=generator) for _ in range(len(self.weights))])
        else:
            scores = self.detector(x)[None]
        self.scored += scores.numel()
        check_visited(scores)
        return scores

    def _key(self, scores: Tensor) -> Tensor:
        """(2, B), compared in this order, larger is better for the attacker."""
        median = scores.median(0).values.double()
        expected = torch.zeros_like(median)
        if self.ranks is not None and self.weights is not None:
            expected = self.weights @ rank(scores, self.ranks).sort(0, descending=self.sign > 0).values
        return self.sign * torch.stack([expected, median])


def rank(scores: Tensor, ordered: Tensor) -> Tensor:
    """The share of ordered scores (m,) below each score, ties half, in float64."""
    below = torch.searchsorted(ordered, scores) + torch.searchsorted(ordered, scores, right=True)
    return below.double() / (2 * len(ordered))


def best_of(tries: int, draws: int, device: torch.device) -> Tensor:
    """Weights (draws,) of draws sorted best first whose sum is the expected best of `tries` of them.

    The i-th best is the best of a random subset of q with probability C(n - i, q - 1) / C(n, q); 1 / n for q = 1.
    """
    weights = [comb(draws - i, tries - 1) / comb(draws, tries) for i in range(1, draws + 1)]
    return sent(weights, device, torch.double)


def select(
    detector: Detector,
    candidates: Sequence[Tensor],
    *,
    sign: int,
    stream: Callable[[], torch.Generator],
    reference: Tensor | None = None,
    tries: int = 1,
) -> tuple[Tensor, Tensor]:
    """Per image the best of the candidates (B, C, H, W) and its index (B,), compared as `Best` does."""
    best = Best(detector, candidates[0], sign=sign, stream=stream, reference=reference, tries=tries)
    for number, candidate in enumerate(candidates[1:], 1):
        if candidate.shape != candidates[0].shape:
            shapes = tuple(candidate.shape), tuple(candidates[0].shape)
            raise ValueError(f"candidate {number} is {shapes[0]}: expected the shape of the first, {shapes[1]}")
        best.component = number
        best.offer(candidate)
    return best.images, best.winner


@contextmanager
def indexed(index: Tensor) -> Iterator[None]:
    """Let a NonFiniteError about a subset of a batch name the image's place in the batch."""

    def named(error: NonFiniteError) -> NonFiniteError:
        return NonFiniteError(error.what, int(index[error.index]))

    with renamed(NonFiniteError, named):
        yield
