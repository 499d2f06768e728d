"""The last linear layer of a network that does not show it, and the features that go into it, found by hooks."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .detector import Outputs
from .given import GivenError, NeedsError, fault_of_logits

TOLERANCE = 1e-4
"""Largest relative difference between a network's logits and those of its last layer."""
STRETCHED = (1, 10, -10)
"""Factors of the features at which nothing may follow a last linear layer: a clamp, a ReLU, a gate."""
SHOWN = 5
"""Names of layers that a sentence lists, and images on which a head is looked for."""


class Call(NamedTuple):
    """One call of a linear layer: its name and the features (B, D) that it is given, averaged over places."""

    name: str
    features: Tensor


class NoHeadError(ValueError):
    """A network has no last linear layer that can be told from outside; the message says why."""


@torch.no_grad()
def find_head(net: nn.Module, x: Tensor, name: str | None = None) -> str:
    """The name of the linear layer W with logits = W h + b on the images x (B, C, H, W), and h its input.

    The logits are that with 10 h and -10 h in the place of h too: no cap or ReLU waits for larger ones. Looked for from
    the last call backwards among `nn.Linear` and 1x1 convolutions, below `name` alone where it is given; the features
    of a convolution or of tokens are averaged over places. NoHeadError where there is none, and ValueError for a name
    that the network does not have.

    >>> find_head(nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.ReLU(), nn.Sequential(nn.Linear(8, 3))),
    ...     torch.rand(2, 1, 2, 2))
    '3.0'
    """
    calls, logits = linear_calls(net, x)
    if fault := fault_of_logits(logits, x):
        raise GivenError(f"network {type(net).__name__} {fault}")
    names = list(dict.fromkeys(call.name for call in calls))
    if name is not None:
        calls = [call for call in calls if call.name == name or call.name.startswith(f"{name}.")]
        if not calls:
            said = f"its last ones are {', '.join(names[-SHOWN:])}" if names else "it calls none"
            raise ValueError(f"head {name!r}: expected the name of a linear layer of {type(net).__name__}, {said}")
    for call in reversed(calls):
        if linear_of(net.get_submodule(call.name)).out_features == logits.shape[1] and gives_logits(net, x, call.name):
            return call.name
    if not names:
        raise NoHeadError(f"{type(net).__name__} calls no linear layer (nn.Linear or a 1x1 convolution)")
    last = calls[-1].name
    raise NoHeadError(
        f"the logits of {type(net).__name__} are not those of its last linear layer {last}: something follows it"
    )


def gives_logits(net: nn.Module, x: Tensor, name: str) -> bool:
    """Whether the logits are W h + b of the layer `name` for its last input h, and for `STRETCHED` ones."""
    layer, given = net.get_submodule(name), list[Tensor]()
    linear = linear_of(layer)
    for factor in STRETCHED:

        def stretch(_: nn.Module, inputs: tuple[Tensor, ...], by: int = factor) -> tuple[Tensor, ...]:
            given.append(by * inputs[0])
            return given[-1], *inputs[1:]

        hook = layer.register_forward_pre_hook(stretch)
        try:
            logits = net(x)
        finally:
            hook.remove()
        h = pooled(layer, given[-1]).to(linear.weight.dtype)  # autocast halves what goes in
        if not is_near(F.linear(h, linear.weight, linear.bias), logits):
            return False
    return True


def linear_calls(net: nn.Module, x: Tensor) -> tuple[list[Call], Tensor]:
    """The calls of linear layers in one pass over x, in their order, and what the network gives."""
    calls: list[Call] = []
    names = {module: name for name, module in net.named_modules()}

    def note(layer: nn.Module, given: tuple[Tensor, ...], _: Tensor) -> None:
        calls.append(Call(names[layer], pooled(layer, given[0])))

    hooks = [layer.register_forward_hook(note) for layer in names if is_linear(layer)]
    try:
        return calls, net(x)
    finally:
        for hook in hooks:
            hook.remove()


def is_linear(layer: nn.Module) -> bool:
    """Whether a layer is linear, or a convolution that is linear at every place."""
    if isinstance(layer, nn.Conv2d):
        return (*layer.kernel_size, *layer.stride, layer.groups) == (1, 1, 1, 1, 1) and layer.padding in (0, (0, 0))
    return isinstance(layer, nn.Linear)


def linear_of(layer: nn.Module) -> nn.Linear:
    """The layer itself, or the linear layer that a 1x1 convolution is at every place, on the same numbers."""
    if not isinstance(layer, nn.Conv2d):
        return cast(nn.Linear, layer)
    found = nn.Linear(layer.in_channels, layer.out_channels, layer.bias is not None, device="meta")
    found.weight = nn.Parameter(layer.weight.detach().flatten(1), requires_grad=False)
    if layer.bias is not None:
        found.bias = nn.Parameter(layer.bias.detach(), requires_grad=False)
    return found


def pooled(layer: nn.Module, x: Tensor) -> Tensor:
    """Features (B, D) of a layer's input: the mean over places of a convolution's, over tokens of another's."""
    if isinstance(layer, nn.Conv2d):
        return x.mean((2, 3))
    return x if x.ndim == 2 else x.flatten(1, -2).mean(1)


def is_near(a: Tensor, b: Tensor) -> bool:
    """Whether two outputs are the same up to rounding."""
    return a.shape == b.shape and float((a - b).abs().max()) <= TOLERANCE * float(b.abs().max().clamp_min(1e-12))


class LogitsOnly(nn.Module):
    """A network of which no more is known than that it maps images to logits (B, K): it shows no features and no head.

    GivenError where it gives something else, ValueError while it is in training mode.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.name = net, type(net).__name__

    def outputs(self, x: Tensor) -> Outputs:
        if self.net.training:
            raise ValueError(f"network {self.name} is in training mode: call its eval() first")
        logits = self.net(x)
        if fault := fault_of_logits(logits, x):
            raise GivenError(f"network {self.name} {fault}")
        return Outputs(logits, None)

    def forward(self, x: Tensor) -> Tensor:
        return self.outputs(x).logits


class Headed(LogitsOnly):
    """The same as scores of features need it: its last linear layer and the input of that are found at first use.

    NeedsError at first use where there is none.
    """

    incidental = frozenset({"place"})

    def __init__(self, net: nn.Module) -> None:
        super().__init__(net)
        self.place: str | None = None
        """The name of its last linear layer, once it is known."""

    @property
    def head(self) -> nn.Linear | None:
        """The last linear layer; None before the first use."""
        return None if self.place is None else linear_of(self.net.get_submodule(self.place))

    def outputs(self, x: Tensor) -> Outputs:
        if self.place is None:
            self.place = self._find(x[:SHOWN])
        layer, given = self.net.get_submodule(self.place), list[Tensor]()
        hook = layer.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
        try:
            logits = super().outputs(x).logits
        finally:
            hook.remove()
        return Outputs(logits, pooled(layer, given[-1]))

    def _find(self, x: Tensor) -> str:
        super().outputs(x)
        try:
            return find_head(self.net, x)
        except NoHeadError as error:
            raise NeedsError(
                f"network {self.name} shows no features: {error}",
                "take gen, ebo, msp or another score of logits, or give it `outputs(x)` (logits, features) and `head` "
                "(docs/network.md)",
            ) from None
