"""Benchmarks by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral
from os import PathLike
from pathlib import Path

from detectors import unknown
from detectors.care import usual_state

from .benchmark import Benchmark

BENCHMARKS = {"digits": "scikit-learn's handwritten digits, embedded", "cifar10": "CIFAR-10 in OpenOOD's folder layout"}
EMBEDDED = ("digits",)
"""Benchmarks that read no images from a folder."""


@usual_state()
def load_benchmark(
    name: str = "digits", *, root: str | Path | None = None, ood: Sequence[str] | None = None, limit: int | None = None
) -> Benchmark:
    """The benchmark `name`, its test sets cut to `limit` images each (a fixed random subset, nested over limits).

    `root` is the folder with `images_classic` and `benchmark_imglist` (cifar10); `ood` names the OOD sets wanted,
    default all. Raises ValueError for an unknown name, a missing folder, list or image, and a setting of another type.
    """
    if not isinstance(name, str) or name not in BENCHMARKS:
        raise ValueError(unknown("benchmark", name, BENCHMARKS))
    if not isinstance(limit, Integral | None) or isinstance(limit, bool):
        raise ValueError(f"limit {limit!r}: expected a whole number of images per population, or None for all")
    if not isinstance(root, str | PathLike | None):
        raise ValueError(f"root {root!r}: expected a folder")
    if not isinstance(ood, Iterable | None):
        raise ValueError(f"ood {ood!r}: expected a name or a list of them")
    if limit is not None and limit < 2:
        raise ValueError(f"limit {limit}: expected at least 2 images per population")
    if name == "digits":
        from .digits import digits

        bench = digits(limit)
    else:
        from .openood import cifar10

        if root is None:
            raise ValueError(f"benchmark {name} needs its images: give --data-root DIR or set ROODBENCH_DATA")
        bench = cifar10(Path(root), limit)
    return bench if ood is None else bench.only([ood] if isinstance(ood, str) else list(ood))
