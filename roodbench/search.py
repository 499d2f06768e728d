"""Hyper-parameter search as published (APS): the full grid, AUROC of ID validation against OOD validation images."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

import detectors
from detectors import BASES, ODIN, PRO, WRAPPERS, Detector, Score, Smoothed

from . import metrics
from .attacker import stream
from .data import Benchmark, ImageSet

Params = dict[str, Any]


def search(
    name: str, net: detectors.Classifier, bench: Benchmark, *, base: str, fixed: Mapping[str, Any], seed: int = 0
) -> tuple[Params, Params]:
    """The best point of the published grid (strict >, so the first of equals) and what the record says of the search.

    `fixed` parameters are not searched. Test images are never read; what depends on the parameters (tau, thresholds)
    is refitted for each candidate. Scores of a network's outputs share one pass, steps of PRO one path, copies and
    gains of ROSS one set of noisy scores.
    """
    grid = grid_of(name, base, net, bench, fixed)
    best, best_auroc, tried = {}, -1.0, 0
    for params, id_scores, ood_scores in candidates(name, net, bench, base, fixed, grid, seed):
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
    grid = dict(PRO.grid_over(base) if cls is PRO else cls.grid)
    if "sigma" in grid:
        unit = bench.sigma / bench.std / detectors.keywords(Smoothed)["sigma"]
        grid["sigma"] = tuple(sigma * unit for sigma in grid["sigma"])
    if "dim" in grid:
        grid["dim"] = tuple(dim for dim in grid["dim"] if dim < net.head.in_features)
    if "neighbours" in grid:
        grid["neighbours"] = tuple(k for k in grid["neighbours"] if k <= len(bench.id_train))
    symbols = {**cls.symbols, **(BASES[base].symbols if name in WRAPPERS else {})}
    taken = {symbols.get(key, key) for key in fixed}
    return {key: values for key, values in grid.items() if values and key not in taken}


def points(grid: Mapping[str, tuple[Any, ...]]) -> Iterator[Params]:
    """Every point of a grid, the last parameter moving fastest; a grid of no parameters has one, empty, point."""
    return (dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values()))


def candidates(
    name: str,
    net: detectors.Classifier,
    bench: Benchmark,
    base: str,
    fixed: Mapping[str, Any],
    grid: Mapping[str, tuple[Any, ...]],
    seed: int,
) -> Iterator[tuple[Params, Tensor, Tensor]]:
    """Parameters with the scores of the ID and OOD validation images, for every point of the grid."""

    def make(params: Params) -> Detector:
        return detectors.create(name, net, base=base, **{**fixed, **params})

    def over(images: ImageSet, score: Callable[[Tensor, torch.Generator], Tensor]) -> Tensor:
        """score(x, generator) (..., B) over a whole set, shard by shard."""
        parts = []
        for shard, x in images.shards():
            x = x.to(net.head.weight.device)
            with torch.no_grad():
                parts.append(score(x, stream(seed, "search", images.name, shard, x.device)))
        return torch.cat(parts, -1)

    sets = (bench.id_val, bench.ood_val)
    cls = detectors.class_of(name)
    shared = SHARED if issubclass(cls, PRO | Smoothed) else ()
    inner = {key: values for key, values in grid.items() if key in shared}
    for params in points({key: values for key, values in grid.items() if key not in shared}):
        detector = make(params)
        if isinstance(detector, PRO):
            longest = make({**params, "steps": max(inner.get("steps", (detector.steps,)))})
            assert isinstance(longest, PRO)
            longest.fit(bench.id_train, bench.id_val)
            paths = [over(images, lambda x, _, d=longest: d.path(x)[0]) for images in sets]  # type: ignore[misc]
            for point in points(inner):
                steps = point.get("steps", detector.steps)
                ends = [path[steps] if detector.last else path[: steps + 1].amin(0) for path in paths]
                yield {**params, **point}, ends[0], ends[1]
        elif isinstance(detector, Smoothed):
            detector.base.fit(bench.id_train, bench.id_val)
            n = max(inner.get("copies", (detector.copies,)))
            scores = [over(images, lambda x, g, d=detector, n=n: d.matrix(x, generator=g, n=n)) for images in sets]  # type: ignore[misc]
            for point in points(inner):
                member = make({**params, **point})
                assert isinstance(member, Smoothed)
                id_scores, ood_scores = (matrix[: member.copies] for matrix in scores)
                member.fit_medians(id_scores.median(0).values)
                yield {**params, **point}, member.combine(id_scores), member.combine(ood_scores)
        elif isinstance(detector, ODIN):
            id_scores, ood_scores = (over(images, lambda x, _, d=detector: d(x)) for images in sets)  # type: ignore[misc]
            yield params, id_scores, ood_scores
        else:
            detector.fit(bench.id_train, bench.id_val)
            assert isinstance(detector, Score)
            with torch.no_grad():
                id_scores, ood_scores = (detector.score(*images.outputs(net)[:2]) for images in sets)
            yield params, id_scores, ood_scores


SHARED = ("steps", "copies", "gain")
"""Parameters of PRO and ROSS whose candidates come from the same network passes."""
