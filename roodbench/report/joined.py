"""Several runs as one: detectors that one code attacked in one way on the same images, on one page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

from ..record.result import Result
from ..record.row import Timing
from ..store.cells import checksum
from .changes import different
from .read import Kept

OWN = ("detector", "base", "params", "search", "left_out", "keep_images")
"""Settings that are a run's own: its rows name what came of them."""
PLACES = ("data_root", "checkpoint", "denoiser_checkpoint", "model_dir", "download", "device", "batch_size", "memory")
"""Settings that decide no number: where files lay, and the machine."""


def joined(runs: Sequence[Kept]) -> Kept:
    """One record of all detectors of some runs, in their order; of a single one, itself.

    ValueError for runs that differ in images, code, or a setting of the attack, that have a detector in common, and for
    certifications.
    """
    if len(runs) == 1:
        return runs[0]
    records = [record_of(run) for run in runs]
    for (one, first), (other, second) in combinations(zip(runs, records, strict=True), 2):
        check_alike(one.name, first, other.name, second)
    parts: dict[str, Any] = {
        name: list({repr(its): its for record in records for its in getattr(record, name)}.values())
        for name in ("rows", "averages", "shifted_id", "attacks", "detectors")
    }
    checks = {(i.detector, i.name, i.eps): i for record in records for i in record.indicators}
    scores = {key: value for record in records for key, value in record.scores.items()}
    images = {key: value for record in records for key, value in record.images.items()}
    names = [name for record in records for name in record.config["detector"]]
    whole = all(record.scores for record in records)
    record = replace(
        records[0],
        config={**records[0].config, "detector": names},
        **parts,
        indicators=list(checks.values()),
        timing=Timing(sum(record.timing.seconds for record in records)),
        scores=scores if whole else {},
        scores_sha256=checksum(scores) if whole else None,
        images=images,
        images_sha256=checksum(images) if images else None,
    )
    return Kept(", ".join(run.name for run in runs), record, {})


def record_of(run: Kept) -> Result:
    if not isinstance(run.record, Result) or not isinstance(run.record.config.get("detector"), list | tuple):
        raise ValueError(f"'{run.name}' is no record of `run`: expected runs alone where several share a page")
    return run.record


def check_alike(one: str, first: Result, other: str, second: Result) -> None:
    """ValueError for two runs that cannot share a page."""
    wanted = {name: its for name, its in first.config.items() if name not in (*OWN, *PLACES)}
    given = {name: its for name, its in second.config.items() if name not in (*OWN, *PLACES)}
    parts = {"data": (first.data, second.data), "code": (first.environment.code, second.environment.code)}
    parts["config"] = (wanted, given)
    for what, (a, b) in parts.items():
        for name, before, after in different(a, b):
            said = f"{what} {name}".strip()
            raise ValueError(f"'{one}' and '{other}' differ in {said} ({before}, {after}): expected the same")
    both = [d.detector for d in first.detectors if d.detector in {its.detector for its in second.detectors}]
    if both:
        raise ValueError(f"'{one}' and '{other}' both have {both[0]}: expected each detector once")
