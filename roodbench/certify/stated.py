"""What a certificate must say, by all that its reader has: its settings, and their own images, network and fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import product
from typing import Any, cast

import numpy as np

from detectors import Smoothed

from ..data import ImageSet
from ..metrics.deployed import knots
from ..metrics.ranks import largest_radius
from ..setup.setting import Setting
from .certificate import CERTIFIED, KEY, code_of, described, header, role_of
from .compare import ANYTHING, NUMBER, POSITIVE, TEXT, TOLERANCE, ascending, differences, near, numbers, side
from .config import SHARES, CertifyConfig
from .evidence import CONDITIONS, KINDS, Evidence, metrics_of

UNVERIFIED = {
    "environment": "where it was made",
    "samples": "that so many draws gave these bounds at this alpha: only that so many can give some",
    "alpha": "that so many draws gave these bounds at this alpha: only that so many can give some",
    "config.run.strength": "the attack beside the bounds",
    "config.run.budget": "the attack beside the bounds",
    "config.run.steps": "the attack beside the bounds",
    "config.run.restarts": "the attack beside the bounds",
    "config.run.batch_size": "how it was computed",
    "config.run.memory": "how it was computed",
    "config.run.compile": "how it was computed",
    "config.run.device": "how it was computed",
    "config.run.data_root": "where the files lay",
    "config.run.checkpoint": "where the files lay",
    "config.run.denoiser_checkpoint": "where the files lay",
    "config.run.trust_checkpoint": "where the files lay",
    "config.run.model_dir": "where the files lay",
    "config.run.download": "where the files lay",
    "detectors.*.passes_attack.*.passes": "what the attack cost",
    "detectors.*.fitted.*": "more closely than a fit repeats: tau and spread to 5% of the spread, others to 0.1%",
    "detectors.*.populations.*.score": "more than that each lies within its image's bounds",
    "network.prepared": "that its folding rounds here as there: scores are drawn afresh",
    "detectors.*.slack": "more than that eta is well above it",
    "detectors.*.populations.*.sample": "more, of images that are not drawn, than that it gives the deployed bound",
    **{
        f"detectors.*.populations.*.{kind}": "more, of images that are not drawn, than that they hold the score, lie "
        "within reach of the samples and give the metrics"
        for kind in KINDS
    },
}
"""The fields of a certificate that its verification takes as they are, or nearly, and what it leaves open."""


def unverified() -> list[tuple[str, str]]:
    """The same with the fields together that leave the same open: (fields, what)."""
    fields: dict[str, list[str]] = {}
    for name, what in UNVERIFIED.items():
        fields.setdefault(what, []).append(name)
    return [(", ".join(names), what) for what, names in fields.items()]


class Stated:
    """The content of a certificate as its settings give it, but for what only noise can tell (`UNVERIFIED`)."""

    def __init__(self, config: CertifyConfig, setting: Setting) -> None:
        self.config, self.bench = config, setting.bench
        self.radii = config.radii(setting.sample[0].numel())
        self.keys = {radius: f"{radius:.9g}" for radius in (0.0, *self.radii.values())}
        self.sets: dict[str, ImageSet] = {self.bench.id_test.name: self.bench.id_test, **self.bench.ood}
        self.size = sum(len(images) for images in self.sets.values()), setting.sample[0].numel()
        self.alpha = config.alpha / self.size[0]
        self.detectors = [cast(Smoothed, setting.fitted(name)[0]) for name in config.run.detector]
        code = code_of(setting, config.run.detector)
        metrics = dict.fromkeys((*CERTIFIED, "deployed"), NUMBER)
        self.content = {
            **header(config, setting.network, self.bench.description(), code, self.radii),
            "network": {**setting.network, "prepared": TEXT},
            "config": asdict(config),
            "environment": ANYTHING,
            "detectors": [self._entry(detector) for detector in self.detectors],
            "gauroc": [dict(zip(KEY, key, strict=True)) | metrics for key in self._rows()],
        }

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        """The keys of all rows of metrics, as they stand in a certificate."""
        for detector in self.detectors:
            for radius in self.radii.values():
                for ood in self.bench.ood:
                    for condition in CONDITIONS:
                        yield detector.name, detector.base.name, ood, condition, radius

    def _entry(self, detector: Smoothed) -> dict[str, Any]:
        """What a certificate says of a detector."""
        fitted = detector.fitted()
        wide = 0.05 * fitted.get("spread", 0.0)
        attacked = [(name, radius) for radius in self.radii.values() for name in self.sets]
        return {
            **described(detector, self.alpha),
            "fitted": {
                k: near(v, TOLERANCE + (wide if k in ("tau", "spread") else 1e-3 * abs(v))) for k, v in fitted.items()
            },
            "slack": POSITIVE,
            "passes_attack": [
                {"population": name, "radius_l2": radius, "passes": [NUMBER, NUMBER]} for name, radius in attacked
            ]
            if self.config.run.attack != "none"
            else [],
            "populations": {name: self._population(images) for name, images in self.sets.items()},
        }

    def _population(self, images: ImageSet) -> dict[str, Any]:
        """What a certificate says of a population."""
        known = numbers(len(images))
        bounds = {key: {"lower": known, "upper": known} for key in self.keys.values()}
        sample = [ascending(len(knots(self.config.samples)))] * len(images)
        kinds = dict.fromkeys(KINDS, bounds)
        return {**role_of(images, self.bench), "score": [NUMBER] * len(images), **kinds, "sample": sample}

    def misstatements(self, certificate: Mapping[str, Any]) -> list[str]:
        """Where a certificate says something else, more or less; and scores outside of their own bounds."""
        found = list(differences(certificate, self.content))
        return found or [line for entry in certificate["detectors"] for line in outside(entry)]

    def contradictions(self, certificate: Mapping[str, Any]) -> Iterator[str]:
        """Bounds out of reach, and metrics that do not follow from the bounds, where nothing is misstated."""
        entries, rows = certificate["detectors"], certificate["gauroc"]
        for detector, entry in zip(self.detectors, entries, strict=True):
            yield from (f"{detector.label}: {line}" for line in self.out_of_reach(detector, entry["populations"]))
        each = len(rows) // len(entries)
        for place, (row, (*_, ood, condition, radius)) in enumerate(zip(rows, self._rows(), strict=True)):
            detector, entry = self.detectors[place // each], entries[place // each]
            own, other = (self.evidence(entry["populations"][name]) for name in (self.bench.id_test.name, ood))
            found = metrics_of(detector, self.config, self.size, own, other, condition, radius, float(entry["slack"]))
            where = f"{detector.label}: the row of {ood}, {condition} at {radius:g}"
            yield from differences(row, {**row, **found}, where)

    def evidence(self, population: Mapping[str, Any]) -> Evidence:
        """What a certificate says of a population."""

        def bounds(kind: str, radius: float) -> tuple[np.ndarray, np.ndarray]:
            sides = population[kind][self.keys[radius]]
            return side(sides, "lower"), side(sides, "upper")

        with np.errstate(over="ignore"):  # a number beyond float32 is infinite
            return Evidence(bounds, np.array(population["sample"], dtype=np.float32))

    def out_of_reach(self, detector: Smoothed, populations: Mapping[str, Any]) -> Iterator[str]:
        """Lower bounds that no evidence of the certificate's own size can give, however true.

        Derived in docs/theorems.md, T4, T15.
        """
        lowest = detector.base.extremes()[0]
        for kind, (radius, key) in product(KINDS, self.keys.items()):
            alpha = self.config.alpha if kind == "counted" else self.alpha
            reach = largest_radius(self.config.samples, alpha / SHARES[detector.name])
            if radius / detector.sigma > reach * (1 + TOLERANCE):
                for population in populations.values():
                    if (side(population[kind][key], "lower") > lowest).any():
                        yield f"{self.config.samples} samples can bound nothing at radius {key}, the certificate does"


def outside(entry: Mapping[str, Any]) -> Iterator[str]:
    """Scores of a detector that lie outside of their own bounds."""
    for name, population in entry["populations"].items():
        score = np.array(population["score"], dtype=float)
        slack = TOLERANCE * np.maximum(1, np.abs(score))  # copies that all agree leave nothing but rounding
        for radius, sides in (pair for kind in KINDS for pair in population[kind].items()):
            if not ((side(sides, "lower") <= score + slack) & (score - slack <= side(sides, "upper"))).all():
                yield f"{entry['detector']}: {name}, radius {radius}: a score lies outside its own bounds"
