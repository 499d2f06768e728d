"""One line of a certification: certified, attacked and clean metrics of one detector against one OOD set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class CertifiedRow:
    """One detector in its population form against one OOD set, at one radius, in one condition. Fractions, not percent.

    `min` bounds (and attacks) ID within the radius, `max` OOD, `both` both; the other side is bounded at radius 0.
    """

    detector: str
    base: str
    params: dict[str, Any]
    benchmark: str
    model: str | None
    ood: str
    group: str
    condition: str
    sigma: float
    samples: int
    alpha: float
    """Error of each certified number, shared by the bounds of all images."""
    alpha_image: float
    norm: str
    radius: float
    """In units of `norm`."""
    radius_l2: float
    n_id: int
    n_ood: int
    auroc_clean: float
    auroc_clean_ci: list[float]
    auroc_attacked: float | None
    """Under the l2 suite at the same radius, of the same population detector; None without an attack."""
    auroc_attacked_ci: list[float] | None
    gauroc: float
    """Certified AUROC, with probability 1 - alpha: no adversary within the radius gets below."""
    gauroc_counted: float
    """The same from bounds of which a thousandth may fail, less what those cost: tighter for large populations."""
    gfpr95: float
    """Certified FPR95: no adversary gets above."""
    fpr95_clean: float
    says_id: float
    """Share of ID images whose bound says more than what any score obeys."""
    says_ood: float
    reasons: list[str]
    copies: int
    deployed: dict[str, float | None]
    """AUROC of the detector as deployed, `copies` fresh draws an image: clean, attacked, and its certified bound."""
    gauroc_predicted: float | None = None
    """Certified AUROC of the detector that scores from as many fresh copies, its noise included; older records lack
    it."""
    gauroc_joint: float | None = None
    """Certified AUROC with all others of its kind, at all radii and of all detectors at once; older records lack it."""
    gauroc_new: float | None = None
    """What it is at least for new images, together with all other statements about them; older records lack it."""
    gauroc_crude: float | None = None
    """ROSS only: from g(m+, D-), which the tight upper bound improves on; older records lack it."""
