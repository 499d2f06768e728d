"""A network that was loaded made a classifier: its head found, its images resized and normalised."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from numbers import Real
from typing import NamedTuple

import torch
from torch import Tensor, nn

from detectors.care import in_eval

from ..store.users import described
from ..words import counted
from .classifier import Classifier
from .head import Body, backbone_of, resized
from .source import Loaded, Normalisation

log = logging.getLogger("roodbench")

SIDE = 32
"""Height and width of the images on which a head is looked for, where nobody says what the network takes."""


class Shape(NamedTuple):
    """What a user says instead of a source: normalisation, side of the images, name of the last linear layer."""

    normalisation: Normalisation | None = None
    size: int | None = None
    head: str | None = None


def normalisation_of(mean: Sequence[float] | float | None, std: Sequence[float] | float | None) -> Normalisation | None:
    """Mean and standard deviation that are given, one number or one per channel; None where none is.

    >>> normalisation_of(0.5, [0.1, 0.2, 0.3])
    ((0.5, 0.5, 0.5), (0.1, 0.2, 0.3))
    """
    if mean is None and std is None:
        return None
    mean, std = numbers("mean", mean, 0.0), numbers("std", std, 1.0)
    for key, values, least in (("mean", mean, -math.inf), ("std", std, 0.0)):
        for value in values:
            if not least < value < math.inf:
                raise ValueError(
                    f"{key} {value:g}: expected a number{' above 0' if key == 'std' else ''}, of pixels in [0, 1]"
                )
    if max(mean) > 1:
        over = ",".join(f"{value / 255:.3g}" for value in mean)
        raise ValueError(
            f"mean {max(mean):g}: expected that of pixels in [0, 1]; of 0 to 255 divide by 255, {over}, std too"
        )
    n = max(len(mean), len(std))
    mean, std = (given * n if len(given) == 1 else given for given in (mean, std))
    if len(mean) != len(std):
        raise ValueError(f"{len(mean)} means and {len(std)} stds: expected as many, one per channel")
    return mean, std


def numbers(name: str, given: Sequence[float] | float | None, usual: float) -> tuple[float, ...]:
    """One number per channel, or one for all; ValueError for anything else."""
    values = [usual] if given is None else [given] if isinstance(given, Real) else given
    if not isinstance(values, list | tuple) or not values or not all(isinstance(value, Real) for value in values):
        raise ValueError(f"{name} {given!r}: expected a number, or one per channel")
    return tuple(float(value) for value in values)


def assembled(name: str, loaded: Loaded, shape: Shape, sample: Tensor | None) -> Classifier:
    """The classifier of a network; ValueError where its images or its head are not what is said of them."""
    if isinstance(loaded.net, Classifier) and shape == Shape():
        return loaded.net
    net, size = loaded.net.eval(), loaded.size
    if shape.size is not None:
        if shape.size < 1:
            raise ValueError(f"size {shape.size}: expected at least 1 pixel")
        size = (shape.size, shape.size)
    mean, std = channelled(shape.normalisation or loaded.normalisation, net, sample)
    if loaded.shows_features and size is None and shape.head is None:
        backbone: nn.Module = net
    else:
        x = torch.rand(2, len(mean), *(size or (SIDE, SIDE)), generator=torch.Generator().manual_seed(0))
        x = x if sample is None else sample[:2].cpu()
        x = normalised(name, x, mean, std)
        if size is None and loaded.native is not None and not takes(net, x):
            size = loaded.native
        backbone = headed(name, net, x, shape.head, size, loaded.interpolation)
    found = Classifier(backbone, mean, std, name=name)
    found.files = dict(loaded.files)
    return found


def channelled(given: Normalisation | None, net: nn.Module, sample: Tensor | None) -> Normalisation:
    """Mean and standard deviation per channel, 0 and 1 where none is given.

    The channels are those of the numbers, of the images, or of the network's first convolution, else 3.
    """
    mean, std = given or ((0.0,), (1.0,))
    if len(mean) > 1:
        return mean, std
    first = next((layer.in_channels for layer in net.modules() if isinstance(layer, nn.Conv2d)), 3)
    channels = first if sample is None else sample.shape[1]
    return tuple(mean) * channels, tuple(std) * channels


def normalised(name: str, x: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(x - mean) / std per channel."""
    if x.shape[1] != len(mean):
        raise ValueError(f"network {name} takes {counted(len(mean), 'channel')}: these images have {x.shape[1]}")
    return (x - torch.tensor(mean).view(1, -1, 1, 1)) / torch.tensor(std).view(1, -1, 1, 1)


def takes(net: nn.Module, x: Tensor) -> bool:
    """Whether a network takes images of their own size."""
    try:
        with torch.no_grad(), in_eval(net):
            net(x)
        return True
    except Exception:  # whatever a network raises
        return False


def headed(
    name: str, net: nn.Module, x: Tensor, head: str | None, size: tuple[int, int] | None, interpolation: str
) -> Body:
    """The backbone of a network that does not show its head."""
    try:
        with torch.no_grad(), in_eval(net):
            net(resized(x, size, interpolation))
    except Exception as error:  # whatever a user's network raises
        raise ValueError(f"network {name} cannot take {tuple(x.shape[1:])} images: {described(error)}") from None
    found = backbone_of(net, x, head=head, size=size, interpolation=interpolation)
    if found.headless:
        log.info("%s shows no features: %s; scores of logits run, --head NAME names the layer", name, found.headless)
    return found
