"""From a fitted detector and a benchmark to scores per population and condition."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from functools import cached_property
from typing import Any, Protocol, TypeVar, cast

import torch
from torch import Tensor

import attacks
from detectors import Detector, Smoothed

from .attacker import Attacker, AttackPlan, Direction, EvaluationError, rests_on, stream
from .data import SHARD, Benchmark, ImageSet
from .evaluated import Evaluated, Population
from .memory import within_memory
from .parts import label_of, network_of
from .store import Cell, Store

T = TypeVar("T")
REFERENCE_DRAWS = 2
EOT_IMAGES = 16
"""On which the cosine of noisy gradients is measured."""
DIRECTIONS = {"none": (), "min": ("min",), "max": ("max",), "both": ("min", "max")}


class Progress(Protocol):
    """Where progress goes: a context that gives a function to call with the number of images just finished."""

    def __call__(self, label: str, total: int) -> AbstractContextManager[Callable[[int], None]]: ...


def silent(label: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
    return nullcontext(lambda n: None)


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
        self._cleaned: dict[str, Population] = {}
        self._copies: dict[str, dict[str, tuple[int, float]]] = {}
        self.detector, self.bench, self.seed, self.device = detector, bench, seed, torch.device(device)
        self.store, self.progress = store, progress
        self.key = {**(key or {}), "seed": seed, "device": self.device.type, "torch": torch.__version__}

    def run(self, attack: str, plan: AttackPlan, *, check: bool = True) -> Evaluated:
        """Clean scores of every population, and attacked ones of ID (`min`), OOD (`max`) or both.

        `check` also runs the attacks of the indicators (`probe`) on a few images.
        """
        from .probe import probe

        bench, directions = self.bench, DIRECTIONS[attack]
        everything = [bench.id_test, *bench.ood.values(), *bench.shifted.values()]
        done = {(images.name, "clean"): self.clean(images) for images in everything}
        id_reference = done[bench.id_test.name, "clean"].reference
        unrepeatable = self.unrepeatable(bench.id_test)
        ood_reference = torch.cat([done[name, "clean"].reference for name in bench.ood], 1)  # type: ignore[misc]
        if "min" in directions:
            done[bench.id_test.name, "min"] = self.attacked(bench.id_test, "min", plan, ood_reference)
        if "max" in directions:
            for name, images in bench.ood.items():
                done[name, "max"] = self.attacked(images, "max", plan, id_reference)  # type: ignore[arg-type]
        references: dict[Direction, Tensor] = {"min": ood_reference, "max": cast(Tensor, id_reference)}
        shifted = {name: self.accuracy(images) for name, images in bench.shifted.items()}
        return Evaluated(
            self.detector,
            bench,
            done,
            plan if directions else None,
            self.accuracy(bench.id_test),
            {name: accuracy for name, accuracy in shifted.items() if accuracy is not None},
            precision=self.precision,
            cosines=self.copies(plan) if directions else {},
            probe=probe(self, plan, references) if directions and check else {},
            unrepeatable=unrepeatable,
        )

    def clean(self, images: ImageSet) -> Population:
        """Scores of the images as they are."""
        plain = Attacker(self.detector, seed=self.seed, device=self.device)

        def compute() -> Cell:
            shards = [
                self.guarded(images, shard, lambda shard=shard, x=x: one(shard, x))  # type: ignore[misc]
                for shard, x in self._shards(images, "clean")
            ]
            return {name: torch.cat([part[name] for part in shards], -1) for name in shards[0]}, {}

        def one(shard: int, x: Tensor) -> dict[str, Tensor]:
            report = plain.scores(x, images.name, shard)
            if not self.detector.randomized:
                return {"scores": report, "reference": report}
            parts = {"scores": report, "reference": plain.scores(x, images.name, shard, "reference", REFERENCE_DRAWS)}
            if isinstance(self.detector, Smoothed):
                generator = stream(self.seed, "instability", images.name, shard, self.device)
                with torch.no_grad():
                    parts["instability"] = self.detector.instability(x, generator=generator).cpu()
            return parts

        if images.name not in self._cleaned:
            tensors, _ = self.cell(images, {"condition": "clean"}, compute)
            self._cleaned[images.name] = Population(**tensors)  # type: ignore[arg-type]
        return self._cleaned[images.name]

    def attacked(self, images: ImageSet, direction: Direction, plan: AttackPlan, reference: Tensor) -> Population:
        """Scores of the attacked images, on the same report noise as the clean ones.

        `reference` (R, m) are the clean scores of the opposing population by which candidates are compared.
        """

        def compute() -> Cell:
            copies = {name: n for name, (n, _) in self.copies(plan).items()}
            parts, excess, passes = [], 0.0, torch.zeros(2, dtype=torch.double)
            unseen: list[int | None] = []
            moved: list[Tensor] = []
            travel: dict[str, float] = {}
            sign = -1 if direction == "min" else 1
            for shard, x in self._shards(images, direction):
                found, tensors = self.guarded(images, shard, lambda shard=shard, x=x: one(shard, x, copies))  # type: ignore[misc]
                passes += len(x) * torch.tensor(found.passes, dtype=torch.double)
                excess = max(excess, plan.threat.violation(found.images, x))
                exact = self.precision == "float32" and not plan.quantize
                unseen.append(found.unseen(sign) if exact else None)
                moved += [share for share in [found.moved(sign)] if share is not None]
                for name, trace in found.traces.items():
                    if name.startswith(("pgd:", "apgd:")) and trace.travel:
                        travel[name] = min(travel.get(name, trace.travel), trace.travel)
                parts.append({name: tensor.cpu() for name, tensor in tensors.items()})
            facts = {
                "components": found.components,
                "passes": (passes / len(images)).tolist(),
                "excess": excess,
                "unseen": None if None in unseen else sum(unseen) / len(images),  # type: ignore[arg-type]
                "travel": travel,
                "moved": float(torch.cat(moved).mean()) if moved else None,
            }
            return {name: torch.cat([part[name] for part in parts], -1) for name in parts[0]}, facts

        def one(shard: int, x: Tensor, copies: dict[str, int]) -> tuple[attacks.Suite, dict[str, Tensor]]:
            found = self.attacker.find(x, images.name, shard, direction, plan, reference, copies)
            # never the scores that chose the images: a detector may hide noise
            scores = self.attacker.rescored(found.images, images.name, shard, direction, plan)
            zero = [trace.zero_gradient for trace in found.traces.values()]
            tensors = {"winner": found.winner, "zero_gradient": torch.stack(zero), "scores": scores}
            if found.transfer is found.images:
                tensors["transfer"] = tensors["scores"].clone()
            elif found.transfer is not None:
                tensors["transfer"] = self.attacker.rescored(found.transfer, images.name, shard, direction, plan)
            return found, tensors

        what = {
            "condition": direction,
            "plan": asdict(plan),
            "precision": self.precision,
            "reference": hash_of(reference),
        }
        tensors, facts = self.cell(images, what, compute)
        return Population(
            **tensors,
            components=tuple(facts["components"]),
            passes=(facts["passes"][0], facts["passes"][1]),
            excess=facts["excess"],
            travel=facts["travel"],
            unseen=facts["unseen"],
            moved=facts["moved"],
        )

    def copies(self, plan: AttackPlan) -> dict[str, tuple[int, float]]:
        """`Attacker.copies` on the first ID test images."""
        names = self.attacker.noisy(plan)
        if not names:
            return {}
        images = self.bench.id_test

        def compute() -> Cell:
            x = images.shard(0, min(EOT_IMAGES, len(images))).to(self.device)
            found = self.guarded(images, 0, lambda: self.attacker.copies(x, images.name, plan))
            return {"copies": torch.tensor([n for n, _ in found.values()])}, {"cosine": [c for _, c in found.values()]}

        what = {
            "condition": "copies",
            "threat": asdict(plan.threat),
            "draws": plan.strength.draws,
            "compared": None if plan.strength.draws is None else rests_on(plan.strength.draws, plan),
            "objectives": names,
        }
        key = repr(what)
        if key not in self._copies:
            tensors, facts = self.cell(images, what, compute)
            numbers = zip(tensors["copies"].tolist(), facts["cosine"], strict=True)
            self._copies[key] = dict(zip(names, numbers, strict=True))
        return self._copies[key]

    @cached_property
    def attacker(self) -> Attacker:
        """The adversary, to whom other libraries' view of the detector is that of the clean scores."""
        id_scores, *ood_scores = (self.clean(s).scores[0] for s in (self.bench.id_test, *self.bench.ood.values()))
        view = attacks.view_of(id_scores, torch.cat(ood_scores))
        return Attacker(self.detector, seed=self.seed, device=self.device, precision=self.precision, view=view)

    @torch.no_grad()
    def unrepeatable(self, images: ImageSet) -> float:
        """How much five scorings of the same images differ, of a randomised detector with equal generators."""
        plain = Attacker(self.detector, seed=self.seed, device=self.device)

        def compute() -> Cell:
            x = images.shard(0, min(SHARD, len(images))).to(self.device)
            scores = torch.cat([plain.scores(x, images.name, 0, "repeat", 1) for _ in range(5)]).double()
            gap = (scores.amax(0) - scores.amin(0)) / scores.abs().amax(0).clamp_min(1e-12)
            return {"gap": gap.max()}, {}

        return float(self.cell(images, {"condition": "repeated"}, compute)[0]["gap"])

    @torch.no_grad()
    def accuracy(self, images: ImageSet) -> float | None:
        """Share of ID images that the network below the detector classifies correctly, None where it shows none."""
        net = network_of(self.detector)
        if net is None:
            return None
        predicted = torch.cat([net(x.to(self.device)).argmax(1).cpu() for _, x in images.shards()])
        return float((predicted == images.labels).double().mean())

    def guarded(self, images: ImageSet, shard: int, compute: Callable[[], T]) -> T:
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

    def cell(self, images: ImageSet, what: dict[str, Any], compute: Callable[[], Cell]) -> Cell:
        """What `compute` gives, from the store where it was computed before."""
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


def hash_of(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.cpu().contiguous().numpy().tobytes()).hexdigest()[:24]
