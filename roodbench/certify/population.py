"""A smoothed detector in its population form: noisy scores, attacks on them, certified bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from detectors import ROSS, ROSSQ, Median, Smoothed

from ..attacker import AttackPlan, Direction, EvaluationError
from ..config import plan_of
from ..data import SHARD, Benchmark, ImageSet
from ..evaluate import Evaluator, hash_of
from ..parts import label_of
from ..run import identity
from .bounds import Bounds, Gain, median_bounds, ross_bounds, ross_q_bounds
from .config import CERTIFIABLE, CertifyConfig
from .sampling import noisy_scores, sampler_of

PARTS = 8
"""Into which the draws are cut to measure the noise of a population's AUROC."""


@dataclass
class Scored:
    """One population: sorted noisy scores (n, N) and what the detector makes of them, clean and per radius attacked."""

    images: ImageSet
    y: np.ndarray
    clean: np.ndarray
    """The population's score (n,): of all N copies."""
    parts: np.ndarray
    """(8, n): the same from an eighth of the copies each."""
    deployed: np.ndarray
    """(10, n): scores of the detector as it is deployed, on ten draws of its own copies."""
    attacked: dict[float, Scored] = field(default_factory=dict)
    """By l2 radius, of the images moved by the suite."""
    bounds: dict[tuple[float, float], Bounds] = field(default_factory=dict)
    """By l2 radius and alpha."""

    def worse(self, moved: Scored, *, lower: bool) -> Scored:
        """Per image this or the moved one, whichever the adversary prefers; `deployed` is the moved one's."""
        gain = moved.clean < self.clean if lower else moved.clean > self.clean
        y = np.where(gain[:, None], moved.y, self.y)
        return Scored(
            self.images,
            y,
            np.where(gain, moved.clean, self.clean),
            np.where(gain, moved.parts, self.parts),
            moved.deployed,
        )


def check_certifiable(detector: Smoothed) -> None:
    """ValueError for a detector that has no certificate, saying why."""
    if not isinstance(detector, ROSS | Median):
        raise ValueError(f"{label_of(detector)} has no certificate: expected one of {', '.join(CERTIFIABLE)}")
    if isinstance(detector, ROSS) and not detector.floored:
        raise ValueError(f"{label_of(detector)}: D + eta has no certificate, give floored=True and eta, as 1e-3")
    bounded = np.isfinite(detector.base.extremes()).all()
    if isinstance(detector, ROSS) and not isinstance(detector, ROSSQ) and not bounded:
        name = detector.base.name
        raise ValueError(
            f"{label_of(detector)} has no certificate: {name} is unbounded; take ross-q, or base msp, msp-t, ent, gen"
        )


def gain_of(detector: ROSS) -> Gain:
    """The g(m, D) of a fitted ROSS or ROSS-Q."""
    return Gain(detector.fitted()["tau"], detector.gain, detector.eta)


def bounds_of(detector: Smoothed, y: np.ndarray, r: float, alpha: float, *, confident: bool = True) -> Bounds:
    """Certified bounds of a fitted detector in its population form, from sorted scores (n, N); r = radius / sigma."""
    check_certifiable(detector)
    extremes = detector.base.extremes()
    if not isinstance(detector, ROSS):
        return median_bounds(y, r, alpha, extremes, confident=confident)
    gain = gain_of(detector)
    if isinstance(detector, ROSSQ):
        return ross_q_bounds(y, r, alpha, gain, extremes, tail=detector.tail, confident=confident)
    return ross_bounds(y, r, alpha, gain, extremes, confident=confident)


