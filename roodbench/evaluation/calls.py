"""Whether scores come from a network at all: its name and accuracy say nothing of a detector that never calls it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

METHODS = ("forward", "outputs", "features")
"""By which a network is called, besides as a function."""


@contextmanager
def calls_of(net: Any) -> Iterator[list[str] | None]:
    """A list that grows with every call of a network, of a part of it or of one of its `METHODS`.

    None for one that cannot be watched: no nn.Module, or with parts in TorchScript.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    >>> with calls_of(net) as calls:
    ...     _ = net[1](torch.zeros(1, 4))
    >>> calls
    ['Linear']
    """
    if not isinstance(net, nn.Module) or any(isinstance(part, torch.jit.ScriptModule) for part in net.modules()):
        yield None
        return
    calls: list[str] = []
    own = {name: vars(net)[name] for name in METHODS if name in vars(net)}
    hooks = [
        part.register_forward_pre_hook(lambda part, _: calls.append(type(part).__name__)) for part in net.modules()
    ]
    vars(net).update({name: noting(calls, name, getattr(net, name)) for name in METHODS if hasattr(net, name)})
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()
        for name in METHODS:
            vars(net).pop(name, None)
        vars(net).update(own)


def noting(calls: list[str], name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """The same method, which also says that it was called."""

    def noted(*given: Any, **named: Any) -> Any:
        calls.append(name)
        return method(*given, **named)

    return noted
