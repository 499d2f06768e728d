"""Certified AUROC of smoothed detectors.

from roodbench.certify import CertifyConfig, certify
result, folder = certify(CertifyConfig(RunConfig(detector=("ross-q",), norm="l2"), sigma=0.25, radius=(0.1,)))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import exporter

if TYPE_CHECKING:
    from ..metrics.bounds import Bounds, Gain, median_bounds, ross_bounds, ross_q_bounds
    from ..metrics.deployed import deployed_auroc
    from ..metrics.gauroc import gauroc, gfpr95
    from .config import CertifyConfig
    from .planner import plan
    from .result import CertifiedResult
    from .row import CertifiedRow
    from .run import certify
    from .verifier import read, verify

PUBLIC = {
    "CertifiedResult": "certify.result",
    "CertifiedRow": "certify.row",
    "CertifyConfig": "certify.config",
    "certify": "certify.run",
    "plan": "certify.planner",
    "read": "certify.verifier",
    "verify": "certify.verifier",
    **dict.fromkeys(("Bounds", "Gain", "median_bounds", "ross_bounds", "ross_q_bounds"), "metrics.bounds"),
    "deployed_auroc": "metrics.deployed",
    **dict.fromkeys(("gauroc", "gfpr95"), "metrics.gauroc"),
}
"""The module, in roodbench, of every public name."""
__getattr__ = exporter("roodbench", PUBLIC)

__all__ = [
    "Bounds",
    "CertifiedResult",
    "CertifiedRow",
    "CertifyConfig",
    "Gain",
    "certify",
    "deployed_auroc",
    "gauroc",
    "gfpr95",
    "median_bounds",
    "plan",
    "read",
    "ross_bounds",
    "ross_q_bounds",
    "verify",
]