def population(detector: Smoothed, y: np.ndarray) -> np.ndarray:
    """The detector's score (n,) from all noisy scores (n, N) of an image."""
    rows = [torch.from_numpy(np.ascontiguousarray(part.T)).double() for part in np.array_split(y, -(-len(y) // SHARD))]
    return torch.cat([detector.combine(s) for s in rows]).numpy()


class Certifier:
    """A fitted smoothed detector on a benchmark: noisy scores, attacks, bounds, rows."""

    def __init__(
        self, detector: Smoothed, bench: Benchmark, config: CertifyConfig, radii: Mapping[float, float], **settings: Any
    ) -> None:
        self.detector, self.bench, self.config, self.radii = detector, bench, config, radii
        self.evaluator = Evaluator(detector, bench, seed=config.run.seed, key=identity(detector), **settings)
        bare = sampler_of(detector)
        self.sampler = Evaluator(bare, bench, seed=config.run.seed, key=identity(bare), **settings)
        self.sets = {bench.id_test.name: bench.id_test, **bench.ood}
        self.alpha = config.alpha / sum(len(images) for images in self.sets.values())
        self.passes: list[dict[str, Any]] = []
        """Of the attacks: population, l2 radius, network passes [forward, backward] per image."""

    def scored(self, images: ImageSet, deployed: np.ndarray, moved: Tensor | None = None) -> Scored:
        raw = noisy_scores(self.sampler, images, self.config.samples, moved=moved)
        parts = np.stack([population(self.detector, part) for part in np.array_split(raw, PARTS, axis=1)])
        y = np.sort(raw, axis=1)
        return Scored(images, y, population(self.detector, y), parts, deployed)

    def clean(self) -> dict[str, Scored]:
        """Every population as it is, by name."""
        return {
            name: self.scored(images, self.evaluator.clean(images).scores.double().numpy())
            for name, images in self.sets.items()
        }

    def attack(self, found: Mapping[str, Scored]) -> None:
        """Move every population by the l2 suite at every radius and score it as the clean one, on the same noise.

        The suite attacks the detector as deployed, through noise of its own; of its image and the clean one the
        adversary takes the one that the population form misjudges more.
        """
        references = {name: cast(Tensor, self.evaluator.clean(images).reference) for name, images in self.sets.items()}
        id_name = self.bench.id_test.name
        ood = torch.cat([references[name] for name in self.bench.ood], 1)
        run = self.config.run
        for radius in self.radii.values():
            plan = plan_of(
                self.bench, eps=radius, norm="l2", strength=run.strength, steps=run.steps, restarts=run.restarts
            )
            for name, images in self.sets.items():
                direction: Direction = "min" if name == id_name else "max"
                moved, deployed = self.moved(images, direction, plan, ood if name == id_name else references[id_name])
                found[name].attacked[radius] = found[name].worse(
                    self.scored(images, deployed.double().numpy(), moved), lower=name == id_name
                )

    def moved(
        self, images: ImageSet, direction: Direction, plan: AttackPlan, reference: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The images (n, C, H, W) that the suite makes, and their scores by the deployed detector (10, n)."""
        copies = {name: n for name, (n, _) in self.evaluator.copies(plan).items()}
        attacker, parts, spent = self.evaluator.attacker, [], np.zeros(2)
        label = f"{label_of(self.detector)}, {images.name} {direction} {plan.threat.eps:.3g}"
        with self.evaluator.progress(label, len(images)) as advance:
            for shard, clean in images.shards():
                x = clean.to(self.evaluator.device)

                def compute(x: Tensor = x, shard: int = shard) -> tuple[dict[str, Tensor], dict[str, Any]]:
                    suite = attacker.find(x, images.name, shard, direction, plan, reference, copies)
                    excess = plan.threat.violation(suite.images, x)
                    if excess > 1e-5:
                        raise EvaluationError(f"an attacked image of {images.name} leaves the ball by {excess:.2g}")
                    scores = attacker.rescored(suite.images, images.name, shard, direction, plan)
                    return {"images": suite.images.cpu(), "scores": scores}, {"passes": suite.passes}

                what = {"condition": f"moved {direction}", "plan": asdict(plan), "shard": shard}
                what |= {"reference": hash_of(reference)}
                guarded = self.evaluator.guarded
                tensors, facts = self.evaluator.cell(
                    images,
                    what,
                    lambda: guarded(images, shard, compute),  # noqa: B023
                )
                spent += len(x) * np.array(facts["passes"])
                parts.append(tensors)
                advance(len(x))
        passes = (spent / len(images)).tolist()
        self.passes.append({"population": images.name, "radius_l2": plan.threat.eps, "passes": passes})
        return torch.cat([part["images"] for part in parts]), torch.cat([part["scores"] for part in parts], 1)

    def bounds(self, found: Scored, radius: float, alpha: float | None = None) -> Bounds:
        """At the alpha that all images share, or at a given one; computed once."""
        alpha = self.alpha if alpha is None else alpha
        if (radius, alpha) not in found.bounds:
            found.bounds[radius, alpha] = bounds_of(self.detector, found.y, radius / self.detector.sigma, alpha)
        return found.bounds[radius, alpha]
