"""Whether scores rest on a network at all: its name and accuracy say nothing of a detector that does not use it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from detectors import KNOWN, Detector

from ..engine.copies import on_copy
from .behaviour import steady

FACTORS = (0.5, 2.0, -1.0)
"""Of all parameters of a network: by the last, scores that are the same of logits of any size change too."""


def uses_network(detector: Detector, x: Tensor, noise: Callable[[], torch.Generator]) -> bool:
    """Whether scores of images x (B, C, H, W) change with the parameters of the network that a detector shows.

    Fresh copies score, on equal noise: no cache of scores hides a change, and the detector itself remembers none of it.
    True where nobody can tell: it cannot be copied, a copy fails or scores otherwise than the detector, or the
    network's own logits do not change either.
    """
    if all(type(part) in KNOWN.values() for part in detector.chain):
        return True
    try:
        scores, logits = answers(copy.deepcopy(detector), x, noise)
        idle = False
        for factor in FACTORS:
            copied = copy.deepcopy(detector)
            # a closure or a class attribute still holds the network itself, whatever was copied
            with scaled(detector.network, copied.network, factor=factor):
                changed, its_logits = answers(copied, x, noise)
            if not torch.equal(changed, scores):
                return True
            idle = idle or not torch.equal(its_logits, logits)
        return not idle or not torch.equal(answers(detector, x, noise)[0], scores)
    except Exception:  # whatever a user's attributes and code raise
        return True


@torch.no_grad()
def answers(detector: Detector, x: Tensor, noise: Callable[[], torch.Generator]) -> tuple[Tensor, Tensor]:
    """A detector's scores (B,), and the logits (B, K) of its network."""
    given = {"generator": noise()} if detector.randomized else {}
    with steady():
        scores = on_copy(lambda x: detector(x, **given), x, detector.label)
        return scores, on_copy(detector.network, x, detector.label)  # type: ignore[arg-type]


@contextmanager
def scaled(*nets: Any, factor: float) -> Iterator[None]:
    """All parameters times a factor, for the length of the block.

    >>> net = nn.Linear(1, 1, bias=False)
    >>> before = net(torch.ones(1, 1))
    >>> with scaled(net, factor=2.0):
    ...     after = net(torch.ones(1, 1))
    >>> bool(after == 2 * before), bool(net(torch.ones(1, 1)) == before)
    (True, True)
    """
    parameters = {id(p): p for net in nets for p in net.parameters()}.values()
    held: list[tuple[nn.Parameter, Tensor]] = []
    try:
        for parameter in parameters:
            data = parameter.data
            parameter.data = data * factor
            held.append((parameter, data))
        yield
    finally:
        for parameter, data in held:
            parameter.data = data
