"""The worker maps a function over the shards of an image set, keeps what is finished, goes on when memory runs out.

Evaluation, certification and the indicators' probes compute through it and know nothing of stores, devices or progress.
Another engine takes its place by answering `map` and `once`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from attacks import GradientError, NonFiniteError
from detectors import Detector, GivenError

from ..data import SHARD, ImageSet
from ..machine.memory import within_memory
from ..store.cells import Cell, Store
from .errors import EvaluationError
from .progress import Progress, progress_of, silent
from .streams import stream
from .users import users_code

log = logging.getLogger("roodbench")
T = TypeVar("T")


class Worker:
    """One fitted detector on one device, with the noise streams of a seed.

    What it computes is kept in `store` under `key` (what besides the images, the request and the code decides it), the
    seed, the kind of device and torch's version.
    """

    def __init__(
        self,
        detector: Detector,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
        store: Store | None = None,
        key: Mapping[str, Any] | None = None,
        progress: Progress | bool = False,
    ) -> None:
        self.detector, self.seed, self.device = detector, seed, torch.device(device)
        self.store, self.progress = store, progress_of(progress)
        self.key = {**(key or {}), "seed": seed, "device": self.device.type, "torch": torch.__version__}

    def stream(self, name: str, population: str, shard: int) -> torch.Generator:
        """The generator of one use of randomness on one shard of a population."""
        return stream(self.seed, name, population, shard, self.device)

    def map(
        self, images: ImageSet, what: Mapping[str, Any] | None, label: str, compute: Callable[[int, Tensor], Cell]
    ) -> list[Cell]:
        """compute(shard number, images on the device) of every shard, in order; each shard is kept under `what`.

        `compute` must depend on nothing but its arguments, the detector and what `what` names; with None nothing is
        kept. Without a label it shows no progress.
        """
        keys = {n: self._key(images, images.shard_digest(n), what, shard=n) for n in range(images.shard_count)}
        found = {n: cell for n, key in keys.items() if (cell := self._load(key)) is not None}
        progress = self.progress if label else silent
        with progress(f"{self.detector.label}, {label}", len(images)) as advance:
            advance(sum(min(SHARD, len(images) - SHARD * n) for n in found))
            for n, x in images.shards([n for n in keys if n not in found]):
                found[n] = self.guard(images, n, lambda n=n, x=x: compute(n, x.to(self.device)))  # type: ignore[misc]
                self._save(keys[n], found[n])
                advance(len(x))
        return [found[n] for n in keys]

    def once(self, images: ImageSet, what: Mapping[str, Any], compute: Callable[[], Cell]) -> Cell:
        """What `compute` gives of a whole set, or of its first images, kept under `what`."""
        key = self._key(images, images.digest, what)
        found = self._load(key)
        if found is None:
            found = self.guard(images, 0, compute)
            self._save(key, found)
        return found

    def guard(self, images: ImageSet, shard: int, compute: Callable[[], T]) -> T:
        """compute() in smaller passes where memory runs out; a non-finite score or gradient names its image, what a
        user's code raises its file and line.

        Noise comes from the shard's own streams and does not depend on the passes.
        """
        try:
            with users_code(f"{self.detector.label}, {images.name}"):
                return within_memory(compute, self.detector, self.detector.label)
        except MemoryError as error:
            raise EvaluationError(str(error)) from None
        except NonFiniteError as error:
            index = SHARD * shard + error.index
            where = f"{images.name}, index {index} ({images.names[index]})"
            raise EvaluationError(f"{self.detector.label}: {error} on {where}") from None
        except GradientError as error:
            raise EvaluationError(f"{self.detector.label}: {error}") from None
        except GivenError as error:
            raise EvaluationError(str(error)) from None

    def _key(
        self, images: ImageSet, content: str, what: Mapping[str, Any] | None, **place: int
    ) -> dict[str, Any] | None:
        if self.store is None or what is None:
            return None
        own = {**self.key, "images": images.name, "content": content, "space": images.space, **place}
        if own.keys() & what.keys():
            raise ValueError(f"{sorted(own.keys() & what.keys())}: names that the worker gives itself")
        return {**own, **what}

    def _load(self, key: dict[str, Any] | None) -> Cell | None:
        return None if self.store is None or key is None else self.store.load(key)

    def _save(self, key: dict[str, Any] | None, cell: Cell) -> None:
        if self.store is not None and key is not None:
            self.store.save(key, cell)


def joined(cells: Sequence[Cell]) -> dict[str, Tensor]:
    """The tensors of all shards, side by side along their last dimension."""
    return {name: torch.cat([tensors[name] for tensors, _ in cells], -1) for name in cells[0][0]}
