"""Image sets that know their role."""

from __future__ import annotations

import copy
import hashlib
import logging
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from detectors import Classifier, Fitting, collect, unknown
from detectors.score import device_of

from ..store.features import kept_outputs
from ..store.identity import content_hash, make_of, tensor_hash
from ..store.listed import is_listed
from .content import Content, read_content
from .room import side_by_side

log = logging.getLogger("roodbench")
Split = Literal["ID train", "ID val", "ID test", "OOD val", "OOD test"]
SHARD = 64
"""Images per shard: the unit of batching and of noise streams."""


class SplitGuard:
    """Remembers the content of every image admitted and refuses one that is in two splits."""

    def __init__(self) -> None:
        self._seen: dict[bytes, tuple[str, str]] = {}

    def admit(self, split: str, looks: Sequence[bytes], names: Sequence[str]) -> None:
        """ValueError where another split has an image with one of these hashes; `names` are the images'."""
        found = [(self._seen.setdefault(look, (split, name)), name) for look, name in zip(looks, names, strict=True)]
        clashes = [(other, name) for other, name in found if other[0] != split]
        if clashes:
            (other, other_name), name = clashes[0]
            others = len(clashes) - 1
            more = f", and so {'is' if others == 1 else 'are'} {others} more" if others else ""
            raise ValueError(f"the same image is in {other} ({other_name}) and in {split} ({name}){more}")


