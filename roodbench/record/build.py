"""The result record of everything that was evaluated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data import Benchmark
from ..data.benchmark import shared
from ..evaluation.indicators import Indicator, indicators_of
from ..evaluation.populations import Evaluated
from ..store.cells import checksum
from .environment import environment
from .pictures import images_in
from .record import score_key
from .result import Result
from .row import Row, ShiftedSet, Timing
from .rows import attacks_of, detector_of, rows_of
from .shifted import cells_of, corrupted_rows, shifted_of


def build(found: Sequence[Evaluated], config: dict[str, Any], device: torch.device, timing: dict[str, Any]) -> Result:
    """The record of some evaluations on one benchmark: detectors, each at one or more radii."""
    rows: list[Row] = []
    averages: list[Row] = []
    indicators: list[Indicator] = []
    shifted: list[ShiftedSet] = []
    seen = set()
    for f in found:
        verdicts = indicators_of(f)
        # what is said of data and network, and of a detector at a further radius, is there already
        indicators += [entry for entry in verdicts if entry not in indicators]
        cells = cells_of(f)
        shifted += [entry for entry in shifted_of(f, verdicts, cells) if entry not in shifted]
        own = rows_of(f, verdicts)
        more = corrupted_rows(f, verdicts, cells, own) if cells else ([], [])
        for kept, new in zip((rows, averages, rows, averages), (*own, *more), strict=True):
            # at a further radius of the same detector its clean rows are there already
            kept += [row for row in new if id(f.detector) not in seen or row.eps is not None]
        seen.add(id(f.detector))
    scores, images = scores_in(found), images_in(found)
    return Result(
        config=config,
        environment=environment(device),
        data=described(found[0].bench),
        rows=rows,
        averages=averages,
        shifted_id=shifted,
        indicators=indicators,
        attacks=[entry for f in found for entry in attacks_of(f)],
        detectors=[detector_of(f) for f in found],
        timing=Timing(**timing),
        scores=scores,
        scores_sha256=checksum(scores),
        images=images,
        images_sha256=checksum(images) if images else None,
    )


def described(bench: Benchmark) -> dict[str, dict[str, Any]]:
    """Counts and hashes of all splits; of test sets that repeat images, `copies`: each with the first of its kind.

    Of ID test over the full spectrum `related` too: each copy of an image, corrupted or not, with the first of them. Of
    OOD sets, `shared`: which images others before it have too, as [image, image of the other].
    """
    found = bench.description()
    for images in (bench.id_test, *bench.ood.values(), *bench.shifted.values()):
        its = found[f"{images.split}: {images.name}"]
        said = {
            "copies": repeats(images.first),
            **({} if images.origins is None else {"related": repeats(images.related)}),
        }
        its |= {name: pairs for name, pairs in said.items() if pairs}
    for one, other in bench.overlaps:
        pairs = shared(bench.ood[one], bench.ood[other])
        found[f"{bench.ood[other].split}: {other}"].setdefault("shared", {})[one] = pairs
    return found


def repeats(first: np.ndarray) -> list[list[int]]:
    """[image, first of its group] of every image that is not the first."""
    return [[i, one] for i, one in enumerate(first.tolist()) if one != i]


def scores_in(found: Iterable[Evaluated]) -> dict[str, Tensor]:
    """Report scores (R, n) by `score_key`, and the winners of attacked populations."""
    tensors = {}
    for f in found:
        for (name, condition), population in f.populations.items():
            key = score_key(f.detector.label, name, condition, None if f.plan is None else f.plan.threat.eps)
            tensors[key] = population.scores
            if population.winner is not None:
                tensors[f"{key}/winner"] = population.winner
    return tensors
