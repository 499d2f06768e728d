"""A fitted smoothed detector on a benchmark: noisy scores, attacks, bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from attacks import AttackPlan, Direction
from detectors import Smoothed

from ..data import Benchmark, ImageSet
from ..engine.errors import EvaluationError
from ..engine.worker import Worker
from ..evaluation.attacker import Attacker
from ..evaluation.behaviour import scores_of
from ..evaluation.checks import REPEATABLE
from ..evaluation.company import check_scores, forgotten
from ..evaluation.evaluator import Evaluator
from ..metrics.deployed import at_knots
from ..metrics.gain import Bounds
from ..metrics.gauroc import image_alpha
from ..models import Classifier
from ..setup.network import TOLERANCE as NETWORK
from ..setup.network import check_function
from ..setup.setting import plan_of
from ..store.cells import Cell
from ..store.identity import code_version, identity, tensor_hash
from .config import CertifyConfig
from .evidence import Evidence, Scope, Together
from .operating import Operating, fixed, validation_of
from .population import PARTS, Scored, bounds_of, population, predicted_of, slack_of, spread_of, too_small
from .sampling import BLOCK, drawn_again, noisy_scores, rounding, sampler_of, shifted

AGAIN = 4
"""Times the rounding that was seen, by which a score may differ in another batch."""
NOISY = 4
"""Images of a set that the network sees with noise, alone and together, before and after all others."""


class Certifier:
    """A fitted smoothed detector on a benchmark: noisy scores, attacks, bounds, rows (docs/theorems.md, T13).

    `seed` is that of the noise under the bounds, `plain` the network as it was loaded.
    """

    def __init__(
        self,
        detector: Smoothed,
        bench: Benchmark,
        config: CertifyConfig,
        radii: Mapping[float, float],
        *,
        seed: int = 0,
        plain: Classifier | None = None,
        **settings: Any,
    ) -> None:
        self.detector, self.bench, self.config, self.radii = detector, bench, config, radii
        worker = Worker(detector, seed=config.run.seed, key=identity(detector), **settings)
        self.evaluator, self.worker = Evaluator(worker, bench), worker
        bare = sampler_of(detector)
        self.sampler = Worker(bare, seed=seed, key=identity(bare), **settings)
        if self.sampler.store is not None:
            self.sampler.key["behaviour"] = scores_of(Attacker(self.sampler), bench)
        self.sets = {bench.id_test.name: bench.id_test, **bench.ood}
        self.scope = Scope.of(bench, config)
        self.alpha = config.alpha / self.scope.images
        self.plain, self.slack = plain, 0.0
        self.validation: Scored | None = None
        """The ID validation images that fixed the threshold; None where it was given, or before `clean`."""
        self.passes: list[dict[str, Any]] = []
        """Of the attacks: population, l2 radius, network passes [forward, backward] per image."""

    def scored(self, images: ImageSet, deployed: np.ndarray, attacked: Tensor | None = None) -> Scored:
        raw = noisy_scores(self.sampler, images, self.config.samples, attacked=attacked)
        parts = np.stack([population(self.detector, part) for part in np.array_split(raw, PARTS, axis=1)])
        y = np.sort(raw, axis=1)
        return Scored(images, y, population(self.detector, y), parts, deployed, raw[:, ::BLOCK])

    def clean(self) -> dict[str, Scored]:
        """Every population as it is, by name, and the ID validation images, if they fix the threshold.

        ValueError for an eta that is too small beside the scores.
        """
        check_scores(self.evaluator, list(self.sets.values()))
        self.before = self.noisy_logits()

        def scored(images: ImageSet) -> Scored:
            return self.scored(images, self.evaluator.clean(images).scores.double().numpy())

        found = self.worker.each([partial(scored, images) for images in self.sets.values()])
        validation = validation_of(self.bench, self.config)
        if validation is not None:
            self.validation = self.scored(validation, np.empty(0))
        samples = [each.y for each in found]
        seen = max(rounding(self.sampler, self.plain, images) for images in self.sets.values())
        self.slack = slack_of(samples, seen)
        wrong = too_small(self.detector, spread_of(samples), self.slack)
        if wrong is not None:
            raise ValueError(wrong)
        return dict(zip(self.sets, found, strict=True))

    def noisy_logits(self) -> Tensor:
        """The network's logits of a few noisy images of every set; ValueError where they depend on others or on chance.

        A part of it, such as a denoiser, may look at noise alone.
        """
        net, device = cast(Classifier, self.sampler.detector.network), self.worker.device
        x = torch.cat([images.shard(0, NOISY) for images in self.sets.values()]).to(device)
        generator = self.worker.stream("certify/noisy", "", 0)
        x = x + self.detector.sigma * torch.randn(x.shape, generator=generator, device=generator.device).to(x)
        check_function(self.plain or net, x)
        with torch.no_grad():
            return net(x)

    def check_again(self, found: Mapping[str, Scored]) -> None:
        """ValueError where scores have changed since they were drawn: run after everything else, and never kept.

        Clean scores, the network's logits of noisy images, and of every block of draws a copy of one shard's images.
        """
        label, expected = self.detector.label, "expected a function of one image, that remembers nothing"
        changed = float((self.noisy_logits() - self.before).abs().max() / self.before.abs().max().clamp_min(1e-12))
        if not changed <= NETWORK:
            name = cast(Classifier, self.detector.network).name
            said = f"network {name} gives noisy images other logits than before (by {changed:.2g} of the largest)"
            raise ValueError(f"{said}: {expected}")
        scored = [*found.values(), *([] if self.validation is None else [self.validation])]
        spread, slack = spread_of([each.y for each in scored]), AGAIN * self.slack
        for each in reversed(scored):
            gap = drawn_again(self.sampler, each.images, each.first)
            if (most := float(gap.max())) > max(slack, NETWORK * spread):
                said = f"{label} gives noisy images of {each.images.name} other scores than before, by {most:.2g}"
                raise ValueError(f"{said}: {expected}")
        if (most := forgotten(self.evaluator, list(self.sets.values()))) > REPEATABLE:
            raise ValueError(f"{label} scores the same images differently at the end, by {most:.2g}: {expected}")

    def attack(self, found: Mapping[str, Scored]) -> None:
        """Move every population by the l2 suite at every radius and score it as the clean one, on the same noise.

        The suite attacks the detector as deployed, through noise of its own; of its image and the clean one the
        adversary takes the one that the population form misjudges more.
        """
        references, run = self.evaluator.references(), self.config.run

        def attacked(images: ImageSet, radius: float) -> tuple[Scored, list[float]]:
            direction: Direction = "min" if images is self.bench.id_test else "max"
            plan = plan_of(
                self.bench, eps=radius, norm="l2", strength=run.strength, steps=run.steps, restarts=run.restarts
            )
            plan = self.evaluator.within(plan, run.budget)
            moved, deployed, passes = self.attacked_images(images, direction, plan, references[direction])
            scored = self.scored(images, deployed.double().numpy(), moved)
            return found[images.name].worse(scored, lower=direction == "min"), passes

        targets = [(images, radius) for radius in self.radii.values() for images in self.sets.values()]
        results = self.worker.each([partial(attacked, *target) for target in targets])
        for (images, radius), (scored, passes) in zip(targets, results, strict=True):
            found[images.name].attacked[radius] = scored
            self.passes.append({"population": images.name, "radius_l2": radius, "passes": passes})

    def attacked_images(
        self, images: ImageSet, direction: Direction, plan: AttackPlan, reference: Tensor
    ) -> tuple[Tensor, Tensor, list[float]]:
        """The images (n, C, H, W) that the suite makes, their scores by the deployed detector (10, n), and its passes
        [forward, backward] per image."""
        attacker, draws = self.evaluator.attacker, self.evaluator.sized(plan)

        def attack(shard: int, x: Tensor) -> Cell:
            suite = attacker.find(x, images.name, shard, direction, plan, reference, draws)
            excess = plan.threat.violation(suite.images, x)
            if excess > 1e-5:
                raise EvaluationError(f"an attacked image of {images.name} leaves the ball by {excess:.2g}")
            scores = attacker.rescored(suite.images, images.name, shard, direction, plan)
            return {"images": suite.images.cpu(), "scores": scores}, {"passes": suite.passes}

        what = {
            "condition": f"images {direction}",
            "plan": asdict(plan),
            "reference": tensor_hash(reference),
            "draws": draws,
            "gradients": self.evaluator.gradients(plan, images),
            "certifier": code_version("roodbench/certify/certifier.py"),
        }
        cells = self.worker.map(images, what, f"{images.name} {direction} {plan.threat.eps:.3g}", attack)
        sizes = np.array([len(tensors["images"]) for tensors, _ in cells])
        passes = (sizes @ np.array([facts["passes"] for _, facts in cells]) / sizes.sum()).tolist()
        moved = torch.cat([part["images"] for part, _ in cells])
        return moved, torch.cat([part["scores"] for part, _ in cells], 1), passes

    def bounds(self, found: Scored, radius: float, kind: str = "bounds") -> Bounds:
        """Of a kind (`KINDS`) within an l2 radius; computed once."""
        if (radius, kind) not in found.bounds:
            r, slack = shifted(radius, self.detector.sigma, self.scope.dimension), self.slack
            if kind == "predicted":
                found.bounds[radius, kind] = predicted_of(self.detector, found.y, r, self.alpha, slack=slack)
            else:
                alpha = image_alpha(len(found.images), self.config.alpha) if kind == "counted" else self.alpha
                found.bounds[radius, kind] = bounds_of(self.detector, found.y, r, alpha, slack=slack)
        return found.bounds[radius, kind]

    def evidence(self, found: Scored) -> Evidence:
        """What of a population enters the certified metrics."""
        return Evidence(found.images, lambda kind, radius: self.bounds(found, radius, kind)[:2], at_knots(found.y))

    def operating(self, evidence: Mapping[str, Evidence]) -> Operating:
        """The detector at its threshold, from the evidence of every population by name."""
        scores = None if self.validation is None else self.validation.clean
        others = {name: evidence[name] for name in self.bench.ood}
        at_once = Together(self.detector, self.config, self.scope, self.slack)
        return Operating(at_once, fixed(self.config, scores), evidence[self.bench.id_test.name], others)
