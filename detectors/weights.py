"""Is the network of a fitted detector still the one it was fitted on? Its weights are noted by `fit` and compared."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from .detector import Detector

NOTED = "weights_at_fit"
"""The attribute of a detector with what was noted: no part of what it is, its network is that."""


def noting(fit: Callable[..., Any]) -> Callable[..., Any]:
    """A method `fit` that also notes the network's weights, where it estimates anything: sets or changes an attribute.

    A score that estimates nothing follows its network wherever that goes.
    """

    @functools.wraps(fit)
    def noted(self: Detector, *given: Any, **settings: Any) -> Any:
        before = own(self)
        found = fit(self, *given, **settings)
        if NOTED in vars(self) or differ(before, own(self)):
            object.__setattr__(self, NOTED, weights_of(self.network))
        return found

    return noted


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

    Empty for what is no module, or has tensors that show no bits: sparse, quantised or not made yet.
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
    """ValueError for a detector whose network's weights have changed since it was fitted: its estimates are not of it.

    What a detector is that was not fitted by its `fit` (its state was loaded), nobody knows.
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
