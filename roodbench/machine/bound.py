"""A hard bound on a run's memory: what would pass it is refused, so passes are halved until they fit."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.platform == "linux":
    import resource

import torch

from attacks import out_of_memory

LEAST = 2**28
"""Bytes that a process needs for what it loads on its way, however small its passes."""


@contextmanager
def bounded(memory: int | None, device: torch.device, *, among: int = 1) -> Iterator[None]:
    """Let this process take no more than its share of `memory` bytes on top of what it holds; None bounds nothing.

    `among` processes have equal shares. On a GPU a share bounds what torch reserves there, elsewhere all data of the
    process: heap, tensors, threads' stacks, not code or files that are only read. Raises ValueError for a share that is
    too small, or where the system bounds no process, MemoryError where a share turns out to be too little.
    """
    if memory is None:
        yield
        return
    share, said = memory // among, f"memory {in_words(memory)}{f' for {among} processes' if among > 1 else ''}"
    if share < LEAST:
        raise ValueError(f"{said}: expected at least {in_words(LEAST)} for each, as 4GiB for all")
    lift = bound_gpu(share, device) if device.type == "cuda" else bound_data(share)
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise MemoryError(f"{said} is too little ({' '.join(str(error).split())})") from None
    finally:
        lift()


def bound_data(share: int) -> Callable[[], None]:
    """Bound the data of this process; returns what lifts the bound."""
    if sys.platform != "linux":
        raise ValueError("memory: Linux alone bounds the data of a process, leave out --memory")
    before, most = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = data_held() + share
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if before < 0 else min(wanted, before), most))
    return lambda: resource.setrlimit(resource.RLIMIT_DATA, (before, most))


def bound_gpu(share: int, device: torch.device) -> Callable[[], None]:
    """Bound what torch reserves on a GPU; returns what lifts the bound."""
    torch.cuda.empty_cache()
    before, total = fraction_of(device), torch.cuda.mem_get_info(device)[1]
    wanted = (torch.cuda.memory_reserved(device) + share) / total
    torch.cuda.set_per_process_memory_fraction(min(wanted, before), index_of(device))
    return lambda: torch.cuda.set_per_process_memory_fraction(before, index_of(device))


def left_of_data() -> int:
    """Bytes by which the data of this process may grow: more than there are where nothing bounds it."""
    if sys.platform != "linux":
        return sys.maxsize
    limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
    return sys.maxsize if limit < 0 else limit - data_held()


def left_of_gpu(device: torch.device) -> int:
    """Bytes of a GPU that torch may still give to tensors of this process."""
    free, total = torch.cuda.mem_get_info(device)
    held = int(fraction_of(device) * total) - torch.cuda.memory_allocated(device)
    return min(free, held)


def data_held() -> int:
    """Bytes of data of this process, as RLIMIT_DATA counts them."""
    return int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()


def fraction_of(device: torch.device) -> float:
    """The share of a GPU that this process may reserve; torch before 2.8 does not say it."""
    said = getattr(torch.cuda, "get_per_process_memory_fraction", None)
    return 1.0 if said is None else said(index_of(device))


def index_of(device: torch.device) -> int:
    return torch.cuda.current_device() if device.index is None else device.index


def in_words(size: int) -> str:
    """Bytes as people write them.

    >>> in_words(2**32), in_words(500 * 10**6)
    ('4GiB', '500MB')
    """
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (10**9, "GB"), (10**6, "MB")):
        if size % unit == 0:
            return f"{size // unit}{name}"
    return f"{size / 2**30:.3g}GiB"
