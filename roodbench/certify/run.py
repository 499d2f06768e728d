"""Certified, attacked and clean AUROC of smoothed detectors in one table: certified <= attacked <= clean."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from platformdirs import user_cache_path
from torch import Tensor

from detectors import ROSS, ROSSQ, Median, Smoothed

from .. import metrics
from ..attacker import AttackPlan, Direction, EvaluationError
from ..config import device_of, plan_of
from ..data import SHARD, Benchmark, ImageSet
from ..environment import environment
from ..evaluate import Evaluator, Progress, hash_of, silent
from ..files import content_hash
from ..memory import use_threads
from ..parts import label_of
from ..prepare import operations
from ..run import check_network, create, identity, load, log, prepared
from ..store import Store
from .bounds import Bounds, Gain, median_bounds, ross_bounds, ross_q_bounds
from .config import SHARES, CertifyConfig, needed
from .deployed import deployed_auroc
from .gauroc import counted, gauroc, gfpr95
from .result import CertifiedResult, CertifiedRow
from .sampling import noisy_scores, sampler_of

CONDITIONS = {"min": (True, False), "max": (False, True), "both": (True, True)}
"""Whether ID and OOD are bounded (or attacked) within the radius; else they are bounded at radius 0."""
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


def bounds_of(detector: Smoothed, y: np.ndarray, r: float, alpha: float, *, confident: bool = True) -> Bounds:
    """Certified bounds of a fitted detector in its population form, from sorted scores (n, N); r = radius / sigma."""
    extremes = detector.base.extremes()
    if isinstance(detector, ROSS):
        if not detector.floored:
            raise ValueError(f"{label_of(detector)}: D + eta has no certificate, give floored=True and eta, as 1e-3")
        gain = Gain(detector.fitted()["tau"], detector.gain, detector.eta)
        if isinstance(detector, ROSSQ):
            return ross_q_bounds(y, r, alpha, gain, extremes, tail=detector.tail, confident=confident)
        return ross_bounds(y, r, alpha, gain, extremes, confident=confident)
    if isinstance(detector, Median):
        return median_bounds(y, r, alpha, extremes, confident=confident)
    raise ValueError(f"{label_of(detector)} has no certificate: expected one of {', '.join(SHARES)}")


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
        self.passes: dict[str, tuple[float, float]] = {}

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
        """Move every population by the l2 suite at every radius and score it as the clean one, on the same noise."""
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
                found[name].attacked[radius] = self.scored(images, deployed.double().numpy(), moved)

    def moved(
        self, images: ImageSet, direction: Direction, plan: AttackPlan, reference: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The images (n, C, H, W) that the suite makes, and their scores by the deployed detector (10, n)."""
        copies = {name: n for name, (n, _) in self.evaluator.copies(plan).items()}
        attacker, parts = self.evaluator.attacker, []
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
                self.passes[images.name] = tuple(facts["passes"])
                parts.append(tensors)
                advance(len(x))
        return torch.cat([part["images"] for part in parts]), torch.cat([part["scores"] for part in parts], 1)

    def bounds(self, found: Scored, radius: float) -> Bounds:
        return bounds_of(self.detector, found.y, radius / self.detector.sigma, self.alpha)

    def rows(self, found: Mapping[str, Scored]) -> list[CertifiedRow]:
        """One row per radius, OOD set and condition."""
        own = found[self.bench.id_test.name]
        return [
            self.row(own, found[name], given, radius, condition)
            for given, radius in self.radii.items()
            for name in self.bench.ood
            for condition in CONDITIONS
        ]

    def row(self, own: Scored, other: Scored, given: float, radius: float, condition: str) -> CertifiedRow:
        """Clean, attacked and certified metrics of ID against one OOD set."""
        run, detector, n_id, n_ood = self.config.run, self.detector, len(own.images), len(other.images)
        near, far = (radius if bounded else 0.0 for bounded in CONDITIONS[condition])
        bound_id, bound_ood = self.bounds(own, near), self.bounds(other, far)
        threshold = bound_id if condition == "both" else self.bounds(own, 0.0)
        single = self.config.alpha  # of one image, for the counted form
        loose_id, loose_ood = (
            bounds_of(detector, s.y, d / detector.sigma, single) for s, d in ((own, near), (other, far))
        )
        reasons = self.reasons(given, radius, bound_id, bound_ood, condition)
        clean = metrics.components(own.clean, other.clean)
        attacked = None
        if own.attacked and other.attacked:
            moved = own.attacked[radius] if near else own, other.attacked[radius] if far else other
            attacked = metrics.components(moved[0].clean, moved[1].clean)
        deployed: dict[str, float | None] = {
            "clean": metrics.auroc(own.deployed, other.deployed),
            "attacked": None if attacked is None else metrics.auroc(moved[0].deployed, moved[1].deployed),
            "certified": self.deployed(own, other, near, far),
        }
        return CertifiedRow(
            detector=detector.name,
            base=detector.base.name,
            params={**detector.base.hyperparameters(), **detector.hyperparameters()},
            benchmark=self.bench.name,
            model=getattr(detector.base.net, "name", None),
            ood=other.images.name,
            group=self.bench.groups[other.images.name],
            condition=condition,
            sigma=detector.sigma,
            samples=self.config.samples,
            alpha=self.config.alpha,
            alpha_image=self.alpha,
            norm=run.norm,
            radius=given,
            radius_l2=radius,
            n_id=n_id,
            n_ood=n_ood,
            auroc_clean=clean.value,
            auroc_clean_ci=clean.interval().ci,
            auroc_attacked=None if attacked is None else attacked.value,
            auroc_attacked_ci=None if attacked is None else attacked.interval().ci,
            gauroc=gauroc(bound_id.lower, bound_ood.upper),
            gauroc_counted=max(
                0.0, gauroc(loose_id.lower, loose_ood.upper) - counted(n_id, n_ood, single, self.config.alpha)
            ),
            gfpr95=gfpr95(threshold.lower, bound_ood.upper),
            fpr95_clean=metrics.fpr95_id(own.clean, other.clean),
            says_id=float(1 - bound_id.vacuous_lower.mean()),
            says_ood=float(1 - bound_ood.vacuous_upper.mean()),
            reasons=reasons,
            copies=detector.copies,
            deployed=deployed,
        )

    def deployed(self, own: Scored, other: Scored, near: float, far: float) -> float:
        """The certified AUROC of the median of n draws, or of a detector that lies between it and its largest gain."""
        detector, highest = self.detector, None
        if isinstance(detector, ROSS):
            gain = Gain(detector.fitted()["tau"], detector.gain, detector.eta)
            highest = lambda m: gain(m, np.zeros_like(m))  # noqa: E731
        r_id, r_ood = near / detector.sigma, far / detector.sigma
        return deployed_auroc(own.y, other.y, detector.copies, r_id, r_ood, self.alpha, highest=highest)

    def reasons(self, given: float, radius: float, bound_id: Bounds, bound_ood: Bounds, condition: str) -> list[str]:
        """Why bounds say nothing, or little."""
        found = []
        if bound_id.vacuous_lower.any() or bound_ood.vacuous_upper.any():
            N, r = self.config.samples, radius / self.detector.sigma
            remedy = needed(r, self.alpha / SHARES[self.detector.name])
            found.append(f"radius {given:g}: {N} samples say nothing at {r:.3g} sigma, {remedy}")
        if bound_ood.at_eta is not None and CONDITIONS[condition][1] and bound_ood.at_eta.any():
            share = float(bound_ood.at_eta.mean())
            found.append(
                f"radius {given:g}: the instability of {share:.0%} of OOD images may vanish, eta bounds their score"
            )
        return found

    def violations(self, found: Mapping[str, Scored]) -> list[str]:
        """Where an attack proves a bound wrong: beyond alpha per image, beyond 3 standard errors of the draws' noise.

        certified <= attacked <= clean holds for one detector; either a bound or an attack has a bug otherwise.
        """
        lines = []
        for name, clean in found.items():
            for radius, moved in clean.attacked.items():
                claim, seen = self.bounds(clean, radius), self.bounds(moved, 0.0)
                is_id = name == self.bench.id_test.name
                bad = seen.upper < claim.lower if is_id else seen.lower > claim.upper
                for i in np.flatnonzero(bad):
                    lines.append(
                        f"{label_of(self.detector)}: {name}, index {i} ({clean.images.names[i]}) is attacked past its "
                        f"bound at l2 radius {radius:g}"
                    )
        own = found[self.bench.id_test.name]
        for name in self.bench.ood:
            other = found[name]
            for radius in own.attacked:
                for condition, (near, far) in CONDITIONS.items():
                    a, b = own.attacked[radius] if near else own, other.attacked[radius] if far else other
                    drop = [metrics.auroc(*pair) for pair in zip(own.parts, other.parts, strict=True)]
                    drop_attacked = [metrics.auroc(*pair) for pair in zip(a.parts, b.parts, strict=True)]
                    gaps = np.subtract(drop_attacked, drop)
                    rise = metrics.auroc(a.clean, b.clean) - metrics.auroc(own.clean, other.clean)
                    if rise > 3 * gaps.std(ddof=1) / PARTS**0.5 + 1e-9:
                        lines.append(
                            f"{label_of(self.detector)}: {name}, {condition} at l2 radius {radius:g}: the AUROC under "
                            f"attack exceeds the clean one by {rise:.4f}"
                        )
        return lines


