"""What a certificate must say, given what its reader has: its settings, and images, network and fit of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import product
from typing import Any, cast

import numpy as np

from detectors import Smoothed

from ..data import ImageSet
from ..metrics.deployed import knots
from ..metrics.gauroc import image_alpha
from ..metrics.ranks import largest_radius
from ..metrics.simultaneous import knots_with
from ..setup.setting import Setting
from .certificate import CERTIFIED, KEY, code_of, described, header, role_of
from .compare import (
    ANYTHING,
    NUMBER,
    POSITIVE,
    TEXT,
    TOLERANCE,
    Form,
    ascending,
    differences,
    near,
    numbers,
    revision,
    side,
)
from .config import SHARES, CertifyConfig
from .evidence import CONDITIONS, KINDS, Evidence, Scope, Together, better_than_scores, metrics_of
from .operating import Operating, fixed, validation_of
from .population import together, too_small

UNVERIFIED = {
    "environment": "where it was made",
    "samples": "more than that its noisy scores give these bounds as so many draws at this alpha",
    "alpha": "more than that its noisy scores give these bounds as so many draws at this alpha",
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
    "config.tpr": "more than which images of a population it comes down to",
    "config.least_tpr": "more than which images of a population it comes down to",
    "config.threshold": "that it was chosen before anybody looked at the test images",
    "detectors.*.passes_attack.*.passes": "what the attack cost",
    "detectors.*.fitted.*": "more closely than a fit repeats: tau and spread to 5% of the spread, others to 0.1%",
    "detectors.*.populations.*.score": "more than that each lies within its image's bounds",
    "network.prepared": "that its folding rounds here as there: scores are drawn afresh",
    "detectors.*.slack": "more than that eta is well above it",
    "detectors.*.populations.*.sample": "more, of images that are not drawn, than that it gives the deployed bound",
    "detectors.*.validation.score": "more than that its noisy scores allow each, and that one is the threshold",
    "detectors.*.validation.sample": "more, of images that are not drawn, than that they allow the score",
    **{
        f"detectors.*.populations.*.{kind}": "more, of images that are not drawn, than that their noisy scores give "
        "them, and that they hold the score and give the metrics"
        for kind in KINDS
    },
}
"""The fields of a certificate that its verification takes as they are, or nearly, and what it leaves open."""


def unverified(left: Mapping[str, str] = UNVERIFIED) -> list[tuple[str, str]]:
    """The same with the fields together that leave the same open: (fields, what)."""
    fields: dict[str, list[str]] = {}
    for name, what in left.items():
        fields.setdefault(what, []).append(name)
    return [(", ".join(names), what) for what, names in fields.items()]


class Stated:
    """The content of a certificate as its settings give it, but for what only noise can tell (`UNVERIFIED`)."""

    def __init__(self, config: CertifyConfig, setting: Setting) -> None:
        self.config, self.bench = config, setting.bench
        self.radii = config.radii(setting.sample[0].numel())
        self.keys = {radius: f"{radius:.9g}" for radius in (0.0, *self.radii.values())}
        self.sets: dict[str, ImageSet] = {self.bench.id_test.name: self.bench.id_test, **self.bench.ood}
        self.validation = validation_of(self.bench, config)
        self.scope = Scope.of(self.bench, config)
        self.alpha = config.alpha / self.scope.images
        self.detectors = [cast(Smoothed, setting.fitted(name)[0]) for name in config.run.detector]
        code = code_of(setting, config.run.detector)
        metrics = dict.fromkeys((*CERTIFIED, "deployed"), NUMBER)
        self.content = {
            **header(config, setting.network, self.bench.description(), code, self.radii),
            "network": {**setting.network, "prepared": TEXT},
            "code": revision(code),
            "config": asdict(config),
            "environment": ANYTHING,
            "detectors": [self._entry(detector) for detector in self.detectors],
            "gauroc": [dict(zip(KEY, key, strict=True)) | metrics for key in self._rows()],
            "operating": [ANYTHING] * len(self.detectors),
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
            "validation": None if self.validation is None else self._validation(self.validation),
            "populations": {name: self._population(images) for name, images in self.sets.items()},
        }

    def _population(self, images: ImageSet) -> dict[str, Any]:
        """What a certificate says of a population."""
        known = numbers(len(images))
        bounds = {key: {"lower": known, "upper": known} for key in self.keys.values()}
        kinds = dict.fromkeys(KINDS, bounds)
        sample = self._sample(images)
        return {**role_of(images, self.bench), "score": [NUMBER] * len(images), **kinds, "sample": sample}

    def _validation(self, images: ImageSet) -> dict[str, Any]:
        """What a certificate says of the images that fix the threshold."""
        return {**role_of(images, self.bench), "score": [NUMBER] * len(images), "sample": self._sample(images)}

    def _sample(self, images: ImageSet) -> list[Form]:
        """What noisy scores of these images look like."""
        return [ascending(len(knots(self.config.samples)))] * len(images)

    def checked(self) -> dict[str, ImageSet]:
        """All sets of which a certificate has noisy scores, by the names of `parts_of`."""
        more = {} if self.validation is None else {VALIDATION: self.validation}
        return {**self.sets, **more}

    def misstatements(self, certificate: Mapping[str, Any]) -> list[str]:
        """Where a certificate says something else, more or less; and scores outside of their own bounds."""
        found = list(differences(certificate, self.content))
        return found or [line for entry in certificate["detectors"] for line in outside(entry)]

    def contradictions(self, certificate: Mapping[str, Any]) -> Iterator[str]:
        """Bounds out of reach, and metrics that do not follow from the bounds, where nothing is misstated."""
        entries, rows = certificate["detectors"], certificate["gauroc"]
        pairs = list(zip(self.detectors, entries, strict=True))
        drowned = [wrong for detector, entry in pairs if (wrong := too_small(detector, 0.0, float(entry["slack"])))]
        if drowned:
            yield from drowned
            return
        for detector, entry in pairs:
            lines = [*self.out_of_reach(detector, entry["populations"])]
            for population in entry["populations"].values():
                lines += better_than_scores(detector, population, self.config, self.scope, float(entry["slack"]))
            yield from (f"{detector.label}: {line}" for line in lines)
        each, evidence = len(rows) // len(entries), [self.evidence(entry) for entry in entries]
        for place, (row, (*_, ood, condition, radius)) in enumerate(zip(rows, self._rows(), strict=True)):
            detector, entry = pairs[place // each]
            own, other = (evidence[place // each][name] for name in (self.bench.id_test.name, ood))
            found = metrics_of(detector, self.config, self.scope, own, other, condition, radius, float(entry["slack"]))
            where = f"{detector.label}: the row of {ood}, {condition} at {radius:g}"
            yield from differences(row, {**row, **found}, where)
        for place, (detector, entry) in enumerate(pairs):
            yield from (f"{detector.label}: {line}" for line in self.beside_samples(detector, entry))
            wanted = self.operating(detector, entry, evidence[place]).record(list(self.radii.values()))
            yield from differences(certificate["operating"][place], wanted, f"{detector.label}: operating")

    def beside_samples(self, detector: Smoothed, entry: Mapping[str, Any]) -> Iterator[str]:
        """Scores that fix the threshold and that their noisy scores do not allow (docs/theorems.md, T27)."""
        if self.validation is None:
            return
        score, at = (np.array(entry["validation"][name], dtype=float) for name in ("score", "sample"))
        known, slack = knots_with(at, self.config.samples, self.alpha), TOLERANCE * np.maximum(1, np.abs(score))
        allowed = together(detector, known, 0.0, slack=float(entry["slack"]))
        for i in np.flatnonzero((score + slack < allowed.lower) | (score - slack > allowed.upper)):
            yield f"{self.validation.names[i]}: the score {score[i]:.6g} is not one of its noisy scores"

    def operating(self, detector: Smoothed, entry: Mapping[str, Any], evidence: Mapping[str, Evidence]) -> Operating:
        """The operating point that follows from what a certificate says of a detector's images."""
        scores = None if self.validation is None else np.array(entry["validation"]["score"], dtype=float)
        at_once = Together(detector, self.config, self.scope, float(entry["slack"]))
        others = {name: evidence[name] for name in self.bench.ood}
        return Operating(at_once, fixed(self.config, scores), evidence[self.bench.id_test.name], others)

    def evidence(self, entry: Mapping[str, Any]) -> dict[str, Evidence]:
        """What a certificate says of every population under a detector, by name."""
        return {name: self._evidence(images, entry["populations"][name]) for name, images in self.sets.items()}

    def _evidence(self, images: ImageSet, population: Mapping[str, Any]) -> Evidence:
        """What a certificate says of a population."""

        def bounds(kind: str, radius: float) -> tuple[np.ndarray, np.ndarray]:
            sides = population[kind][self.keys[radius]]
            return side(sides, "lower"), side(sides, "upper")

        with np.errstate(over="ignore"):  # a number beyond float32 is infinite
            return Evidence(images, bounds, np.array(population["sample"], dtype=np.float32))

    def out_of_reach(self, detector: Smoothed, populations: Mapping[str, Any]) -> Iterator[str]:
        """Lower bounds that no evidence of the certificate's own size can give, however true.

        Derived in docs/theorems.md, T4, T15.
        """
        lowest = detector.base.extremes()[0]
        for kind, (radius, key) in product(KINDS, self.keys.items()):
            for population in populations.values():
                alpha = image_alpha(len(population["score"]), self.config.alpha) if kind == "counted" else self.alpha
                reach = largest_radius(self.config.samples, alpha / SHARES[detector.name])
                claims = (side(population[kind][key], "lower") > lowest).any()
                if claims and radius / detector.sigma > reach * (1 + TOLERANCE):
                    yield f"{self.config.samples} samples can bound nothing at radius {key}, the certificate does"


VALIDATION = "ID val"
"""The name of the images that fix the threshold among those of which a certificate has noisy scores."""


def parts_of(entry: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """What a certificate says of all images of a detector, by the names of `Stated.checked`."""
    validation = entry["validation"]
    return {**entry["populations"], **({} if validation is None else {VALIDATION: validation})}


def outside(entry: Mapping[str, Any]) -> Iterator[str]:
    """Scores of a detector that lie outside of their own bounds."""
    for name, population in entry["populations"].items():
        score = np.array(population["score"], dtype=float)
        slack = TOLERANCE * np.maximum(1, np.abs(score))  # copies that all agree leave nothing but rounding
        for radius, sides in (pair for kind in KINDS for pair in population[kind].items()):
            if not ((side(sides, "lower") <= score + slack) & (score - slack <= side(sides, "upper"))).all():
                yield f"{entry['detector']}: {name}, radius {radius}: a score lies outside its own bounds"
