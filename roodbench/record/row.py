"""The parts of a result record. Metrics are fractions, epsilon is in units of the row's space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CORRUPTED = ("corrupted", "worst")
"""Conditions of ID under common corruptions: the mean over them and their severities, and the one of least AUROC."""


@dataclass(frozen=True)
class Row:
    """One detector against one OOD set (or the average over a group) in one condition. Metrics are fractions."""

    detector: str
    base: str | None
    params: dict[str, Any]
    benchmark: str
    model: str | None
    id_accuracy: float | None
    ood: str
    group: str
    condition: str
    attack: str | None
    norm: str | None
    eps: float | None
    eps_pixel: float | None
    space: str
    n_id: int
    n_ood: int
    auroc: float
    auroc_ci: list[float]
    auroc_drop: float | None
    """Clean AUROC minus this row's, on the same images (corrupted: on copies of them); None in a clean row."""
    auroc_drop_ci: list[float] | None
    """None in a corrupted row too."""
    fpr95_id: float
    """OOD that reaches the threshold 95% of clean ID reach."""
    fpr95_id_ci: list[float] | None
    fpr95_id_refit: float
    """The same with the threshold taken from this condition's ID."""
    fpr95_id_refit_ci: list[float] | None
    fpr95_ood: float
    """ID flagged where 95% of OOD are (OpenOOD)."""
    fpr95_ood_ci: list[float] | None
    aupr_in: float
    """Area under precision-recall with ID positive."""
    aupr_out: float
    """The same with OOD positive."""
    passes: dict[str, list[float]]
    """Mean network passes [forward, backward] per attacked image: id, ood (of an average, of all its OOD sets)."""
    reliable: bool | None
    """Whether its checks passed; None under an attack whose indicators' own attacks did not run."""
    warnings: list[str]
    """What its failed checks say, why it is not judged, and what to beware of."""
    auroc_transfer: float | None = None
    """AUROC when PGD on the base score alone made the images, the published attack; None where there is no other."""
    adaptive_gap_steps: float | None = None
    """auroc_transfer minus auroc: what the published attack misses at the steps and restarts of the suite's own."""
    adaptive_gap_steps_ci: list[float] | None = None
    auroc_equal: float | None = None
    """AUROC when the published attack had restarts for as many passes as the suite took; None where it did not run."""
    passes_equal: dict[str, list[float]] | None = None
    """Like `passes`, of that attack."""
    adaptive_gap: float | None = None
    """auroc_equal minus auroc: what the published attack misses at equal passes."""
    adaptive_gap_ci: list[float] | None = None
    aupr_in_ci: list[float] | None = None
    """None, like `aupr_out_ci`, in records of before it was there."""
    aupr_out_ci: list[float] | None = None


def label_of(row: Row) -> str:
    """The detector's label, as ross(gen)."""
    return row.detector + (f"({row.base})" if row.base else "")


def renamed(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row's JSON in today's names: `adaptive_gap` was that at equal steps before there was one at equal passes."""
    if "adaptive_gap_steps" in entry:
        return entry
    old = ("adaptive_gap", "adaptive_gap_ci")
    gaps = {name.replace("gap", "gap_steps"): entry[name] for name in old if name in entry}
    return {**{name: value for name, value in entry.items() if name not in old}, **gaps}


@dataclass(frozen=True)
class AttackedPopulation:
    """Which component won each image of a population under attack, and what it cost."""

    detector: str
    eps: float
    population: str
    condition: str
    components: list[str]
    wins: dict[str, int]
    winner: list[int]
    """Per image, an index into `components`."""
    passes: list[float]
    """Mean network passes [forward, backward] per image."""


@dataclass(frozen=True)
class FittedDetector:
    """What was fitted, and how it was run."""

    detector: str
    fitted: dict[str, float]
    gradients: str | None = None
    """Precision of the attack's gradients; None without an attack."""
    network: dict[str, Any] | None = None
    """Of a prepared network: batch norms folded, batch sizes compiled."""
    share_without_instability: dict[str, float] | None = None
    """Smoothed detectors: per clean population, the share of images whose copies all score alike (D < 1e-6)."""
    search: dict[str, Any] | None = None
    """How the parameters were chosen; None without a search."""


@dataclass(frozen=True)
class ShiftedSet:
    """A covariate-shifted ID set: its accuracy, and the share of it that the clean 95% threshold flags."""

    detector: str
    name: str
    n: int
    id_accuracy: float | None
    """None of a detector that shows no network."""
    flagged: float
    reliable: bool | None = None
    """Whether its checks passed; older records do not say."""
    corruption: str | None = None
    """Of a corrupted set, like what follows."""
    severity: int | None = None
    auroc: dict[str, float] | None = None
    """With its images in the place of ID test, by OOD set."""
    fpr95_id_refit: dict[str, float] | None = None
    """The same, OOD that reaches the threshold which 95% of its images reach."""


@dataclass(frozen=True)
class Timing:
    """Wall-clock seconds, in all and per part (loading, each detector)."""

    seconds: float
    parts: dict[str, float] | None = None
    reused: dict[str, Any] | None = None
    """`cells` that were kept by earlier runs, `of` so many, the date of the `oldest`; None where nothing is kept."""
    throughput: dict[str, dict[str, float]] | None = None
    """By detector and part of the work: `images` computed for this run in so many `seconds` of one process."""
