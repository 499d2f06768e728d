"""The benchmark: ID splits and OOD sets that belong together."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Integral
from typing import Any, Literal

import numpy as np
from torch import Tensor

from detectors import unknown

from ..words import counted
from .corruptions import of_name, origins
from .images import ImageSet, SplitGuard, joined_sets, subset

log = logging.getLogger("roodbench")


@dataclass(frozen=True, repr=False)
class Benchmark:
    """ID splits, OOD test sets with their group (near or far), and covariate-shifted ID sets."""

    name: str
    id_train: ImageSet
    id_val: ImageSet
    id_test: ImageSet
    ood_val: ImageSet
    ood: Mapping[str, ImageSet]
    groups: Mapping[str, Literal["near", "far"]]
    shifted: Mapping[str, ImageSet] = field(default_factory=dict)
    corruptions: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    """Shifted sets that stand in the place of ID test, each on its own, with corruption and severity (`corrupted`)."""
    eps: float = 2 / 255
    """Default linf radius, in pixels."""
    sigma: float = 0.0125
    """Default standard deviation of smoothing noise, in pixels."""
    space: Literal["pixel", "normalized"] = "pixel"
    std: float = 1.0
    """Mean standard deviation of the network's normalisation: what one unit of this space is in pixels."""

    def __post_init__(self) -> None:
        if not self.ood:
            raise ValueError(f"benchmark {self.name} has no OOD set")
        names = [self.id_test.name]
        for key, images in [*self.ood.items(), *self.shifted.items()]:
            if images.name != key:
                raise ValueError(f"benchmark {self.name}: the set named {images.name!r} is given as {key!r}")
            if key in names:
                raise ValueError(f"benchmark {self.name}: two test sets are named {key!r}")
            if key in self.ood and self.groups.get(key) not in ("near", "far"):
                raise ValueError(f"benchmark {self.name}: group {self.groups.get(key)!r} of {key}: near or far?")
            names.append(key)

    def __repr__(self) -> str:
        sets = ", ".join(f"{name} ({self.groups[name]}, {len(images)})" for name, images in self.ood.items())
        shifted = "".join(f"; shifted ID {name} ({len(images)})" for name, images in self.shifted.items())
        return f"Benchmark({self.name}: {len(self.id_test)} ID images; OOD {sets}{shifted}; {self.space} space)"

    @property
    def bounds(self) -> tuple[float, float]:
        return (0.0, 1.0) if self.space == "pixel" else (-float("inf"), float("inf"))

    def only(self, names: list[str]) -> Benchmark:
        """The benchmark with these OOD (or shifted ID) sets alone; corrupted ones all stay."""
        whole = {key.rpartition("/")[0].rpartition("/")[0] for key in self.corruptions}
        for name in names:
            if name not in self.ood and name not in self.shifted and name not in whole:
                raise ValueError(unknown("OOD set", name, [*self.ood, *self.shifted]))
        if not any(name in self.ood for name in names):
            raise ValueError(f"no OOD set among {', '.join(names)}: expected one of {', '.join(self.ood)}")
        ood = {name: images for name, images in self.ood.items() if name in names}
        kept = {k: v for k, v in self.shifted.items() if k in names or k in self.corruptions}
        return replace(self, ood=ood, shifted=kept)

    def full_spectrum(self) -> Benchmark:
        """The benchmark with covariate-shifted ID counted as ID: one ID test set of the clean and all shifted images.

        A detector should accept what its network can still classify (Yang et al., "Full-Spectrum Out-of-Distribution
        Detection", arXiv:2204.05306). ValueError where there are no shifted sets.
        """
        if not self.shifted:
            raise ValueError(
                f"benchmark {self.name} has no covariate-shifted ID set for a full spectrum "
                "(where OOD sets are chosen, name shifted ones too)"
            )
        name = f"{self.id_test.name}-full-spectrum"
        sets = [self.id_test, *self.shifted.values()]
        whole = joined_sets(name, sets)
        whole.origins = origins(sets)
        return replace(self, name=f"{self.name}-full-spectrum", id_test=whole, shifted={}, corruptions={})

    def corrupted(self) -> Benchmark:
        """The benchmark under common corruptions: shifted sets named CORRUPTION/SEVERITY stand in for ID test in turn.

        ValueError where there is none; `load_benchmark(..., corruptions=True)` makes them of lists.
        """
        found = {name: kind for name in self.shifted if (kind := of_name(name)) is not None}
        if not found:
            raise ValueError(
                f"benchmark {self.name} has no corrupted ID test set: expected a shifted set of a name such as fog/3, "
                "corruption and severity, or of images whose paths have that (docs/data.md)"
            )
        return replace(self, corruptions=found)

    def limited(self, limit: int | None) -> Benchmark:
        """The benchmark with test sets of at most so many images: a fixed random subset, nested over limits."""

        def cut(images: ImageSet) -> ImageSet:
            return images if limit is None or limit >= len(images) else images.at(subset(len(images), limit))

        return replace(
            self,
            id_test=cut(self.id_test),
            ood={name: cut(images) for name, images in self.ood.items()},
            shifted={name: cut(images) for name, images in self.shifted.items()},
        )

    def normalized(self, mean: Tensor, std: Tensor) -> Benchmark:
        """The benchmark in normalised space, (x - mean) / std per channel; unbounded."""
        shape = (1, -1, 1, 1)
        mean, std = mean.detach().cpu().view(shape), std.detach().cpu().view(shape)

        def view(images: ImageSet) -> ImageSet:
            return images.in_space(f"normalized {mean.tolist()} {std.tolist()}", lambda x: (x - mean) / std)

        return replace(
            self,
            id_train=view(self.id_train),
            id_val=view(self.id_val),
            id_test=view(self.id_test),
            ood_val=view(self.ood_val),
            ood={k: view(v) for k, v in self.ood.items()},
            shifted={k: view(v) for k, v in self.shifted.items()},
            space="normalized",
            std=float(std.mean()),
        )

    def check(self) -> None:
        """Read every set; ValueError for an image in two places, or sets with images of different shapes.

        The places are the splits and, each a place of its own, ID test, OOD test and covariate-shifted ID. Images with
        the same pixels are the same: another encoding of a picture is not found. OOD test sets may share images, which
        is a notice (`overlaps`).
        """
        _ = self.overlaps

    @cached_property
    def overlaps(self) -> dict[tuple[str, str], int]:
        """How many images two OOD test sets share, by their names; `check` says what reading them may raise."""
        guard = SplitGuard()
        for place, images in self.places():
            if images.shape != self.id_test.shape:
                raise ValueError(
                    f"{images.name} ({place}) has images (C, H, W) = {images.shape}, "
                    f"{self.id_test.name} (ID test) {self.id_test.shape}: one network takes one shape"
                )
            guard.admit(place, images.looks, [f"{images.name}: {name}" for name in images.names])
        found, sets = {}, list(self.ood.items())
        for i, (name, images) in enumerate(sets):
            for other, before in sets[:i]:
                if n := len(shared(before, images)):
                    found[other, name] = n
                    log.warning("%s", twice(other, name, n))
        return found

    @cached_property
    def groups_of_ood(self) -> dict[str, np.ndarray]:
        """int64 (n,) of each OOD test set: of each image the place of the first one that is the same, counted through
        all OOD sets in their order. What intervals take for one image, within a set and over several."""
        found: dict[str, np.ndarray] = {}
        seen: dict[bytes, int] = {}
        place = 0
        for name, images in self.ood.items():
            places = [seen.setdefault(look, i) for i, look in enumerate(images.looks, start=place)]
            found[name], place = np.array(places, np.int64), place + len(images)
        return found

    def places(self) -> list[tuple[str, ImageSet]]:
        """Every set with the place in which it stands."""
        return [
            *((images.split, images) for images in (self.id_train, self.id_val)),
            ("ID test", self.id_test),
            (self.ood_val.split, self.ood_val),
            *(("OOD test", images) for images in self.ood.values()),
            *(("shifted ID", images) for images in self.shifted.values()),
        ]

    def description(self) -> dict[str, dict[str, Any]]:
        """Counts and content hashes of all splits, for the record; reads (and so checks) every one of them."""
        self.check()
        return {f"{s.split}: {s.name}": {"images": len(s), "sha256": s.digest} for _, s in self.places()}