def certify(
    config: CertifyConfig, *, out: Path | None = None, progress: Progress = silent
) -> tuple[CertifiedResult, Path]:
    """Do what `config` says, reusing noisy scores and attacks kept under `out`. Returns the record and its folder.

    Raises EvaluationError, after everything is saved, where an attack beats a bound.
    """
    start = time.perf_counter()
    use_threads()
    run = config.run_config()
    device = device_of(run.device)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    bench, plain = load(run, device)
    images = [bench.id_test, *bench.ood.values()]
    sample = bench.id_val.shard(0, min(SHARD, len(bench.id_val))).to(device)
    radii = config.radii(sample[0].numel())
    for line in config.check_reach(radii, sum(len(s) for s in images)):
        log.warning("%s", line)
    for name in run.detector:
        check_certifiable(create(name, plain, bench, run))
    check_network(create(run.detector[0], plain, bench, run), bench, device)
    work = operations(plain, sample) * config.samples * sum(len(s) for s in images)
    net = prepared(plain, sample, run, work * (1 + len(radii) * len(run.detector) * (run.attack != "none")))
    store = Store(out or user_cache_path("roodbench") / "runs")
    rows, violations, details = [], [], []
    seconds = {"load": time.perf_counter() - start}
    for name in run.detector:
        begin = time.perf_counter()
        detector = cast(Smoothed, create(name, net, bench, run))
        detector.to(device).fit(bench.id_train, bench.id_val)
        certifier = Certifier(detector, bench, config, radii, device=device, store=store, progress=progress)
        found = certifier.clean()
        if run.attack != "none":
            certifier.attack(found)
        rows += certifier.rows(found)
        violations += certifier.violations(found)
        details.append(detail_of(certifier, found))
        seconds[label_of(detector)] = time.perf_counter() - begin
    settings = {**asdict(config), "run": {**asdict(run), "params": dict(run.params)}}
    result = CertifiedResult(
        config=settings,
        environment=environment(device),
        network={"name": plain.name, "sha256": plain.fingerprint()},
        data=bench.description(),
        rows=rows,
        certificates=details,
        violations=violations,
        timing={"seconds": time.perf_counter() - start, "parts": seconds},
    )
    key = content_hash([settings, result.network, result.data, result.environment["code"]])
    folder = store.folder / f"certify-{run.benchmark}-{'-'.join(run.detector)}-{key[:12]}"
    result.save(folder)
    if violations:
        raise EvaluationError(f"{len(violations)} bounds are violated, the first: {violations[0]} (kept in {folder})")
    return result, folder


