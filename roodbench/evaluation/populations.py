"""What one detector scored: per population and condition, and all of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attacks import AttackPlan, Suite, component
from detectors import Classifier, Detector

from ..data import Benchmark, ImageSet
from ..engine.worker import joined
from ..metrics import Groups
from ..store.cells import Cell

PICTURES, LARGEST = 8, 2**21
"""Images of a set that are kept at most, and their bytes."""


@dataclass(frozen=True)
class Population:
    """Scores (R, n) of one image set under one condition, on R report draws."""

    scores: Tensor
    reference: Tensor | None = None
    """Clean only: scores on the selection's noise, (2, n)."""
    instability: Tensor | None = None
    """Clean, smoothed detectors only: D of every image on one draw, (n,)."""
    transfer: Tensor | None = None
    """Attacked only: scores like `scores` of the images of PGD on the base score alone, where the suite ran it."""
    equal: Population | None = None
    """Attacked only: what PGD on the base score alone makes of it for as many passes, where it ran."""
    winner: Tensor | None = None
    """Attacked only: per image the index of the component that won it."""
    origin: Tensor | None = None
    """Attacked only: like `winner`, but for what `refine` won the component from whose images it went on."""
    zero_gradient: Tensor | None = None
    """Attacked only: (attacks, n), whether the gradient vanished at the first start."""
    components: tuple[str, ...] = ()
    passes: tuple[float, float] = (0, 0)
    """Network passes (forward, backward) per image."""
    excess: float = 0.0
    """How far the worst image leaves the ball or the bounds."""
    travel: dict[str, float] = field(default_factory=dict)
    """Attacked only: sum of step sizes of every component that steps, the least over shards."""
    unrepeatable: float = 0.0
    """Attacked only: the largest relative difference between its scores and a repetition on the same noise."""
    late_gain: float | None = None
    """Attacked only, without noise: the mean share of the gradient attacks' gain that came in the last 10 steps; None
    where every last run was on a surrogate."""
    images: Tensor | None = None
    """Attacked only, where they are kept: the first of its images (k, C, H, W)."""
    unseen: float | None = None
    """Attacked only: share of images with a visited iterate better than the returned one; None where values on the way
    are not the reported scores: noise, bfloat16, 8-bit rounding."""


@dataclass(frozen=True)
class Evaluated:
    """Everything one detector scored: populations by (name, condition), condition clean, min or max."""

    detector: Detector
    bench: Benchmark
    populations: dict[tuple[str, str], Population]
    plan: AttackPlan | None
    search: dict[str, Any] = field(default_factory=dict)
    """How the parameters were chosen; empty without a search."""
    precision: str = "float32"
    """Of the attack's gradients; scores are float32."""
    cosines: dict[str, tuple[int, float]] = field(default_factory=dict)
    """Per noisy objective: copies per gradient, and the median cosine between halves of them."""
    checked: bool = False
    """Whether the indicators' own attacks ran."""
    asked: bool = True
    """Whether they were asked for; they are left out too where they cost more than the attack."""
    probe: dict[str, Any] = field(default_factory=dict)
    """Numbers and margins of the indicators that need attacks of their own."""
    unrepeatable: float = 0.0
    """Largest relative difference between scorings of the first shard on equal noise."""
    agreement: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Per ID set, shifted ones too: accuracy of the network that the detector shows, and the accuracy that its labels
    and the network's predictions would have if they knew nothing of each other."""
    uses_network: bool = True
    """Whether scores change with the parameters of that network."""

    def above_chance(self, name: str) -> float:
        """`above_chance` of the accuracy on an ID set."""
        bench = self.bench
        images = bench.id_test if name == bench.id_test.name else bench.shifted[name]
        return above_chance(*self.agreement[name], len(images))

    @property
    def network(self) -> Classifier | None:
        """The network that the detector scores by; None where it shows none, or does not use it."""
        return self.detector.network if self.uses_network else None

    @property
    def model(self) -> str | None:
        """The name of `network`, or of its class where it has none."""
        net = self.network
        return None if net is None else getattr(net, "name", None) or type(net).__name__

    @property
    def id_accuracy(self) -> float | None:
        """That of `network`."""
        return None if self.network is None else self.agreement[self.bench.id_test.name][0]

    @property
    def eps(self) -> float:
        """The attack's radius, 0 without one."""
        return 0.0 if self.plan is None else self.plan.threat.eps

    def scores(self, population: str, state: str) -> np.ndarray:
        """Report scores (R, n) in float64; where the adversary knows the draw, of that one."""
        known = self.plan is not None and self.plan.threat.knows_seed
        drawn = self.populations[population, state].scores.double().numpy()
        return drawn[:1] if known else drawn

    def groups(self, ood: str) -> Groups:
        """Which images of ID and of an OOD set are the same, or copies of one: intervals count them once, over several
        OOD sets too."""
        return self.bench.id_test.related, self.bench.groups_of_ood[ood]