def shared(one: ImageSet, other: ImageSet) -> list[list[int]]:
    """[image of the other set, image of the one] of each picture that both have, the first of each that is the same."""
    places: dict[bytes, int] = {}
    for i, look in enumerate(one.looks):
        places.setdefault(look, i)
    its = enumerate(zip(other.looks, other.first.tolist(), strict=True))
    return [[i, places[look]] for i, (look, first) in its if i == first and look in places]


def twice(one: str, other: str, n: int) -> str:
    """What is said of two OOD sets that share n images."""
    them = "it" if n == 1 else "them"
    said = f"OOD sets {one} and {other} share {counted(n, 'image')}: their mean counts {them} twice"
    return f"{said}; its intervals of AUROC and AUPR allow for that, FPR95 has none"


def counted_twice(overlaps: Mapping[tuple[str, str], int], names: Collection[str]) -> list[str]:
    """What to beware of in a mean over OOD sets of these names; `overlaps` are those of a benchmark."""
    return [twice(*pair, n) for pair, n in overlaps.items() if set(pair) <= set(names)]


def check_limits(limit: object, train_limit: object) -> None:
    """ValueError for anything but a number of images."""
    if not isinstance(limit, Integral | None) or isinstance(limit, bool):
        raise ValueError(f"limit {limit!r}: expected a whole number of images per population, or None for all")
    if limit is not None and int(limit) < 2:
        raise ValueError(f"limit {limit}: expected at least 2 images per population, or None for all")
    if not isinstance(train_limit, Integral | None) or isinstance(train_limit, bool):
        raise ValueError(f"train_limit {train_limit!r}: expected a whole number of training images, 0 for all")
    if train_limit is not None and (int(train_limit) < 0 or train_limit == 1):
        raise ValueError(f"train_limit {train_limit}: expected at least 2 training images, or 0 for all")
