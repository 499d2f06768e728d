"""How many images fit: a measured model of a pass's memory, and smaller passes when it runs out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from attacks import out_of_memory

log = logging.getLogger("roodbench")
T = TypeVar("T")

LARGEST = {"cpu": 256, "cuda": 2048}
"""Images in one pass at most: more is no faster."""
HELD = 4096
"""Images at most whose activations wait for one backward pass."""


def within_memory(compute: Callable[[], T], detector: nn.Module, label: str) -> T:
    """compute(), again with half the images per pass for as long as memory runs out.

    Raises MemoryError, naming `label`, where one image per pass does not fit.
    """
    while True:
        try:
            return compute()
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
        size = halve(detector)
        if size is None:
            raise MemoryError(f"{label}: out of memory with one image per pass")
        log.warning("%s: out of memory, going on with %d images per pass", label, size)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def fitting_images(body: nn.Module, x: Tensor) -> int:
    """The images whose activations may wait for one backward pass: a quarter of the free memory, a power of two.

    What a pass keeps for the backward is measured on 1 and 2 images.
    """
    kept = [saved_bytes(body, x[:n]) for n in (1, 2)]
    most = free_memory(x.device) // 4 // max(1, kept[1] - kept[0]) if len(x) > 1 else LARGEST["cpu"]
    return 1 << min(max(1, most), HELD).bit_length() - 1


def saved_bytes(body: nn.Module, x: Tensor) -> int:
    """Bytes that one eager forward pass keeps for its backward pass."""
    seen: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        body(x.detach().contiguous(memory_format=torch.channels_last).requires_grad_())
    return sum(seen.values())


def free_memory(device: torch.device) -> int:
    """Bytes that a process may still take: of the GPU, or of the machine or its container."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = [2**34]
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable"):
                free = [int(line.split()[1]) * 1024]
        group = Path("/sys/fs/cgroup")
        free.append(int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    except (OSError, ValueError):
        pass  # not Linux, or no limit
    return max(0, min(free))


def halve(detector: nn.Module) -> int | None:
    """Halve the most images that `detector` or its network takes in a pass; returns it, or None where it is 1.

    That is every whole number among the attributes that a module's class declares as `incidental`.
    """
    found = [(module, name) for module in detector.modules() for name in bounds_of(module)]
    size = max((getattr(module, name) for module, name in found), default=1)
    if size <= 1:
        return None
    for module, name in found:
        setattr(module, name, min(getattr(module, name), size // 2))
    return size // 2


def bounds_of(module: nn.Module) -> list[str]:
    """The attributes that bound how many images a module takes at once."""
    declared = sorted(getattr(type(module), "incidental", ()))
    return [name for name in declared if type(vars(module).get(name)) is int]
