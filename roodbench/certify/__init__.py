"""Certified AUROC of smoothed detectors.

from roodbench.certify import CertifyConfig, certify
result, folder = certify(CertifyConfig(RunConfig(detector=("ross-q",), norm="l2"), sigma=0.25, radius=(0.1,)))
"""

from .bounds import Bounds, Gain, median_bounds, ross_bounds, ross_q_bounds
from .config import CertifyConfig
from .deployed import deployed_auroc
from .gauroc import gauroc, gfpr95
from .plan import plan
from .result import CertifiedResult, CertifiedRow
from .run import certify
from .verify import read, verify

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
