"""Certified AUROC of scores of small networks at linf radii, by interval bounds: no noise, no probability."""

from .config import BOUNDED, IntervalConfig

__all__ = ["BOUNDED", "IntervalConfig"]
