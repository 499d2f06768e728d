"""Arrays of scores in, numbers out: AUROC, FPR95 and AUPR with intervals.

What else certification adds lies in `bounds` and `deployed`, imported by their own paths.
"""

from .auroc import (
    Components,
    Groups,
    Values,
    auroc,
    components,
    draws,
    paired_gap,
    placement_values,
    same_draws,
)
from .averages import average, average_over_id
from .gauroc import gauroc, gfpr95
from .intervals import EXTREME, FEW, LEVEL, Estimate
from .rates import (
    BOOTSTRAPS,
    Resampled,
    aupr_in,
    aupr_in_values,
    aupr_out,
    aupr_out_values,
    average_rate,
    fpr95_id,
    fpr95_ood,
    resample,
    threshold95,
)

__all__ = [
    "BOOTSTRAPS",
    "EXTREME",
    "FEW",
    "LEVEL",
    "Components",
    "Estimate",
    "Groups",
    "Resampled",
    "Values",
    "aupr_in",
    "aupr_in_values",
    "aupr_out",
    "aupr_out_values",
    "auroc",
    "average",
    "average_over_id",
    "average_rate",
    "components",
    "draws",
    "fpr95_id",
    "fpr95_ood",
    "gauroc",
    "gfpr95",
    "paired_gap",
    "placement_values",
    "resample",
    "same_draws",
    "threshold95",
]
