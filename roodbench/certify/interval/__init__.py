"""Certified AUROC of scores of small networks at linf radii, by interval bounds: no noise, no probability.

>>> import tempfile, pathlib
>>> from roodbench import RunConfig
>>> from roodbench.certify.interval import IntervalConfig, certify_intervals
>>> run = RunConfig(detector=("ebo",), attack="none", limit=4, ood=("unseen-digits",))
>>> with tempfile.TemporaryDirectory() as folder:  # otherwise in the user's cache, beside a certificate.json
...     result, _ = certify_intervals(IntervalConfig(run, radius=(1 / 255,)), out=pathlib.Path(folder))
>>> all(row.gauroc <= row.auroc_clean for row in result.rows)  # printed, it is the table
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...lazy import exporter

if TYPE_CHECKING:
    from .config import IntervalConfig
    from .run import IntervalResult, certify_intervals
    from .verifier import verify_intervals

PUBLIC = {
    "IntervalConfig": "certify.interval.config",
    "IntervalResult": "certify.interval.run",
    "certify_intervals": "certify.interval.run",
    "verify_intervals": "certify.interval.verifier",
}
"""The module, in roodbench, of every public name."""
__getattr__, __dir__ = exporter(__name__, PUBLIC)

__all__ = ["IntervalConfig", "IntervalResult", "certify_intervals", "verify_intervals"]
