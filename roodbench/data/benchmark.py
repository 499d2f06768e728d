"""The benchmark: ID splits and OOD sets that belong together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from torch import Tensor

from detectors import unknown

from .images import ImageSet


@dataclass(frozen=True)
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
    eps: float = 2 / 255
    """Default linf radius, in pixels."""
    sigma: float = 0.0125
    """Default standard deviation of smoothing noise, in pixels."""
    space: Literal["pixel", "normalized"] = "pixel"
    std: float = 1.0
    """Mean standard deviation of the network's normalisation: what one unit of this space is in pixels."""

    @property
    def bounds(self) -> tuple[float, float]:
        return (0.0, 1.0) if self.space == "pixel" else (-float("inf"), float("inf"))

    def only(self, names: list[str]) -> Benchmark:
        """The benchmark with these OOD (or shifted ID) sets alone."""
        for name in names:
            if name not in self.ood and name not in self.shifted:
                raise ValueError(unknown("OOD set", name, [*self.ood, *self.shifted]))
        if not any(name in self.ood for name in names):
            raise ValueError(f"no OOD set among {', '.join(names)}: expected one of {', '.join(self.ood)}")
        ood = {name: images for name, images in self.ood.items() if name in names}
        return replace(self, ood=ood, shifted={k: v for k, v in self.shifted.items() if k in names})

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

    def description(self) -> dict[str, dict[str, Any]]:
        """Counts and content hashes of all splits, for the record; reads (and so checks) every one of them."""
        sets = [self.id_train, self.id_val, self.id_test, self.ood_val, *self.ood.values(), *self.shifted.values()]
        return {f"{s.split}: {s.name}": {"images": len(s), "sha256": s.digest} for s in sets}
