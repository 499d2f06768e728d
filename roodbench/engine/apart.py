"""What a function gives in a copy of this process, which has met nothing since: its globals and caches are its own."""

from __future__ import annotations

import logging
import os
import pickle
import select
import signal
import sys
import time
import warnings
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

import torch

log = logging.getLogger("roodbench")

PATIENCE = 20.0
"""Seconds that a copy is waited for, at least; and as long again as it has had."""


class Apart:
    """A copy of this process that computes beside it, on one thread and without a word.

    There is none but on Linux, and none of what lies on a GPU: it could not be used in a copy.
    """

    def __init__(self, compute: Callable[[], Any], device: torch.device) -> None:
        self._begun, self._pipe, self._end = time.monotonic(), -1, lambda: None
        if device.type != "cpu" or sys.platform != "linux":
            return
        self._pipe, pipe = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of threads, which the copy has not: it meets no lock of theirs
            child = os.fork()
        if child == 0:
            os.close(self._pipe)  # or nobody misses a reader that is gone
            give(compute, pipe)
        os.close(pipe)
        self._end = weakref.finalize(self, ended, child, self._pipe)

    def found(self) -> Any:
        """What it gives, once; None where there is no copy, or, with a warning, one that fails or takes far longer than
        this process had."""
        if self._pipe < 0:
            return None
        parts, now = list[bytes](), time.monotonic()
        until = now + max(PATIENCE, now - self._begun)
        while select.select([self._pipe], [], [], max(0.0, until - time.monotonic()))[0]:
            if not (part := os.read(self._pipe, 2**16)):
                break
            parts.append(part)
        self._pipe = -1
        self._end()
        with suppress(EOFError, pickle.UnpicklingError):
            return pickle.loads(b"".join(parts))
        log.warning("a copy of this process failed or took too long: what globals remember was not looked at")
        return None


def give(compute: Callable[[], Any], pipe: int) -> NoReturn:
    """Write what `compute` gives into a pipe, and end: nothing of what this process does at its end is the copy's."""
    try:
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
        for stream in (1, 2):
            os.dup2(sys.stdout.fileno(), stream)
        torch.set_num_threads(1)  # others are not copied with the process
        with open(pipe, "wb") as out:
            out.write(pickle.dumps(compute()))
    finally:
        os._exit(0)


def ended(child: int, pipe: int) -> None:
    os.close(pipe)
    with suppress(OSError):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
