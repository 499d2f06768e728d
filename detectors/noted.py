"""What `fit` notes: the network's weights, to tell whether they are still those, and the images that it was given."""

from __future__ import annotations

import contextlib
import functools
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from .detector import Detector

NOTED = "weights_at_fit"
"""The attribute of a detector with what was noted: no part of what it is, its network is that."""
GIVEN: weakref.WeakKeyDictionary[nn.Module, list[Any]] = weakref.WeakKeyDictionary()
"""What is known of the images that each detector was fitted on (`note_of`): no copy of it inherits that."""
RANGES: weakref.WeakKeyDictionary[nn.Module, tuple[float, float]] = weakref.WeakKeyDictionary()
"""The least and the largest pixel that the network was given while each detector was fitted (`met`)."""
RUNNING: list[list[Tensor]] = []
"""Those of the batches so far, of each fit that runs: one may call another."""
CLOSE = 1e-9
"""How far signatures of one image may lie apart."""


def noting(fit: Callable[..., Any]) -> Callable[..., Any]:
    """A method `fit` that also notes the network's weights, where it estimates anything: sets or changes an attribute.

    A score that estimates nothing follows its network wherever that goes.
    """

    @functools.wraps(fit)
    def noted(self: Detector, *given: Any, **settings: Any) -> Any:
        before, ranges = own(self), list[Tensor]()
        RUNNING.append(ranges)
        try:
            found = fit(self, *given, **settings)
        finally:
            RUNNING.pop()
        if NOTED in vars(self) or differ(before, own(self)):
            object.__setattr__(self, NOTED, weights_of(self.network))
            GIVEN[self] = [note for note in map(note_of, read_of(self, *given, **settings)) if note is not None]
            seen = torch.stack(ranges).tolist() if ranges else [[0.0, 1.0]]
            RANGES[self] = min(low for low, _ in seen), max(high for _, high in seen)
        return found

    return noted


def met(x: Tensor) -> None:
    """Note the range of images that a network is given, in the fits that run."""
    for ranges in RUNNING:
        ranges.append(torch.stack(x.detach().aminmax()).float())


def read_of(detector: Detector, train: Any = None, val: Any = None, **_: Any) -> list[Any]:
    """The sets that a detector's fit reads, as far as it says which (`needs`)."""
    needs = getattr(detector, "needs", ("train", "val"))
    return [images for name, images in (("train", train), ("val", val)) if name in needs]


def note_of(images: Any) -> Tensor | weakref.ref[Any] | None:
    """The signature of each image for a list of batches, a reference for a data set with `looks`, else None."""
    if hasattr(images, "looks"):
        return weakref.ref(images)
    if not isinstance(images, list | tuple):  # an iterator has been read
        return None
    with contextlib.suppress(AttributeError, IndexError, RuntimeError, TypeError, ValueError):  # batches of other kinds
        return torch.cat([signatures(batch[0]) for batch in images])
    return None


@torch.no_grad()
def signatures(x: Tensor) -> Tensor:
    """(B, 2) float64: two projections of each image (B, ...) over its length, equal up to 1e-9 of the same pixels."""
    x = x.detach().cpu().double().flatten(1)
    drawn = torch.randn(x.shape[1], 2, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    return x @ drawn / x.shape[1] ** 0.5


def same_images(x: Tensor, known: Tensor) -> Tensor:
    """Which images (B, ...) are among those of some signatures (n, 2), as bools (B,)."""
    known = known[known[:, 0].argsort()]
    mine = signatures(x)
    first = torch.searchsorted(known[:, 0].contiguous(), mine[:, 0].contiguous() - CLOSE)
    return ((known[first.clamp_max(len(known) - 1)] - mine).abs() <= 2 * CLOSE).all(1)


def own(module: nn.Module) -> dict[str, tuple[Any, int]]:
    """A module's own attributes, buffers and parameters, and how often each tensor was written into."""
    found = {**vars(module), **module._buffers, **module._parameters}
    tensors = {name: isinstance(value, Tensor) and not value.is_inference() for name, value in found.items()}
    return {name: (value, value._version if tensors[name] else 0) for name, value in found.items()}


def differ(before: dict[str, tuple[Any, int]], after: dict[str, tuple[Any, int]]) -> bool:
    """Whether any attribute is another object, or a tensor that was written into."""
    if before.keys() != after.keys():
        return True
    return any(before[name][0] is not value or before[name][1] != n for name, (value, n) in after.items())


def weights_of(net: Any) -> dict[str, int]:
    """By name, a sum over the bits of each parameter and floating point buffer, as float32: the same on every device.

    Empty for anything but a module, and where tensors show no bits: sparse, quantised or not made yet.
    """
    if not isinstance(net, nn.Module):
        return {}
    buffers = [(name, buffer) for name, buffer in net.named_buffers() if buffer.is_floating_point()]
    try:
        return {name: sum_of_bits(tensor) for name, tensor in [*net.named_parameters(), *buffers]}
    except (RuntimeError, NotImplementedError, ValueError):
        return {}


def sum_of_bits(tensor: Tensor) -> int:
    """The sum of a tensor's 32-bit patterns.

    >>> sum_of_bits(torch.tensor([1.0, 2.0])) == sum_of_bits(torch.tensor([1.0, 2.0], dtype=torch.double)) == 2139095040
    True
    """
    return int(tensor.detach().float().contiguous().view(torch.int32).sum(dtype=torch.long))


def check_weights(detector: Detector) -> None:
    """ValueError for a detector whose network's weights have changed since it was fitted: it estimated for others.

    Of a detector whose state was loaded, and not fitted by `fit`, nobody knows.
    """
    for part in detector.chain:
        noted, net = vars(part).get(NOTED, {}), part.network
        now = weights_of(net) if noted else {}
        changed = [name for name in noted if noted[name] != now.get(name)]
        if now and changed:
            raise ValueError(
                f"{part.label} was fitted on other weights of network {getattr(net, 'name', type(net).__name__)}: "
                f"{len(changed)} of {len(noted)} tensors have changed since, {changed[0]} first; call fit(train, val) "
                "again"
            )
