"""What a detector is made of: the score it wraps, the network below, and the label that says so."""

from __future__ import annotations

from detectors import Classifier, Detector


def base_of(detector: Detector) -> Detector | None:
    """The score a detector wraps, None where it wraps none."""
    base = getattr(detector, "base", None)
    return base if isinstance(base, Detector) else None


def label_of(detector: Detector) -> str:
    """`ross(gen)` for ross over gen, `gen` for gen alone."""
    base, name = base_of(detector), detector.name or type(detector).__name__
    return name if base is None else f"{name}({label_of(base)})"


def network_of(detector: Detector) -> Classifier | None:
    """The network below a detector, None for one that does not show it as `net`."""
    base = base_of(detector)
    return getattr(detector, "net", None) if base is None else network_of(base)
