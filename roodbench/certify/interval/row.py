"""One line of what interval bounds certified."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class IntervalRow:
    """One score against one OOD set at one linf radius in one condition. Fractions, not percent.

    `min` bounds (and attacks) ID within the radius, `max` OOD, `both` both; the other side is as it is.
    """

    detector: str
    params: dict[str, Any]
    benchmark: str
    model: str
    ood: str
    group: str
    condition: str
    norm: str
    radius: float
    method: str
    n_id: int
    n_ood: int
    auroc_clean: float
    auroc_clean_ci: list[float]
    auroc_attacked: float | None
    """Under the linf suite at the same radius; None without an attack."""
    auroc_attacked_ci: list[float] | None
    gauroc: float
    """Certified AUROC of these images: no adversary within the radius gets below."""
    gfpr95: float
    """Certified FPR95: no adversary gets above."""
