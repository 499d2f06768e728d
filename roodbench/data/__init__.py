"""Benchmarks: ID train / val / test and named OOD sets, as images in [0, 1]."""

from .benchmark import Benchmark
from .given import benchmark_from
from .images import SHARD, ImageSet, SplitGuard
from .load import BENCHMARKS, load_benchmark

__all__ = ["BENCHMARKS", "SHARD", "Benchmark", "ImageSet", "SplitGuard", "benchmark_from", "load_benchmark"]
