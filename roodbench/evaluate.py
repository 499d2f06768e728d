"""From a fitted detector and a benchmark to scores per population and condition."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

import attacks
from attacks import STRENGTHS, Strength, ThreatModel
from detectors import Classifier, Detector, Smoothed

from .data import SHARD, Benchmark, ImageSet
from .store import Cell, Store

REPORT_DRAWS = 10
REFERENCE_DRAWS = 2
DIRECTIONS = {"none": (), "min": ("min",), "max": ("max",), "both": ("min", "max")}


class EvaluationError(RuntimeError):
    """A run that cannot go on; the message names the detector and the image."""


class Progress(Protocol):
    """Where progress goes: a context that gives a function to call with the number of images just finished."""

    def __call__(self, label: str, total: int) -> AbstractContextManager[Callable[[int], None]]: ...


def silent(label: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
    return nullcontext(lambda n: None)


@dataclass(frozen=True)
class AttackPlan:
    """One adversary: its ball, its method and what it may spend."""

    threat: ThreatModel
    method: str = "suite"
    objective: str | None = None
    strength: Strength = STRENGTHS["quick"]


@dataclass(frozen=True)
class Population:
    """Scores (R, n) of one image set under one condition, on R report draws."""

    scores: Tensor
    reference: Tensor | None = None
    """Clean only: scores on the selection's noise, (2, n)."""
    instability: Tensor | None = None
    """Clean, smoothed detectors only: D of every image on one draw, (n,)."""
    winner: Tensor | None = None
    """Attacked only: per image the index of the component that won it."""
    zero_gradient: Tensor | None = None
    """Attacked only: (attacks, n), whether the gradient vanished at the random start."""
    components: tuple[str, ...] = ()
    passes: tuple[int, int] = (0, 0)
    excess: float = 0.0
    """How far the worst image leaves the ball or the bounds."""


@dataclass(frozen=True)
class Evaluated:
    """Everything one detector scored: populations by (name, condition), condition clean, min or max."""

    detector: Detector
    bench: Benchmark
    populations: dict[tuple[str, str], Population]
    plan: AttackPlan | None
    id_accuracy: float | None
    shifted_accuracy: dict[str, float] = field(default_factory=dict)
    search: dict[str, Any] = field(default_factory=dict)
    """How the parameters were chosen; empty without a search."""
    unrepeatable: float = 0.0
    """Largest relative difference between two scorings of the first shard, for a detector that is not `randomized`."""


