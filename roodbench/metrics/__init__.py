"""Arrays of scores in, numbers out: AUROC, FPR95 and AUPR with intervals.

What else certification adds lies in `bounds` and `deployed`, imported by their own paths.
"""

from .auroc import (
    LEVEL,
    Components,
    Estimate,
    auroc,
    average,
    components,
    draws,
    paired_gap,
    placement_values,
    same_draws,
)
from .gauroc import gauroc, gfpr95
from .rates import (
    BOOTSTRAPS,
    aupr_in,
    aupr_out,
    bootstrap,
    fpr95_id,
    fpr95_ood,
    over_draws,
    threshold95,
)

__all__ = [
    "BOOTSTRAPS",
    "LEVEL",
    "Components",
    "Estimate",
    "aupr_in",
    "aupr_out",
    "auroc",
    "average",
    "bootstrap",
    "components",
    "draws",
    "fpr95_id",
    "fpr95_ood",
    "gauroc",
    "gfpr95",
    "over_draws",
    "paired_gap",
    "placement_values",
    "same_draws",
    "threshold95",
]
