"""What is known of the layers of a traced network, and the network computed with sets of values."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from attacks import out_of_memory

from ...models.head import resized
from .reach import Reach, UnboundedError, added, affine, each, gamma, largest_of, moved, relu, reshaped

FOLDING = 10
"""Roundings of a product in a convolution, those of a batch norm that is folded into its weights among them."""


def of_linear(layer: nn.Linear, value: Reach) -> Reach:
    bias = None if layer.bias is None else layer.bias.double()
    return affine(value, F.linear, layer.weight.double(), bias, gamma(layer.in_features + 2))


def of_convolution(layer: nn.Conv2d, value: Reach) -> Reach:
    if layer.padding_mode != "zeros":
        raise NotImplementedError

    def apply(x: Tensor, weight: Tensor) -> Tensor:
        return F.conv2d(x, weight, None, layer.stride, layer.padding, layer.dilation, layer.groups)

    weight = layer.weight.double()
    bias = None if layer.bias is None else layer.bias.double().view(-1, 1, 1)
    return affine(value, apply, weight, bias, gamma(weight[0].numel() + FOLDING))


def of_batch_norm(layer: nn.BatchNorm2d, value: Reach) -> Reach:
    if layer.running_mean is None or layer.running_var is None:
        raise NotImplementedError
    scale = (layer.running_var.double() + layer.eps).rsqrt() * (1.0 if layer.weight is None else layer.weight.double())
    mean = layer.running_mean.double().view(-1, 1, 1)
    shifted = moved(value, -mean, gamma(8))
    bias = None if layer.bias is None else layer.bias.double().view(-1, 1, 1)
    return affine(shifted, operator.mul, scale.view(-1, 1, 1), bias, gamma(8))


class Bounded(fx.Interpreter):
    """A traced network that computes with sets; NotImplementedError, with a layer's name, where there is no rule."""

    def run_node(self, node: fx.Node) -> Any:
        try:
            return super().run_node(node)
        except (NotImplementedError, TypeError, AttributeError, IndexError):
            raise NoRuleError(node, self.module) from None
        except RuntimeError as error:  # of shapes that a rule does not know
            if out_of_memory(error):
                raise
            raise NoRuleError(node, self.module) from None

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        layer = self.fetch_attr(target)
        changed = "forward" in vars(layer) or layer._forward_hooks or layer._forward_pre_hooks
        if type(layer) not in MODULES or changed or len(args) != 1 or kwargs:
            raise NotImplementedError
        return MODULES[type(layer)](layer, args[0])

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not any(isinstance(value, Reach) for value in (*args, *kwargs.values())):
            return target(*args, **kwargs)
        if target is getattr:
            return getattr(*args)
        if target not in FUNCTIONS:
            raise NotImplementedError
        return FUNCTIONS[target](*args, **kwargs)

    def call_method(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not isinstance(args[0], Reach) or target == "size":
            return super().call_method(target, args, kwargs)
        if target not in METHODS:
            raise NotImplementedError
        return METHODS[target](*args, **kwargs)


class NoRuleError(UnboundedError):
    """A layer of which nothing is known."""

    def __init__(self, node: fx.Node, graph: nn.Module) -> None:
        layer = graph.get_submodule(str(node.target)) if node.op == "call_module" else None
        what = getattr(node.target, "__name__", node.target) if layer is None else type(layer).__name__
        where = node.name if layer is None else node.target
        known = ", ".join(kind.__name__ for kind in MODULES)
        super().__init__(f"interval bounds have no rule for {where} ({what}): expected layers of {known}, sums of them")


def arithmetic(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Reach]:
    """A sum, difference, product or quotient of a set and a constant, or a sum or difference of two sets."""
    signs = {operator.add: 1.0, operator.sub: -1.0}

    def rule(one: Any, other: Any) -> Reach:
        if function not in signs:
            if isinstance(other, Reach):
                if isinstance(one, Reach) or function is not operator.mul:
                    raise NotImplementedError
                one, other = other, one
            factor = constant(other) if function is operator.mul else 1 / constant(other)
            return affine(one, operator.mul, factor, None, gamma(3))
        other = affine(other, operator.mul, constant(signs[function]), None, 0.0) if isinstance(other, Reach) else other
        if isinstance(one, Reach) and isinstance(other, Reach):
            return added(one, other)
        if isinstance(other, Reach):
            return moved(other, constant(one), gamma(2))
        return moved(one, signs[function] * constant(other), gamma(2))

    return rule


def constant(value: Any) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float64)


def pooling(function: Callable[..., Tensor], rule: Callable[..., Reach]) -> Callable[..., Reach]:
    """The rule of a function of a tensor and settings."""
    return lambda value, *args, **kwargs: rule(value, lambda x: function(x, *args, **kwargs))


def mean_of(value: Reach, apply: Callable[[Tensor], Tensor]) -> Reach:
    return each(value, apply, gamma(value.lower.numel() + 2))


def padded(given: Reach, pad: Any, mode: str = "constant", value: float | None = None) -> Reach:
    if value:
        raise NotImplementedError
    return each(given, lambda x: F.pad(x, pad, mode))


def as_it_is(value: Reach, size: Any, interpolation: str) -> Reach:
    """Images that are not resized."""
    if size is not None and tuple(value.shape[-2:]) != tuple(size):
        raise NotImplementedError
    return value


def as_layer(rule: Callable[..., Reach]) -> Callable[[nn.Module, Reach], Reach]:
    """The rule of a module that has no weights."""
    return lambda layer, value: rule(value, layer)


MODULES: dict[type[nn.Module], Callable[[Any, Reach], Reach]] = {
    nn.Linear: of_linear,
    nn.Conv2d: of_convolution,
    nn.BatchNorm2d: of_batch_norm,
    nn.ReLU: lambda layer, value: relu(value),
    nn.AvgPool2d: as_layer(mean_of),
    nn.AdaptiveAvgPool2d: as_layer(mean_of),
    nn.MaxPool2d: as_layer(largest_of),
    nn.Flatten: as_layer(reshaped),
    nn.Identity: lambda layer, value: value,
    nn.Dropout: lambda layer, value: value,
}
"""By layer of a network in eval mode, what it makes of a set."""
FUNCTIONS: dict[Any, Callable[..., Reach]] = {
    **{function: arithmetic(function) for function in (operator.add, operator.sub, operator.mul, operator.truediv)},
    **dict.fromkeys((operator.iadd, torch.add), arithmetic(operator.add)),
    **dict.fromkeys((F.relu, torch.relu), lambda value, inplace=False: relu(value)),
    **{function: pooling(function, mean_of) for function in (F.avg_pool2d, F.adaptive_avg_pool2d, torch.mean)},
    **{function: pooling(function, each) for function in (F.pixel_shuffle, F.pixel_unshuffle, operator.getitem)},
    F.max_pool2d: pooling(F.max_pool2d, largest_of),
    torch.flatten: pooling(torch.flatten, reshaped),
    F.pad: padded,
    resized: as_it_is,
}
METHODS: dict[str, Callable[..., Reach]] = {
    "relu": relu,
    "mean": pooling(torch.mean, mean_of),
    "contiguous": lambda value, **settings: value,
    **{name: pooling(getattr(Tensor, name), reshaped) for name in ("flatten", "view", "reshape")},
}
