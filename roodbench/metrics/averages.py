"""Mean AUROCs over OOD sets, or over ID populations, ready for intervals and differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .auroc import Components, by_cluster, relative_sizes


def average(parts: Sequence[Components]) -> Components:
    """The mean AUROC over OOD sets that share the ID population and the draws, and perhaps images (`Groups`).

    >>> from .auroc import components
    >>> own, near, far = np.array([3.0, 1.0]), np.array([2.0, 0.0]), np.array([0.0, -1.0])
    >>> average([components(own, near), components(own, far)]).value
    0.875
    """
    value, v_id = float(np.mean([p.value for p in parts])), np.mean([p.v_id for p in parts], axis=0)
    sizes = [size for place, part in enumerate(parts) for size in part.sizes[min(place, 1) :]]
    floor = float(np.mean([p.floor for p in parts]))
    numbers = [its for part in parts for its in part.numbers]
    return Components(value, v_id, [v for part in parts for v in part.v_ood], sizes=sizes, numbers=numbers, floor=floor)


def average_over_id(parts: Sequence[Components], keys: Sequence[Sequence[Any]]) -> Components:
    """The mean AUROC over ID populations that share the OOD population and the draws.

    `keys` has of each population what its images (n,) are copies of: those of one key vary together (`by_cluster`).

    >>> from .auroc import components
    >>> ood, mild, strong = np.array([2.0, 0.0]), np.array([3.0, 1.0]), np.array([1.0, -1.0])
    >>> found = average_over_id([components(mild, ood), components(strong, ood)], [["cat", "dog"], ["cat", "dog"]])
    >>> found.value, found.v_id.shape
    (0.5, (1, 2))
    """
    total, v_ood = sum(part.v_id.shape[1] for part in parts), np.mean([part.v_ood[0] for part in parts], axis=0)
    mean = v_ood.mean(axis=1, keepdims=True)
    weighted = [
        mean + total / (len(parts) * v.shape[1]) * (v - v.mean(axis=1, keepdims=True)) for v in (p.v_id for p in parts)
    ]
    places: dict[Any, int] = {}
    first = np.array([places.setdefault(key, i) for i, key in enumerate(key for its in keys for key in its)])
    v_id = by_cluster(np.concatenate(weighted, axis=1), first)
    sizes = [relative_sizes(first, v_id.shape[1]), parts[0].sizes[1]]
    floor = float(np.mean([part.floor for part in parts]))
    value, numbers = float(np.mean([part.value for part in parts])), parts[0].numbers
    return Components(value, v_id, [v_ood], sizes=sizes, numbers=numbers, floor=floor)
