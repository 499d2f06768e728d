"""A source: images with labels and names in one place, not read yet. Every kind of place gives one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..words import counted
from .images import ImageSet, Split, SplitGuard, subset
from .room import side_by_side

OOD = -1
"""The label of an image of no class."""


@dataclass(frozen=True)
class Source:
    """Labels (n,), -1 for OOD, names (n,), and what reads the images at some indices (k,).

    `read` gives uint8 (k, H, W, C) or float32 (k, C, H, W) and raises ValueError, in one line, for what it cannot read.
    """

    where: str
    """In a message: list 'x.txt', folder 'x', ..."""
    labels: np.ndarray
    names: Sequence[str]
    read: Callable[[np.ndarray], np.ndarray]
    lines: np.ndarray | None = None
    """The lines (n,) of a list that name the images."""
    classes: tuple[str, ...] | None = None
    """The names of the classes, where the place has them."""

    def __post_init__(self) -> None:
        if len(self.labels) < 2:
            raise ValueError(f"{self.where} has {counted(len(self.labels), 'image')}: expected at least 2")

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, index: np.ndarray) -> Source:
        """The images at some indices (k,)."""
        lines = None if self.lines is None else self.lines[index]
        names, read = [self.names[i] for i in index], self.read
        return replace(self, labels=self.labels[index], names=names, read=lambda k: read(index[k]), lines=lines)

    def place(self, i: int) -> str:
        """Where an image is named, for a message."""
        return self.where if self.lines is None else f"{self.where}, line {self.lines[i]}"

    def limited(self, limit: int | None) -> Source:
        """A fixed random subset of so many images, nested over limits: all of them in random order without one."""
        return self.at(subset(len(self), limit))

    def images(self) -> np.ndarray:
        """All of them."""
        return self.read(np.arange(len(self)))

    def image_set(self, name: str, split: Split, guard: SplitGuard) -> ImageSet:
        """The images as one population; labels of an OOD set say nothing and become -1."""
        labels = np.full(len(self), OOD) if split.startswith("OOD") else self.labels
        if not split.startswith("OOD") and (labels == OOD).all():
            raise ValueError(f"{self.where} has no labels: expected a class for every image of {split}")
        if not split.startswith("OOD") and int(labels.min()) < 0:
            at = int((labels < 0).argmax())
            raise ValueError(f"{self.place(at)}: {self.names[at]} has label {labels[at]} in {split}, expected a class")
        images = ImageSet(name, split, labels, self.images, names=self.names, guard=guard)
        images.source = self
        return images


def joined(where: str, parts: Mapping[str, Source]) -> Source:
    """Several sources as one, in their order; names begin with a part's."""
    sources = list(parts.values())
    ends = np.cumsum([len(source) for source in sources])

    def read(index: np.ndarray) -> np.ndarray:
        found = []
        for start, end, source in zip([0, *ends[:-1]], ends, sources, strict=True):
            mine = index[(index >= start) & (index < end)] - start
            if len(mine):
                found.append(source.read(mine))
        order = np.argsort(np.searchsorted(ends, index, side="right"), kind="stable")
        return side_by_side(where, found, np.argsort(order))

    names = [f"{key}: {name}" for key, source in parts.items() for name in source.names]
    return Source(where, np.concatenate([source.labels for source in sources]), names, read)
