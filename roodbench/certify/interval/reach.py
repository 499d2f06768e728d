"""All values that the layers of a network can have while its image moves within a box, what float32 rounds included."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

UNIT = 2.0**-24
"""Relative error of one rounding in float32."""
FINE = 2.0**-36
"""What float64 may round in the bounds themselves, relative, with room to spare."""
TINY = 2.0**-100
"""Absolute, for what underflows in float32."""
MOST = 2**27
"""Numbers that the generators of one layer may have: a GB of them."""
NAMES = itertools.count()
"""Of generators: no two have the same."""


class Reach(NamedTuple):
    """A set that holds every value (1, ...) of a layer: those between `lower` and `upper` that are

    center + sum_i e_i generators_i + rest * e', each e_i and e' between -1 and 1, a zonotope (Singh et al. 2018).
    """

    lower: Tensor
    upper: Tensor
    center: Tensor
    generators: Tensor
    """(g, ...)"""
    rest: Tensor
    names: Tensor
    """(g,): the same number stands for the same e_i in every layer."""

    @property
    def shape(self) -> torch.Size:
        return self.lower.shape

    def size(self, *place: int) -> Any:
        return self.lower.size(*place)

    @property
    def largest(self) -> Tensor:
        """No value, and no part of the sum, is larger than this."""
        spread = self.center.abs() + self.generators.abs().sum(0) + self.rest
        return torch.maximum(spread, torch.maximum(self.lower.abs(), self.upper.abs()))

    def met(self) -> Reach:
        """The same set with the bounds that both of its forms give."""
        radius = (self.generators.abs().sum(0) + self.rest) * (1 + FINE) + FINE * self.center.abs()
        lower, upper = torch.maximum(self.lower, self.center - radius), torch.minimum(self.upper, self.center + radius)
        return self._replace(lower=lower, upper=upper)

    def wider(self, slack: Tensor) -> Reach:
        """The set of all values that differ from one of these by so much at most."""
        return self._replace(lower=self.lower - slack, upper=self.upper + slack, rest=self.rest + slack).met()


def box(lower: Tensor, upper: Tensor) -> Reach:
    """A box (1, ...) with a generator of its own for every value that is not known."""
    center, radius = (lower + upper) / 2, (upper - lower) / 2
    places = (radius.flatten() > 0).nonzero()[:, 0]
    check_size(len(places) * radius.numel())
    generators = radius.new_zeros(len(places), radius.numel())
    generators[torch.arange(len(places)), places] = radius.flatten()[places]
    names = torch.tensor([next(NAMES) for _ in places], dtype=torch.int64)
    rest = FINE * torch.maximum(lower.abs(), upper.abs())
    return Reach(lower, upper, center, generators.view(-1, *center.shape[1:]), rest, names)


class UnboundedError(ValueError):
    """Why a network has no bounds, in `said`: what runs a traced network writes into the words of an error."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.said = said


def check_size(numbers: int) -> None:
    if numbers > MOST:
        raise UnboundedError(
            f"interval bounds of one image would take {numbers:.2g} numbers a layer: expected at most {MOST:.2g}, of a "
            "smaller network or smaller images"
        )


def gamma(terms: int) -> float:
    """The relative error of a sum of so many products in float32, whatever their order (Higham 2002, 3.1).

    >>> gamma(10) < 10 * 2**-24 * 1.01
    True
    """
    return terms * UNIT / (1 - terms * UNIT) * (1 + 2.0**-10)


def linear(value: Reach, apply: Callable[[Tensor], Tensor], apply_abs: Callable[[Tensor], Tensor]) -> Reach:
    """A linear map without its rounding; `apply_abs` has the absolute values of its weights.

    NotImplementedError for one that does not map images one by one.
    """
    middle, radius = apply((value.lower + value.upper) / 2), apply_abs((value.upper - value.lower) / 2)
    center, generators = apply(value.center), apply(torch.cat([value.generators, value.rest]))[:-1]
    if center.shape[:1] != value.center.shape[:1] or generators.shape != (len(value.names), *center.shape[1:]):
        raise NotImplementedError
    check_size(generators.numel())
    return Reach(middle - radius, middle + radius, center, generators, apply_abs(value.rest), value.names)


def affine(
    value: Reach,
    apply: Callable[[Tensor, Tensor], Tensor],
    weight: Tensor,
    bias: Tensor | None,
    error: float,
) -> Reach:
    """`apply` of values and weights, plus a bias that has the shape of a value; `error` is its rounding, relative."""
    found = linear(value, lambda x: apply(x, weight), lambda x: apply(x, weight.abs()))
    added = torch.zeros((), dtype=torch.float64) if bias is None else bias
    found = found._replace(lower=found.lower + added, upper=found.upper + added, center=found.center + added)
    return found.wider(max(error, FINE) * (apply(value.largest, weight.abs()) + added.abs()) + TINY)


def moved(value: Reach, by: Tensor, error: float) -> Reach:
    """A constant added to every value."""
    found = value._replace(lower=value.lower + by, upper=value.upper + by, center=value.center + by)
    return found.wider(error * (value.largest + by.abs()) + TINY)


def relu(value: Reach) -> Reach:
    """max(x, 0): where its sign is open, l < 0 < u, it lies between s x and s x - s l with s = u / (u - l)."""
    lower, upper = value.lower, value.upper
    open_, above = (lower < 0) & (upper > 0), lower >= 0
    slope = torch.where(open_, upper / (upper - lower).clamp_min(torch.finfo(upper.dtype).tiny), above.double())
    half = torch.where(open_, -slope * lower / 2, 0.0)
    fresh = box(-half, half)
    generators = torch.cat([slope * value.generators, fresh.generators])
    check_size(generators.numel())
    slack = FINE * torch.where(open_ | above, value.largest, 0.0)
    return Reach(
        lower.clamp_min(0),
        upper.clamp_min(0),
        slope * value.center + half,
        generators,
        slope * value.rest + slack,
        torch.cat([value.names, fresh.names]),
    ).met()


def added(one: Reach, other: Reach) -> Reach:
    """The sum of two layers: what both have in common stays in common."""
    names = torch.cat([one.names, other.names]).unique()
    center = one.center + other.center
    generators = center.new_zeros(len(names), *center.shape[1:])
    for part in (one, other):
        generators[torch.searchsorted(names, part.names)] += part.generators
    found = Reach(
        one.lower + other.lower,
        one.upper + other.upper,
        center,
        generators,
        one.rest + other.rest,
        names,
    )
    return found.wider(gamma(2) * (one.largest + other.largest) + TINY)


def each(value: Reach, apply: Callable[[Tensor], Tensor], error: float = 0.0) -> Reach:
    """A linear map without negative weights, such as a mean or a choice of values; NotImplementedError for another."""
    found, largest = linear(value, apply, apply), apply(value.largest)
    if (largest < 0).any():
        raise NotImplementedError
    return found.wider(max(error, FINE) * largest)


def reshaped(value: Reach, apply: Callable[[Tensor], Tensor]) -> Reach:
    """The same values in another shape; NotImplementedError where that is not one image."""
    shape = apply(value.lower).shape
    if shape[:1] != value.lower.shape[:1]:
        raise NotImplementedError
    lower, upper, center, rest = (part.reshape(shape) for part in (value.lower, value.upper, value.center, value.rest))
    return Reach(lower, upper, center, value.generators.reshape(-1, *shape[1:]), rest, value.names)


def largest_of(value: Reach, apply: Callable[[Tensor], Tensor]) -> Reach:
    """The largest of several values: only its bounds are known afterwards."""
    return box(apply(value.lower), apply(value.upper))
