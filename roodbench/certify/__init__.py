"""Certified AUROC of smoothed detectors.

>>> import tempfile, pathlib
>>> from roodbench import RunConfig
>>> from roodbench.certify import CertifyConfig, certify
>>> run = RunConfig(detector=("median",), norm="l2", attack="none", limit=4, ood=("unseen-digits",))
>>> with tempfile.TemporaryDirectory() as folder:  # otherwise in the user's cache, beside a certificate.json
...     result, _ = certify(CertifyConfig(run, sigma=0.25, radius=(0.1,), samples=500), out=pathlib.Path(folder))
>>> all(row.gauroc <= row.auroc_clean for row in result.rows)  # printed, it is the table
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import exporter

if TYPE_CHECKING:
    from ..metrics.bounds import median_bounds, ross_bounds, ross_q_bounds
    from ..metrics.deployed import deployed_auroc
    from ..metrics.gain import Bounds, Gain
    from ..metrics.gauroc import gauroc, gfpr95
    from .certificate import read
    from .config import CertifyConfig
    from .planner import plan
    from .result import CertifiedResult
    from .row import CertifiedRow
    from .run import certify
    from .verifier import verify

PUBLIC = {
    "CertifiedResult": "certify.result",
    "CertifiedRow": "certify.row",
    "CertifyConfig": "certify.config",
    "certify": "certify.run",
    "plan": "certify.planner",
    "read": "certify.certificate",
    "verify": "certify.verifier",
    **dict.fromkeys(("median_bounds", "ross_bounds", "ross_q_bounds"), "metrics.bounds"),
    **dict.fromkeys(("Bounds", "Gain"), "metrics.gain"),
    "deployed_auroc": "metrics.deployed",
    **dict.fromkeys(("gauroc", "gfpr95"), "metrics.gauroc"),
}
"""The module, in roodbench, of every public name."""
__getattr__, __dir__ = exporter(__name__, PUBLIC)

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