def above_chance(accuracy: float, chance: float, n: int) -> float:
    """How far the accuracy on n images lies above what chance explains.

    That is 3 standard errors above chance, or a quarter of the way from chance to 1 where that is less: of ten images,
    an honest network of two classes would not reach 3 standard errors. 1 where all labels and predictions are one
    class, which says nothing.
    """
    if chance == 1:
        return 1.0
    return accuracy - chance - min(3 * (chance * (1 - chance) / n) ** 0.5, (1 - chance) / 4)


def pictures_of(images: ImageSet) -> int:
    """How many of a set's images are kept: the first few, and no more than 2 MB of them, but one."""
    return min(PICTURES, len(images), max(1, LARGEST // (4 * math.prod(images.shape))))


def kept_of(found: Suite, scores: Tensor, transfer: Tensor | None, sign: int) -> Cell:
    """What is kept of an attacked shard, for `population_of`: its scores (R, B), those of the base score's attack where
    it ran, and what its traces show.
    """
    late = found.late_gain(sign)
    tensors = {
        "scores": scores,
        "winner": found.winner,
        "origin": found.origin.clone(),  # without refine they are the winners
        "zero_gradient": torch.stack([trace.zero_gradient.float() for trace in found.traces.values()]),
        "late_gain": torch.full(scores.shape[1:], torch.nan, dtype=torch.float32) if late is None else late,
        **({} if transfer is None else {"transfer": transfer}),
    }
    facts = {
        "images": scores.shape[1],
        "components": found.components,
        "passes": found.passes,
        "travel": travels(found),
    }
    return {name: tensor.cpu() for name, tensor in tensors.items()}, facts


def travels(found: Suite) -> dict[str, float]:
    """The sum of step sizes of every component that starts at random and steps."""
    steps = {name: trace.travel for name, trace in found.traces.items() if component(name).starts_at_random}
    adapted = {name: step for name, step in steps.items() if isinstance(step, Tensor)}
    if adapted:
        steps |= zip(adapted, torch.stack(list(adapted.values())).tolist(), strict=True)
    return {name: float(step) for name, step in steps.items() if step}


def population_of(cells: Sequence[Cell]) -> Population:
    """An attacked population from its shards."""
    tensors, facts = joined(cells), [fact for _, fact in cells]
    total = sum(fact["images"] for fact in facts)
    unseen = [fact["unseen"] for fact in facts]
    travel: dict[str, float] = {}
    for name, steps in ((name, steps) for fact in facts for name, steps in fact["travel"].items()):
        travel[name] = min(travel.get(name, steps), steps)

    def spent(place: int) -> float:
        return sum(fact["images"] * fact["passes"][place] for fact in facts) / total

    late = tensors.pop("late_gain")
    return Population(
        **tensors,  # type: ignore[arg-type]
        components=tuple(facts[0]["components"]),
        passes=(spent(0), spent(1)),
        excess=max(fact["excess"] for fact in facts),
        travel=travel,
        unrepeatable=max(fact["unrepeatable"] for fact in facts),
        unseen=None if None in unseen else sum(unseen) / total,
        late_gain=None if late.isnan().all() else float(late.nanmean()),
    )
