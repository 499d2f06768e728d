"""From a fitted detector and a benchmark to scores per population and condition."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol, TypeVar, cast

import torch
from torch import Tensor

import attacks
from attacks import STRENGTHS, Strength, ThreatModel
from detectors import Detector, Smoothed

from . import models
from .data import SHARD, Benchmark, ImageSet
from .memory import within_memory
from .parts import label_of, network_of
from .prepare import HalfGradients
from .store import Cell, Store

T = TypeVar("T")
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
    passes: tuple[float, float] = (0, 0)
    """Network passes (forward, backward) per image."""
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
    precision: str = "float32"
    """Of the attack's gradients; scores are float32."""
    unrepeatable: float = 0.0
    """Largest relative difference between two scorings of the first shard, for a detector that is not `randomized`."""


def stream(seed: int, name: str, population: str, shard: int, device: torch.device) -> torch.Generator:
    """The generator of one use of randomness; other names, populations and shards get unrelated ones."""
    digest = hashlib.sha256(f"{seed}/{name}/{population}/{shard}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "big") >> 1)


class Evaluator:
    """Scores and attacks the populations of one benchmark for one fitted detector; finished ones are kept in `store`.

    `key` is what besides data, plan and code decides the scores: network and detector, as hashes or settings.
    `precision` bfloat16 computes the attack's gradients in it, on a prepared network.
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
        precision: str = "float32",
    ) -> None:
        self.precision = precision
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
            precision=self.precision,
            unrepeatable=unrepeatable,
        )

    def clean(self, images: ImageSet) -> Population:
        """Scores of the images as they are."""

        def compute() -> Cell:
            shards = [
                self._guarded(images, shard, lambda shard=shard, x=x: one(shard, x))  # type: ignore[misc]
                for shard, x in self._shards(images, "clean")
            ]
            return {name: torch.cat([part[name] for part in shards], -1) for name in shards[0]}, {}

        def one(shard: int, x: Tensor) -> dict[str, Tensor]:
            report = self._scores(x, images, shard, "report", REPORT_DRAWS)
            if not self.detector.randomized:
                return {"scores": report, "reference": report}
            parts = {"scores": report, "reference": self._scores(x, images, shard, "reference", REFERENCE_DRAWS)}
            if isinstance(self.detector, Smoothed):
                generator = stream(self.seed, "instability", images.name, shard, self.device)
                with torch.no_grad():
                    parts["instability"] = self.detector.instability(x, generator=generator).cpu()
            return parts

        tensors, _ = self._cell(images, {"condition": "clean"}, compute)
        return Population(**tensors)  # type: ignore[arg-type]

    def attacked(
        self, images: ImageSet, direction: Literal["min", "max"], plan: AttackPlan, reference: Tensor
    ) -> Population:
        """Scores of the attacked images, on the same report noise as the clean ones.

        `reference` (R, m) are the clean scores of the opposing population by which candidates are compared.
        """
        target: attacks.Detector = self.detector
        if self.precision == "bfloat16":
            target = HalfGradients(self.detector, cast(models.Classifier, network_of(self.detector)))

        def compute() -> Cell:
            parts, excess, passes = [], 0.0, torch.zeros(2, dtype=torch.double)
            for shard, x in self._shards(images, direction):
                found, scores = self._guarded(images, shard, lambda shard=shard, x=x: one(shard, x))  # type: ignore[misc]
                passes += len(x) * torch.tensor(found.passes, dtype=torch.double)
                excess = max(excess, plan.threat.violation(found.images, x))
                zero = torch.stack([trace.zero_gradient for trace in found.traces.values()])
                parts.append((scores.view(-1, len(x)).cpu(), found.winner[None].cpu(), zero.cpu()))
            scores, winner, zero = (torch.cat(part, 1) for part in zip(*parts, strict=True))
            facts = {"components": found.components, "passes": (passes / len(images)).tolist(), "excess": excess}
            return {"scores": scores, "winner": winner[0], "zero_gradient": zero}, facts

        def one(shard: int, x: Tensor) -> tuple[attacks.Suite, Tensor]:
            found = attacks.suite(
                target,
                x,
                plan.threat,
                sign=-1 if direction == "min" else 1,
                streams=lambda name: stream(self.seed, name, images.name, shard, self.device),
                method=plan.method,
                objective=plan.objective,
                strength=plan.strength,
                reference=reference.to(x.device),
            )
            if found.scores is not None:
                return found, found.scores
            return found, self._scores(found.images, images, shard, "report", REPORT_DRAWS)

        what = {
            "condition": direction,
            "plan": asdict(plan),
            "precision": self.precision,
            "reference": hash_of(reference),
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

    def _guarded(self, images: ImageSet, shard: int, compute: Callable[[], T]) -> T:
        """compute() in smaller passes where memory runs out; a non-finite score or gradient names its image.

        Noise comes from the shard's own streams and does not depend on the passes.
        """
        label = label_of(self.detector)
        try:
            return within_memory(compute, self.detector, label)
        except MemoryError as error:
            raise EvaluationError(str(error)) from None
        except attacks.NonFiniteError as error:
            index = SHARD * shard + error.index
            where = f"{images.name}, index {index} ({images.names[index]})"
            raise EvaluationError(f"{label}: {error} on {where}") from None

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
