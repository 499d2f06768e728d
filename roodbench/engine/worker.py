"""The worker maps a function over the shards of an image set, keeps what is finished, goes on when memory runs out.

Evaluation, certification and the indicators' probes compute through it and know nothing of stores, devices or progress.
Another engine takes its place by answering `map` and `once`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import torch
from torch import Tensor

from attacks import GradientError, NonFiniteError
from detectors import Detector, GivenError

from ..data import SHARD, ImageSet
from ..machine.memory import batch_of, within_memory
from ..store.cells import Cell, Store
from .errors import BusyError, EvaluationError, users_code
from .progress import Progress, progress_of, silent
from .streams import stream

T = TypeVar("T")

WAIT = 0.1
"""Seconds between looks at what other processes compute."""


class Worker:
    """One fitted detector on one device, with the noise streams of a seed.

    What it computes is kept in `store` under `key` (what besides the images, the request and the code decides it), the
    seed, the kind of device and torch's version. Processes that share a store share the work (docs/cluster.md): a shard
    that another one computes is left to it. `turn` in [0, 1) is where among several tasks this one begins; `call` is
    called before anything is computed.
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
        turn: float = 0.0,
        call: Callable[[], object] | None = None,
    ) -> None:
        self.detector, self.seed, self.device = detector, seed, torch.device(device)
        self.store, self.progress, self.turn, self.call = store, progress_of(progress), turn, call
        self.key = {**(key or {}), "seed": seed, "device": self.device.type, "torch": torch.__version__}
        self._hasty = False

    def stream(self, name: str, population: str, shard: int) -> torch.Generator:
        """The generator of one use of randomness on one shard of a population."""
        return stream(self.seed, name, population, shard, self.device)

    def each(self, tasks: Sequence[Callable[[], T]]) -> list[T]:
        """What tasks give, in their order. One that would have to wait for another process lets the others go first."""
        outer, found = self._hasty, dict[int, T]()
        order = in_turn(range(len(tasks)), self.turn)
        while len(found) < len(tasks):
            before, self._hasty = len(found), True
            try:
                for n in order:
                    if n not in found:
                        with suppress(BusyError):
                            found[n] = tasks[n]()
            finally:
                self._hasty = outer
            if len(found) == before:
                self._wait()
        return [found[n] for n in range(len(tasks))]

    def map(
        self, images: ImageSet, what: Mapping[str, Any] | None, label: str, compute: Callable[[int, Tensor], Cell]
    ) -> list[Cell]:
        """compute(shard number, images on the device) of every shard, in order; each shard is kept under `what`.

        `compute` must depend on nothing but its arguments, the detector and what `what` names; with None nothing is
        kept. Without a label it shows no progress.
        """
        keys = {n: self._key(images, images.shard_digest(n), what, shard=n) for n in range(images.shard_count)}
        found: dict[int, Cell] = {}

        def find() -> None:
            for n in keys.keys() - found.keys():
                if (cell := self._load(keys[n])) is not None:
                    found[n] = cell

        def size(n: int) -> int:
            return min(SHARD, len(images) - SHARD * n)

        def free() -> list[int]:
            return [n for n in keys if n not in found and self._is_free(keys[n])]

        find()
        if self._hasty and len(found) < len(keys) and not free():
            raise BusyError
        progress = self.progress if label else silent
        named = label or f"{images.name} {(what or {}).get('condition', '')}"
        with progress(f"{self.detector.label}, {label}", len(images)) as advance:
            advance(sum(map(size, found)))
            while True:
                for n, x in images.shards(free()):
                    cell = self._kept(images, keys[n], lambda n=n, x=x: compute(n, x.to(self.device)), n, named, len(x))  # type: ignore[misc]
                    if cell is not None:
                        found[n] = cell
                        advance(len(x))
                if len(found) == len(keys):
                    return [found[n] for n in keys]
                self._wait()
                before = set(found)
                find()
                advance(sum(map(size, found.keys() - before)))

    def once(self, images: ImageSet, what: Mapping[str, Any], compute: Callable[[], Cell]) -> Cell:
        """What `compute` gives of a whole set, or of its first images, kept under `what`."""
        key = self._key(images, images.digest, what)
        while True:
            found = self._load(key) or self._kept(images, key, compute, 0, str(what.get("condition", "")), len(images))
            if found is not None:
                return found
            self._wait()

    def _is_free(self, key: dict[str, Any] | None) -> bool:
        """Whether no other process computes the cell of a key now."""
        return self.store is None or key is None or self.store.claims.is_free(self.store.file(key))

    def _kept(
        self,
        images: ImageSet,
        key: dict[str, Any] | None,
        compute: Callable[[], Cell],
        shard: int,
        label: str,
        count: int,
    ) -> Cell | None:
        """What `compute` gives, kept; None where another process computes it."""
        if self.store is None or key is None:
            return self.guard(images, shard, compute)
        with self.store.claims.on(self.store.file(key)) as mine:
            if not mine:
                return None
            found = self._load(key)  # finished since we looked
            if found is not None:
                return found
            if self.call is not None:
                self.call()
            start = time.perf_counter()
            found = self.guard(images, shard, compute)
            facts = {"detector": self.detector.label, "label": label, "images": count}
            facts["batch"] = batch_of(self.detector)
            self.store.save(key, found, **facts, seconds=round(time.perf_counter() - start, 3))
            return found

    def _wait(self) -> None:
        """Let another process get on; BusyError where there may be something else to do."""
        if self._hasty:
            raise BusyError
        time.sleep(WAIT)

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


def in_turn(tasks: Sequence[T], turn: float) -> list[T]:
    """The tasks from the share `turn`, in [0, 1), of them onwards, then the rest: processes begin at different ones.

    >>> in_turn("abcd", 0.5)
    ['c', 'd', 'a', 'b']
    """
    first = int(turn * len(tasks))
    return [*tasks[first:], *tasks[:first]]


def joined(cells: Sequence[Cell]) -> dict[str, Tensor]:
    """The tensors of all shards, side by side along their last dimension."""
    return {name: torch.cat([tensors[name] for tensors, _ in cells], -1) for name in cells[0][0]}