def stream(seed: int, name: str, population: str, shard: int, device: torch.device) -> torch.Generator:
    """The generator of one use of randomness; other names, populations and shards get unrelated ones."""
    digest = hashlib.sha256(f"{seed}/{name}/{population}/{shard}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def base_of(detector: Detector) -> Detector | None:
    """The score a detector wraps, None where it wraps none."""
    base = getattr(detector, "base", None)
    return base if isinstance(base, Detector) else None


def label_of(detector: Detector) -> str:
    """`ross(gen)` for ross over gen, `gen` for gen alone."""
    base, name = base_of(detector), detector.name or type(detector).__name__
    return name if base is None else f"{name}({label_of(base)})"


def network_of(detector: Detector) -> Classifier | None:
    """The network below a detector, None for one that does not show it as `net`."""
    base = base_of(detector)
    return getattr(detector, "net", None) if base is None else network_of(base)


class Evaluator:
    """Scores and attacks the populations of one benchmark for one fitted detector; finished ones are kept in `store`.

    `key` is what besides data, plan and code decides the scores: network and detector, as hashes or settings.
    """

    def __init__(
        self,
        detector: Detector,
        bench: Benchmark,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
        store: Store | None = None,
        key: dict[str, Any] | None = None,
        progress: Progress = silent,
    ) -> None:
        self.detector, self.bench, self.seed, self.device = detector, bench, seed, torch.device(device)
        self.store, self.progress = store, progress
        self.key = {**(key or {}), "seed": seed, "device": self.device.type, "torch": torch.__version__}

    def run(self, attack: str, plan: AttackPlan) -> Evaluated:
        """Clean scores of every population, and attacked ones of ID (`min`), OOD (`max`) or both."""
        bench, directions = self.bench, DIRECTIONS[attack]
        everything = [bench.id_test, *bench.ood.values(), *bench.shifted.values()]
        done = {(images.name, "clean"): self.clean(images) for images in everything}
        id_reference = done[bench.id_test.name, "clean"].reference
        ood_reference = torch.cat([done[name, "clean"].reference for name in bench.ood], 1)  # type: ignore[misc]
        if "min" in directions:
            done[bench.id_test.name, "min"] = self.attacked(bench.id_test, "min", plan, ood_reference)
        if "max" in directions:
            for name, images in bench.ood.items():
                done[name, "max"] = self.attacked(images, "max", plan, id_reference)  # type: ignore[arg-type]
        unrepeatable = self.unrepeatable(bench.id_test)
        shifted = {name: self.accuracy(images) for name, images in bench.shifted.items()}
        return Evaluated(
            self.detector,
            bench,
            done,
            plan if directions else None,
            self.accuracy(bench.id_test),
            {name: accuracy for name, accuracy in shifted.items() if accuracy is not None},
            unrepeatable=unrepeatable,
        )

    def clean(self, images: ImageSet) -> Population:
        """Scores of the images as they are."""

        def compute() -> Cell:
            parts: dict[str, list[Tensor]] = {"scores": [], "reference": [], "instability": []}
            for shard, x in self._shards(images, "clean"):
                with self._naming(images, shard):
                    parts["scores"].append(self._scores(x, images, shard, "report", REPORT_DRAWS))
                    parts["reference"].append(self._scores(x, images, shard, "reference", REFERENCE_DRAWS))
                if isinstance(self.detector, Smoothed):
                    generator = stream(self.seed, "instability", images.name, shard, self.device)
                    with torch.no_grad():
                        parts["instability"].append(self.detector.instability(x, generator=generator).cpu())
            return {name: torch.cat(part, -1) for name, part in parts.items() if part}, {}

        tensors, _ = self._cell(images, {"condition": "clean"}, compute)
        return Population(**tensors)  # type: ignore[arg-type]

    def attacked(
        self, images: ImageSet, direction: Literal["min", "max"], plan: AttackPlan, reference: Tensor
    ) -> Population:
        """Scores of the attacked images, on the same report noise as the clean ones.

        `reference` (2, m) are the clean scores of the opposing population by which candidates are compared.
        """

        def compute() -> Cell:
            parts, excess = [], 0.0
            for shard, x in self._shards(images, direction):
                with self._naming(images, shard):
                    found = attacks.suite(
                        self.detector,
                        x,
                        plan.threat,
                        sign=-1 if direction == "min" else 1,
                        streams=lambda name, shard=shard: stream(self.seed, name, images.name, shard, self.device),  # type: ignore[misc]
                        method=plan.method,
                        objective=plan.objective,
                        strength=plan.strength,
                        reference=reference.to(x.device),
                    )
                    scores = self._scores(found.images, images, shard, "report", REPORT_DRAWS)
                excess = max(excess, plan.threat.violation(found.images, x))
                zero = torch.stack([trace.zero_gradient for trace in found.traces.values()])
                parts.append((scores, found.winner[None].cpu(), zero.cpu()))
            scores, winner, zero = (torch.cat(part, 1) for part in zip(*parts, strict=True))
            facts = {"components": found.components, "passes": found.passes, "excess": excess}
            return {"scores": scores, "winner": winner[0], "zero_gradient": zero}, facts

        what = {
            "condition": direction,
            "plan": asdict(plan),
            "reference": hash_of(reference) if self.detector.randomized else None,
        }
        tensors, facts = self._cell(images, what, compute)
        return Population(
            **tensors,
            components=tuple(facts["components"]),
            passes=(facts["passes"][0], facts["passes"][1]),
            excess=facts["excess"],
        )

    @torch.no_grad()
    def unrepeatable(self, images: ImageSet) -> float:
        """How much scores differ when a detector that claims not to be random scores the same images five times."""
        if self.detector.randomized:
            return 0.0
        x = images.shard(0, min(SHARD, len(images))).to(self.device)
        scores = torch.stack([self.detector(x) for _ in range(5)]).double()
        gap = (scores.amax(0) - scores.amin(0)) / scores.abs().amax(0).clamp_min(1e-12)
        return float(gap.max())

    @torch.no_grad()
    def accuracy(self, images: ImageSet) -> float | None:
        """Share of ID images that the network below the detector classifies correctly, None where it shows none."""
        net = network_of(self.detector)
        if net is None:
            return None
        predicted = torch.cat([net(x.to(self.device)).argmax(1).cpu() for _, x in images.shards()])
        return float((predicted == images.labels).double().mean())

    @contextmanager
    def _naming(self, images: ImageSet, shard: int) -> Iterator[None]:
        """Let a non-finite score or gradient name the detector, the population and the image."""
        try:
            yield
        except attacks.NonFiniteError as error:
            index = SHARD * shard + error.index
            where = f"{images.name}, index {index} ({images.names[index]})"
            raise EvaluationError(f"{label_of(self.detector)}: {error} on {where}") from None

    def _cell(self, images: ImageSet, what: dict[str, Any], compute: Callable[[], Cell]) -> Cell:
        if self.store is None:
            return compute()
        key = {**self.key, "images": images.name, "content": images.digest, "space": images.space, **what}
        kept = self.store.load(key)
        if kept is None:
            kept = compute()
            self.store.save(key, kept)
        return kept

    def _shards(self, images: ImageSet, what: str) -> Iterator[tuple[int, Tensor]]:
        label = label_of(self.detector)
        with self.progress(f"{label}, {images.name} {what}", len(images)) as advance:
            for shard, x in images.shards():
                yield shard, x.to(self.device)
                advance(len(x))

    @torch.no_grad()
    def _scores(self, x: Tensor, images: ImageSet, shard: int, name: str, draws: int) -> Tensor:
        """(draws, B) scores of a shard on the noise stream `name`; (1, B) for a deterministic detector."""
        if self.detector.randomized:
            generator = stream(self.seed, name, images.name, shard, self.device)
            rows = [self.detector(x, generator=generator) for _ in range(draws)]
        else:
            rows = [self.detector(x)]
        for row in rows:
            if row.shape != (len(x),):
                raise EvaluationError(
                    f"{label_of(self.detector)} gave scores of shape {tuple(row.shape)} for {len(x)} images: "
                    f"expected ({len(x)},)"
                )
            attacks.check_finite(row)
        return torch.stack(rows).cpu()


def hash_of(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.cpu().contiguous().numpy().tobytes()).hexdigest()[:24]
