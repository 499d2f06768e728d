"""Hyper-parameter search as published (APS): the full grid, AUROC of ID validation against OOD validation images."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

import detectors
from detectors import WRAPPERS, Smoothed
from detectors.score import device_of

from .. import metrics
from ..data import Benchmark, ImageSet
from ..engine.streams import stream

Params = dict[str, Any]


def search(
    name: str, net: detectors.Classifier, bench: Benchmark, *, base: str, fixed: Mapping[str, Any], seed: int = 0
) -> tuple[Params, Params]:
    """The best point of the published grid (strict >, so the first of equals) and what the record says of the search.

    `fixed` parameters are not searched. Test images are never read; what depends on the parameters (tau, thresholds)
    is refitted for each candidate. Candidates that differ in the class's `shared` parameters alone share their passes.
    """
    cls, sets = detectors.class_of(name), (bench.id_val, bench.ood_val)
    grid = grid_of(name, base, net, bench, fixed)
    inner = {key: values for key, values in grid.items() if key in cls.shared}
    best, best_auroc, tried = {}, -1.0, 0

    def over(images: ImageSet, score: Callable[[Tensor, torch.Generator], Tensor]) -> Tensor:
        """score(x, generator) (..., B) over a whole set, shard by shard."""
        parts = []
        for shard, x in images.shards():
            x = x.to(device_of(net))
            with torch.no_grad():
                parts.append(score(x, stream(seed, "search", images.name, shard, x.device)))
        return torch.cat(parts, -1)

    for outer in points({key: values for key, values in grid.items() if key not in inner}):
        candidates = [{**outer, **point} for point in points(inner)]
        members = [detectors.create(name, net, base=base, **{**fixed, **params}) for params in candidates]
        scores = cls.together(members, bench.id_train, sets, over)
        for params, (id_scores, ood_scores) in zip(candidates, scores, strict=True):
            auroc = metrics.auroc(id_scores.double().cpu().numpy(), ood_scores.double().cpu().numpy())
            tried += 1
            if auroc > best_auroc:
                best, best_auroc = params, auroc
    facts = {"id_val": bench.id_val.name, "ood_val": bench.ood_val.name, "candidates": tried}
    return best, {**facts, "params": best, "auroc": best_auroc}


def grid_of(
    name: str, base: str, net: detectors.Classifier, bench: Benchmark, fixed: Mapping[str, Any]
) -> dict[str, tuple[Any, ...]]:
    """The published grid without the fixed parameters; sigma in the benchmark's own units; ViM's dims below D."""
    cls = detectors.class_of(name)
    grid = dict(cls.grid_over(base))
    if "sigma" in grid:
        unit = bench.sigma / bench.std / detectors.keywords(Smoothed)["sigma"]
        grid["sigma"] = tuple(sigma * unit for sigma in grid["sigma"])
    if "dim" in grid:
        grid["dim"] = tuple(dim for dim in grid["dim"] if dim < net.head.in_features)
    if "neighbours" in grid:
        grid["neighbours"] = tuple(k for k in grid["neighbours"] if k <= len(bench.id_train))
    symbols = {**cls.symbols, **(detectors.base_of(base).symbols if name in WRAPPERS else {})}
    taken = {symbols.get(key, key) for key in fixed}
    return {key: values for key, values in grid.items() if values and key not in taken}


def points(grid: Mapping[str, tuple[Any, ...]]) -> Iterator[Params]:
    """Every point of a grid, the last parameter moving fastest; a grid of no parameters has one, empty, point."""
    return (dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values()))
