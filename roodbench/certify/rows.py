"""certified <= attacked <= clean: the rows of a certification, and what an attack would disprove."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import ndtri, stdtrit

from detectors import ROSSQ

from .. import metrics
from ..metrics.gain import Bounds
from ..metrics.gauroc import gauroc
from ..metrics.ranks import largest_radius, rank
from .certifier import Certifier
from .config import SHARES, needed
from .evidence import CONDITIONS, Evidence, metrics_of
from .population import Scored
from .row import CertifiedRow

ALARM = 1e-3
"""Probability that the noise of the draws alone breaks the sandwich of a detector."""


def rows_of(certifier: Certifier, found: Mapping[str, Scored], evidence: Mapping[str, Evidence]) -> list[CertifiedRow]:
    """One row per radius, OOD set and condition, from scores and evidence of every population by name."""
    own = certifier.bench.id_test.name
    return [
        row_of(certifier, (found[own], found[name]), (evidence[own], evidence[name]), given, radius, condition)
        for given, radius in certifier.radii.items()
        for name in certifier.bench.ood
        for condition in CONDITIONS
    ]


def row_of(
    certifier: Certifier,
    scored: tuple[Scored, Scored],
    evidence: tuple[Evidence, Evidence],
    given: float,
    radius: float,
    condition: str,
) -> CertifiedRow:
    """Clean, attacked and certified metrics of ID against one OOD set (docs/theorems.md, T12, T13)."""
    own, other = scored
    run, detector, n_id, n_ood = certifier.config.run, certifier.detector, len(own.images), len(other.images)
    near, far = (radius if bounded else 0.0 for bounded in CONDITIONS[condition])
    bound_id, bound_ood = certifier.bounds(own, near), certifier.bounds(other, far)
    certified = metrics_of(detector, certifier.config, certifier.scope, *evidence, condition, radius, certifier.slack)
    reasons = reasons_of(certifier, given, radius, bound_id, bound_ood, condition)
    groups = own.images.related, other.images.related
    clean = metrics.components(own.clean, other.clean, groups)
    attacked = None
    if own.attacked and other.attacked:
        moved = own.attacked[radius] if near else own, other.attacked[radius] if far else other
        attacked = metrics.components(moved[0].clean, moved[1].clean, groups)
    deployed: dict[str, float | None] = {
        "clean": metrics.auroc(own.deployed, other.deployed),
        "attacked": None if attacked is None else metrics.auroc(moved[0].deployed, moved[1].deployed),
        "certified": certified.pop("deployed"),
    }
    return CertifiedRow(
        detector=detector.name,
        base=detector.base.name,
        params={k: v for d in reversed(detector.chain) for k, v in d.hyperparameters().items()},
        benchmark=certifier.bench.name,
        model=getattr(detector.network, "name", None),
        ood=other.images.name,
        group=certifier.bench.groups[other.images.name],
        condition=condition,
        sigma=detector.sigma,
        samples=certifier.config.samples,
        alpha=certifier.config.alpha,
        alpha_image=certifier.alpha,
        norm=run.norm,
        radius=given,
        radius_l2=radius,
        n_id=n_id,
        n_ood=n_ood,
        auroc_clean=clean.value,
        auroc_clean_ci=clean.interval().ci,
        auroc_attacked=None if attacked is None else attacked.value,
        auroc_attacked_ci=None if attacked is None else attacked.interval().ci,
        **certified,
        gauroc_crude=None if bound_ood.crude_upper is None else gauroc(bound_id.lower, bound_ood.crude_upper),
        fpr95_clean=metrics.fpr95_id(own.clean, other.clean),
        says_id=float(1 - bound_id.vacuous_lower.mean()),
        says_ood=float(1 - bound_ood.vacuous_upper.mean()),
        reasons=reasons,
        copies=detector.copies,
        deployed=deployed,
    )


def reasons_of(
    certifier: Certifier, given: float, radius: float, bound_id: Bounds, bound_ood: Bounds, condition: str
) -> list[str]:
    """Why bounds say nothing, or little (docs/theorems.md, T4)."""
    found, N, r = [], certifier.config.samples, radius / certifier.detector.sigma
    alpha = certifier.alpha / SHARES[certifier.detector.name]
    if r > largest_radius(N, alpha):
        found.append(f"radius {given:g}: {N} samples bound no median at {r:.3g} sigma, {needed(r, alpha)}")
    elif bound_id.vacuous_lower.any() or bound_ood.vacuous_upper.any():
        mute_id, mute_ood = bound_id.vacuous_lower.mean(), bound_ood.vacuous_upper.mean()
        who = f"{mute_id:.0%} of ID and {mute_ood:.0%} of OOD images"
        found.append(f"radius {given:g}: {who} may have any score; more samples or noise may help")
    detector = certifier.detector
    if isinstance(detector, ROSSQ) and CONDITIONS[condition][0]:
        widest = rank(N, r - float(ndtri(detector.tail)), alpha, lower=False)
        if widest > N and not np.isfinite(detector.base.extremes()).all():
            found.append(
                f"radius {given:g}: {detector.base.name} is unbounded, ID lower bounds fall back to the median's"
            )
    if not found and bound_ood.at_eta is not None and CONDITIONS[condition][1] and bound_ood.at_eta.any():
        share = float(bound_ood.at_eta.mean())
        found.append(
            f"radius {given:g}: the instability of {share:.0%} of OOD images may vanish, eta bounds their score"
        )
    return found


def violations_of(certifier: Certifier, found: Mapping[str, Scored], rows: Sequence[CertifiedRow]) -> list[str]:
    """Where an attack proves a bound wrong: an image's beyond alpha, an AUROC's beyond the noise of the draws.

    certified <= attacked holds for one detector; either a bound or an attack has a bug otherwise. (attacked <= clean
    holds by construction: the clean image is a candidate.)

    Derived in docs/theorems.md, T16.
    """
    label, lines = certifier.detector.label, []
    for name, clean in found.items():
        for radius, moved in clean.attacked.items():
            claim, seen = certifier.bounds(clean, radius), certifier.bounds(moved, 0.0)
            is_id = name == certifier.bench.id_test.name
            bad = seen.upper < claim.lower if is_id else seen.lower > claim.upper
            past = f"is attacked past its bound at l2 radius {radius:g}"
            lines += [f"{label}: {name}, index {i} ({clean.images.names[i]}) {past}" for i in np.flatnonzero(bad)]
    own = found[certifier.bench.id_test.name]
    for row in rows:
        few, few_attacked = row.deployed["certified"], row.deployed["attacked"]
        if row.auroc_attacked is None or few is None or few_attacked is None:
            continue
        near, far = CONDITIONS[row.condition]
        other, radius = found[row.ood], row.radius_l2
        moved_id, moved_ood = own.attacked[radius] if near else own, other.attacked[radius] if far else other
        for what, low, high, values in (
            ("certified above attacked", row.gauroc, row.auroc_attacked, aurocs(moved_id.parts, moved_ood.parts)),
            (
                f"certified above attacked, {row.copies} draws",
                few,
                few_attacked,
                aurocs(moved_id.deployed, moved_ood.deployed),
            ),
        ):
            factor = stdtrit(len(values) - 1, 1 - ALARM / (2 * len(rows)))
            if low > high + factor * values.std(ddof=1) / len(values) ** 0.5 + 1e-9:
                where = f"{label}: {row.ood}, {row.condition} at l2 radius {radius:g}"
                lines.append(f"{where}: {what}, AUROC {low:.4f} > {high:.4f}")
    return lines


def aurocs(own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """One AUROC per part, or per draw, of the scores (R, n) and (R, m)."""
    return np.array([metrics.auroc(*pair) for pair in zip(own, other, strict=True)])