def check_certifiable(detector: Any) -> None:
    """ValueError for a detector whose certificate needs a bounded score, over one that is not."""
    extremes = detector.base.extremes()
    if isinstance(detector, ROSS) and not isinstance(detector, ROSSQ) and not np.isfinite(extremes).all():
        raise ValueError(
            f"{label_of(detector)} has no certificate: {detector.base.name} is unbounded; take ross-q, or msp or gen"
        )


def detail_of(certifier: Certifier, found: Mapping[str, Scored]) -> dict[str, Any]:
    """What an assessor needs of one detector: constants and, per image, its clean score and its bounds per radius."""
    detector = certifier.detector
    populations = {}
    for name, scored in found.items():
        is_id = name == certifier.bench.id_test.name
        clean = certifier.bounds(scored, 0.0)
        populations[name] = {
            "role": "ID" if is_id else "OOD",
            "sha256": scored.images.digest,
            "images": list(scored.images.names),
            "score": scored.clean.tolist(),
            "bounds": {"0": sides(clean)}
            | {f"{radius:.9g}": sides(certifier.bounds(scored, radius)) for radius in certifier.radii.values()},
        }
    return {
        "detector": detector.name,
        "base": detector.base.name,
        "params": {**detector.base.hyperparameters(), **detector.hyperparameters()},
        "fitted": detector.fitted(),
        "extremes": [number(v) for v in detector.base.extremes()],
        "alpha_image": certifier.alpha,
        "passes_attack": {name: list(p) for name, p in certifier.passes.items()},
        "populations": populations,
    }


def sides(bounds: Bounds) -> dict[str, list[float | None]]:
    return {side: [number(v) for v in getattr(bounds, side)] for side in ("lower", "upper")}


def number(value: float) -> float | None:
    """JSON has no infinity: null."""
    return float(value) if np.isfinite(value) else None
