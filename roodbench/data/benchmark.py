"""Image sets that know their role, and the benchmark that holds them together."""

from __future__ import annotations

import contextlib
import copy
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from platformdirs import user_cache_path
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from detectors import Classifier, collect, unknown
from detectors.detector import Fitting

from ..files import code_version, content_hash, save_tensors

Split = Literal["ID train", "ID val", "ID test", "OOD val", "OOD test"]
SHARD = 64
"""Images per shard: the unit of batching and of noise streams."""


class SplitGuard:
    """Remembers the content of every image read and refuses one that is in two splits."""

    def __init__(self) -> None:
        self._seen: dict[bytes, tuple[str, str]] = {}

    def admit(self, split: str, digests: Sequence[bytes], names: Sequence[str]) -> None:
        for digest, name in zip(digests, names, strict=True):
            other, other_name = self._seen.setdefault(digest, (split, name))
            if other != split:
                raise ValueError(f"the same image is in {other} ({other_name}) and in {split} ({name})")


class ImageSet:
    """One population of images: read on first use, checked against the other splits, served in shards of 64.

    `images` reads the uint8 (n, H, W, C) or float32 (n, C, H, W) array; `labels` are (n,), -1 for OOD. Iterating
    gives (x, y) batches for `fit`; a test set refuses that, so nothing can be fitted on it.
    """

    def __init__(
        self,
        name: str,
        split: Split,
        labels: Sequence[int] | np.ndarray,
        images: Callable[[], np.ndarray],
        *,
        names: Sequence[str] | None = None,
        guard: SplitGuard | None = None,
    ) -> None:
        self.name, self.split = name, split
        self.labels = torch.as_tensor(np.asarray(labels), dtype=torch.long)
        self.names = list(names) if names is not None else [f"image {i}" for i in range(len(self.labels))]
        self._read, self._guard = images, guard or SplitGuard()
        self.transform: Callable[[Tensor], Tensor] | None = None
        self.space = "pixel"
        self._outputs: dict[str, Fitting] = {}

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def array(self) -> np.ndarray:
        array = np.ascontiguousarray(self._read())
        digests = [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in array]
        self._guard.admit(self.split, digests, [f"{self.name}: {name}" for name in self.names])
        self._content = hashlib.sha256(b"".join(digests) + self.labels.numpy().tobytes()).hexdigest()
        return array

    @property
    def digest(self) -> str:
        """A hash of the images and labels."""
        return self._content if self.array is not None else ""

    def shard(self, start: int, stop: int) -> Tensor:
        """Images start..stop as float32 (B, C, H, W) in the benchmark's input space."""
        part = self.array[start:stop]
        if part.dtype == np.uint8:
            x = torch.from_numpy(part).permute(0, 3, 1, 2).contiguous().float() / 255
        else:
            x = torch.from_numpy(part)
        bad = ~x.flatten(1).isfinite().all(1)
        if bad.any():
            raise ValueError(f"{self.name}: {self.names[start + int(bad.nonzero()[0])]} has non-finite pixels")
        return x if self.transform is None else self.transform(x)

    def shards(self) -> Iterator[tuple[int, Tensor]]:
        """(shard number, images) over the whole set; the next shard is made ready while the caller works on one."""
        starts = range(0, len(self), SHARD)
        with ThreadPoolExecutor(1) as loader:
            ahead = loader.submit(self.shard, 0, min(SHARD, len(self)))
            for number, start in enumerate(starts):
                x, after = ahead.result(), start + SHARD
                if after < len(self):
                    ahead = loader.submit(self.shard, after, min(after + SHARD, len(self)))
                yield number, x

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if self.split.endswith("test"):
            raise ValueError(f"{self.name} is a test set ({self.split}): no detector may be fitted on it")
        for number, x in self.shards():
            yield x, self.labels[number * SHARD : number * SHARD + len(x)]

    def outputs(self, net: Classifier) -> Fitting:
        """What `net` says of the whole set, computed once per network and input space and kept on disk by content."""
        if self.split.endswith("test"):
            raise ValueError(f"{self.name} is a test set ({self.split}): no detector may be fitted on it")
        fingerprint = getattr(net, "fingerprint", None)
        if fingerprint is None:
            return collect(net, iter(self))
        device = net.head.weight.device
        key = content_hash([self.digest, self.space, fingerprint(), torch.__version__, device.type, code_version()])
        if key not in self._outputs:
            file = user_cache_path("roodbench") / "features" / f"{key}.safetensors"
            try:
                found = load_file(file)
            except (OSError, SafetensorError):
                outputs = collect(net, iter(self))
                found = {k: v for k, v in outputs._asdict().items() if v is not None}
                with contextlib.suppress(OSError):
                    save_tensors(found, file)
            found = {k: v.to(device) for k, v in found.items()}
            self._outputs[key] = Fitting(found["logits"], found.get("features"), found["labels"])
        return self._outputs[key]

    def in_space(self, space: str, transform: Callable[[Tensor], Tensor]) -> ImageSet:
        """The same images, transformed as they are served; `space` names the transformation."""
        view = copy.copy(self)
        view.transform, view.space = transform, space
        return view


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

    def description(self) -> dict[str, object]:
        """Counts and content hashes of all splits, for the record; reads (and so checks) every one of them."""
        sets = [self.id_train, self.id_val, self.id_test, self.ood_val, *self.ood.values(), *self.shifted.values()]
        return {f"{s.split}: {s.name}": {"images": len(s), "sha256": s.digest} for s in sets}


def subset(n: int, limit: int | None) -> np.ndarray:
    """The indices that `limit` keeps of n: the start of one fixed permutation, so that limits are nested."""
    return np.random.default_rng(0).permutation(n)[:limit]
