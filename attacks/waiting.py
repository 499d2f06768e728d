"""When the host waits for the device: seldom, as a GPU that waits for its next order stands still.

Every number that Python looks at is such a wait. So what must hold of numbers on the device is demanded, and demands
are looked at together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

E = TypeVar("E", bound=Exception)


@dataclass(frozen=True)
class Demand:
    """What must hold, a bool on the device, and what is raised where it does not: made only then, so it may wait."""

    met: Tensor
    error: Callable[[], Exception]


class Demands:
    """Demands in the order in which they were made."""

    def __init__(self) -> None:
        self.made: list[Demand] = []

    def look(self, *numbers: Tensor) -> list[list[int]]:
        """Wait once: the error of the first demand that is not met, else `numbers` (n,), whole or bool, as lists."""
        made, self.made = self.made, []
        parts = [torch.stack([demand.met for demand in made])] if made else []
        parts += numbers
        if not parts:
            return []
        found = iter(torch.cat([part.long() for part in parts]).tolist())
        for demand in made:
            if not next(found):
                raise demand.error()
        return [[next(found) for _ in range(len(part))] for part in numbers]


OPEN: ContextVar[Demands | None] = ContextVar("open demands", default=None)


def demand(met: Tensor, error: Callable[[], Exception]) -> None:
    """Raise error() where `met` (0-dim bool) is false: now, inside `at_once` not before its demands are looked at.

    >>> demand(torch.tensor(1) > 0, lambda: ValueError("not positive"))
    >>> with at_once():
    ...     demand(torch.tensor(0) > 0, lambda: ValueError("not positive"))
    Traceback (most recent call last):
    ValueError: not positive
    """
    demands = OPEN.get()
    if demands is not None:
        demands.made.append(Demand(met, error))
    elif not met:
        raise error()


@contextmanager
def at_once() -> Iterator[Demands]:
    """Demands made inside are looked at together: whenever the block says so, and at its end."""
    demands = Demands()
    token = OPEN.set(demands)
    try:
        yield demands
    finally:
        OPEN.reset(token)
    demands.look()


@contextmanager
def renamed(kind: type[E], change: Callable[[E], Exception]) -> Iterator[None]:
    """Errors of this kind that are raised inside, or by demands made inside, as `change` has them."""

    def renamed_of(demand: Demand) -> Demand:
        def error() -> Exception:
            raised = demand.error()
            return change(raised) if isinstance(raised, kind) else raised

        return Demand(demand.met, error)

    demands = OPEN.get()
    before = 0 if demands is None else len(demands.made)
    try:
        yield
    except kind as raised:
        raise change(raised) from None
    if demands is not None:
        demands.made[before:] = map(renamed_of, demands.made[before:])


def sent(numbers: Sequence[float], device: torch.device, dtype: torch.dtype = torch.long) -> Tensor:
    """Numbers (n,) as a tensor on a device: `torch.tensor` with a device waits until it has done all else."""
    return torch.tensor(numbers, dtype=dtype).to(device, non_blocking=True)
