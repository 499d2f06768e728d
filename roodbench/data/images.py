"""Image sets that know their role."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from detectors import Classifier, Fitting, collect

from ..store.features import kept_outputs
from ..store.identity import content_hash, make_of, tensor_hash
from ..store.listed import is_listed

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
        self.fresh = False
        """Whether `outputs` leaves alone what other processes kept of a network."""
        self._outputs: dict[str, Fitting] = {}

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def array(self) -> np.ndarray:
        array = np.ascontiguousarray(self._read())
        digests = [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in array]
        self._guard.admit(self.split, digests, [f"{self.name}: {name}" for name in self.names])
        self._digests = digests
        return array

    def digest_of(self, start: int, stop: int) -> str:
        """A hash of the images and labels start..stop."""
        if len(self.array) == 0:  # reading the images makes their digests
            return ""
        labels = self.labels[start:stop].numpy().tobytes()
        return hashlib.sha256(b"".join(self._digests[start:stop]) + labels).hexdigest()

    @property
    def digest(self) -> str:
        """A hash of all images and labels."""
        return self.digest_of(0, len(self.array))

    def shard_digest(self, number: int) -> str:
        """A hash of one shard: the same where another limit cuts the set elsewhere."""
        return self.digest_of(SHARD * number, min(SHARD * (number + 1), len(self.array)))

    def shard(self, start: int, stop: int) -> Tensor:
        """Images start..stop as float32 (B, C, H, W) in the benchmark's input space."""
        part = self.array[start:stop]
        if part.dtype == np.uint8:
            x = torch.from_numpy(part).permute(0, 3, 1, 2).contiguous().float() / 255
        else:
            x = torch.from_numpy(part).clone()  # nobody writes into the set; aligned, so that sums repeat
        bad = ~x.flatten(1).isfinite().all(1)
        if bad.any():
            raise ValueError(f"{self.name}: {self.names[start + int(bad.nonzero()[0])]} has non-finite pixels")
        return x if self.transform is None else self.transform(x)

    @property
    def shard_count(self) -> int:
        return -(-len(self) // SHARD)

    def shards(self, numbers: Sequence[int] | None = None) -> Iterator[tuple[int, Tensor]]:
        """(shard number, images), of all shards or some; the next is made ready while the caller works on one."""
        numbers = range(self.shard_count) if numbers is None else numbers
        with ThreadPoolExecutor(1) as loader:
            ahead = [loader.submit(self.shard, SHARD * n, min(SHARD * (n + 1), len(self))) for n in numbers[:1]]
            for place, number in enumerate(numbers):
                x = ahead.pop().result()
                for n in numbers[place + 1 : place + 2]:
                    ahead.append(loader.submit(self.shard, SHARD * n, min(SHARD * (n + 1), len(self))))
                yield number, x

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if self.split.endswith("test"):
            raise ValueError(f"{self.name} is a test set ({self.split}): no detector may be fitted on it")
        for number, x in self.shards():
            yield x, self.labels[number * SHARD : number * SHARD + len(x)]

    def outputs(self, net: Classifier) -> Fitting:
        """What `net` says of the whole set, computed once per network and input space and kept on disk by content.

        Of a network with code of others nothing outlives the process, and here it must still say the same of the first
        images: no key can list all that such code depends on.
        """
        if self.split.endswith("test"):
            raise ValueError(f"{self.name} is a test set ({self.split}): no detector may be fitted on it")
        fingerprint = getattr(net, "fingerprint", None)
        if fingerprint is None:
            return collect(net, iter(self))
        device, listed = net.head.weight.device, is_listed(net)
        said = () if listed else collect(net, [next(iter(self))])
        first = [tensor_hash(tensor) for tensor in said if tensor is not None]
        key = content_hash([self.digest, self.space, fingerprint(), *make_of(net), first])
        if key not in self._outputs:

            def compute() -> Fitting:
                return collect(net, iter(self))

            self._outputs[key] = kept_outputs(key, compute, device, fresh=self.fresh) if listed else compute()
        return self._outputs[key]

    def in_space(self, space: str, transform: Callable[[Tensor], Tensor]) -> ImageSet:
        """The same images, transformed as they are served; `space` names the transformation."""
        view = copy.copy(self)
        view.transform, view.space = transform, space
        return view


def subset(n: int, limit: int | None) -> np.ndarray:
    """The indices that `limit` keeps of n: the start of one fixed permutation, so that limits are nested."""
    return np.random.default_rng(0).permutation(n)[:limit]