class ImageSet:
    """One population of images: read on first use, checked against the other splits, served in shards of 64.

    `images` reads the uint8 (n, H, W, C) or float32 (n, C, H, W) array, C 1 or 3, pixels in [0, 1] (uint8: of 255);
    `labels` are (n,), -1 for OOD. Iterating gives (x, y) batches for `fit`; a test set refuses that, so nothing can be
    fitted on it. Raises ValueError for labels that are no classes and, at the first use, for images of another layout,
    type or range, or fewer than 2 different ones. Images that repeat are a notice.
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
        if split not in get_args(Split):
            raise ValueError(unknown("split", split, get_args(Split)))
        self.name, self.split = name, split
        self.labels = labels_of(f"{name} ({split})", labels, least=0 if split.startswith("ID") else None)
        self.names = list(names) if names is not None else [f"image {i}" for i in range(len(self.labels))]
        if len(self.names) != len(self.labels):
            raise ValueError(f"{name}: {len(self.labels)} labels for {len(self.names)} names")
        self.transform: Callable[[Tensor], Tensor] | None = None
        self.space = "pixel"
        self.fresh = False
        """Whether `outputs` leaves alone what other processes kept of a network."""
        self.source: Any = None
        """What reads images one by one (`Source`), where there is such a thing."""
        self.origins: Sequence[Hashable] | None = None
        """What each image is a copy of, where a set has several copies of one that differ (`corruptions.origins`)."""
        self._outputs: dict[tuple[str, torch.device], Fitting] = {}

        @cache
        def content() -> Content:
            found = read_content(name, self.names, images)
            if guard is not None:
                guard.admit(split, found.looks, [f"{name}: {image}" for image in self.names])
            self._note_repeats(found)
            return found

        self._content = content

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"ImageSet({self.name!r}, {self.split}, {len(self)} images)"

    @property
    def array(self) -> np.ndarray:
        """A copy of the images as they were read: nobody can write into the set, not even past numpy's lock."""
        copied = self._content().pixels.copy()
        copied.flags.writeable = False
        return copied

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        return self._content().shape

    @property
    def looks(self) -> Sequence[bytes]:
        """A hash of each image, equal where a network sees the same."""
        return self._content().looks

    @property
    def is_read(self) -> bool:
        """Whether the images are known: looking at them costs no reading."""
        return bool(self._content.cache_info().currsize)

    @property
    def first(self) -> np.ndarray:
        """int64 (n,): for each image the index of the first image of the set with the same pixels."""
        return self._content().first

    @property
    def related(self) -> np.ndarray:
        """int64 (n,): like `first`, with copies of one image as one: what varies together in intervals."""
        if self.origins is None:
            return self.first
        places: dict[Hashable, int] = {}
        return np.array([places.setdefault(self.origins[i], i) for i in self.first.tolist()])

    @property
    def distinct(self) -> int:
        """The number of images with different pixels."""
        return self._content().distinct

    @property
    def brightest(self) -> float:
        """The largest value of a pixel, of 1."""
        return self._content().brightest

    def _note_repeats(self, content: Content) -> None:
        where, n = f"{self.name} ({self.split})", len(self)
        if content.distinct < n:
            log.warning("%s: %d images, %d distinct: a repeated image says nothing new", where, n, content.distinct)
        other = int((self.labels.numpy() != self.labels.numpy()[content.first]).sum())
        if other and self.split.startswith("ID"):
            log.warning("%s: %d of %d images repeat another one under another label", where, other, n)

    def digest_of(self, start: int, stop: int) -> str:
        """A hash of the images and labels start..stop."""
        labels = self.labels[start:stop].numpy().tobytes()
        return hashlib.sha256(b"".join(self._content().digests[start:stop]) + labels).hexdigest()

    @property
    def digest(self) -> str:
        """A hash of all images and labels."""
        return self.digest_of(0, len(self))

    def shard_digest(self, number: int) -> str:
        """A hash of one shard: the same where another limit cuts the set elsewhere."""
        return self.digest_of(SHARD * number, min(SHARD * (number + 1), len(self)))

    def shard(self, start: int, stop: int) -> Tensor:
        """Images start..stop, as far as there are any, as float32 (B, C, H, W) in the benchmark's input space."""
        # a copy: nobody writes into the set; aligned, so that sums repeat
        x = torch.tensor(self._content().pixels[start:stop])
        if x.dtype == torch.uint8:
            x = x.permute(0, 3, 1, 2).contiguous().float() / 255
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
            yield x, self.labels[number * SHARD : number * SHARD + len(x)].clone()

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
        device, listed = device_of(net), is_listed(net)
        said = () if listed else collect(net, [next(iter(self))])
        first = [tensor_hash(tensor) for tensor in said if tensor is not None]
        key = content_hash([self.digest, self.space, fingerprint(), *make_of(net), first])
        if (key, device) not in self._outputs:

            def compute() -> Fitting:
                return collect(net, iter(self))

            found = kept_outputs(key, compute, device, fresh=self.fresh) if listed else compute()
            self._outputs[key, device] = found
        return Fitting(*(None if part is None else part.clone() for part in self._outputs[key, device]))  # type: ignore[arg-type]

    def in_space(self, space: str, transform: Callable[[Tensor], Tensor]) -> ImageSet:
        """The same images, transformed as they are served; `space` names the transformation."""
        view = copy.copy(self)
        view.transform, view.space = transform, space
        return view

    def at(self, index: np.ndarray) -> ImageSet:
        """The images at some places (k,) alone; a place may repeat."""
        part, content = copy.copy(self), self._content().at(index)
        part.labels, part.names = self.labels[index], [self.names[i] for i in index]
        part._content = cache(lambda: content)
        part.origins = None if self.origins is None else [self.origins[i] for i in index]
        part.source = None if self.source is None else self.source.at(index)
        return part


def joined_sets(name: str, sets: Sequence[ImageSet]) -> ImageSet:
    """Several populations of one split and input space as one, in their order; names begin with a set's."""
    first = sets[0]
    labels = torch.cat([images.labels for images in sets]).numpy()
    names = [f"{images.name}: {image}" for images in sets for image in images.names]

    def read() -> np.ndarray:
        return side_by_side(name, [images._content().pixels for images in sets])

    whole = ImageSet(name, first.split, labels, read, names=names)
    return whole if first.transform is None else whole.in_space(first.space, first.transform)


def subset(n: int, limit: int | None) -> np.ndarray:
    """The indices that `limit` keeps of n: the start of one fixed permutation, so that limits are nested."""
    return np.random.default_rng(0).permutation(n)[:limit]


def labels_of(where: str, labels: Any, least: int | None) -> Tensor:
    """Labels (n,) as int64; ValueError unless it is one whole number per image, each at least `least`."""
    found = np.asarray(labels)
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise ValueError(
            f"{where}: labels are {found.dtype} {found.shape}: expected whole numbers (n,), one per image, -1 for OOD"
        )
    if least is not None and len(found) and found.min() < least:
        raise ValueError(f"{where}: label {found.min()}: expected classes of at least {least} in an ID set")
    return torch.tensor(found.astype(np.int64))
