"""What a user's network or detector returns, checked: one sentence for each way in which it is not logits or scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

WIDE = (torch.float32, torch.float64)
"""The types of scores and logits: 16 bits tie images that differ, and a tie counts half in an AUROC."""
SUM = 1e-4
"""How far from 1 the outputs of an image may add up to where they are probabilities."""


class GivenError(ValueError):
    """A network or detector gives what it must not; the message names it, what it gave, what is expected and a cure."""


class NeedsError(ValueError):
    """A network lacks what a score needs; `reason` is the message without the cure."""

    def __init__(self, reason: str, cure: str = "") -> None:
        super().__init__(f"{reason}; {cure}" if cure else reason)
        self.reason = reason


def shown(value: Any) -> str:
    """A value by kind and size.

    >>> shown(torch.zeros(2, 3)), shown(np.zeros(2)), shown((1, 2)), shown({"a": 1}), shown(3.5)
    ('a float32 tensor (2, 3)', 'a float64 numpy array (2,)', 'a tuple of 2', "a dict with 'a'", 'the float 3.5')
    """
    kind = type(value).__name__
    if isinstance(value, Tensor):
        size = "" if value.is_nested else f" {tuple(value.shape)}"
        return f"{article(layout_of(value) + str(value.dtype).removeprefix('torch.'))} tensor{size}"
    if isinstance(value, np.ndarray):
        return f"{article(str(value.dtype))} numpy array {value.shape}"
    if isinstance(value, Mapping):
        return f"{article(kind)} with {', '.join(map(repr, list(value)[:4])) or 'nothing'}"
    if isinstance(value, list | tuple):
        return f"{article(kind)} of {len(value)}"
    if value is None:
        return "None"
    if isinstance(value, float):
        return f"the float {value:.6g}"
    return f"the {kind} {value!r}" if isinstance(value, int | str) else article(kind)


def article(kind: str) -> str:
    return f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"


def layout_of(tensor: Tensor) -> str:
    """`nested ` or `sparse ` for a tensor that is not laid out as an array, else nothing."""
    if tensor.is_nested:
        return "nested "
    return "" if tensor.layout == torch.strided else "sparse "


def fault_of_scores(given: Any, x: Tensor) -> str:
    """What is wrong with the scores of the images x, in words that follow a detector's name; "" where nothing is.

    >>> fault_of_scores(torch.zeros(2, 1), torch.zeros(2, 3, 4, 4))
    'gave scores of shape (2, 1) for 2 images: expected (2,), one number per image; take squeeze(1) of them'
    >>> fault_of_scores(torch.zeros(2), torch.zeros(2, 3, 4, 4))
    ''
    """
    n = len(x)
    images = "1 image" if n == 1 else f"{n} images"
    fault = fault_of_tensor(given, x, (n,), "the score")
    if fault:
        return f"gave {shown(given)} for {images}: expected a float32 tensor ({n},), one score per image; {fault}"
    if given.shape == (n,):
        return ""
    return (
        f"gave scores of shape {tuple(given.shape)} for {images}: expected ({n},), one number per image; "
        f"{cure_of_shape(tuple(given.shape), n)}"
    )


def fault_of_logits(given: Any, x: Tensor, classes: int = 2) -> str:
    """What is wrong with the logits of the images x, in words that follow a network's name; "" where nothing is.

    >>> fault_of_logits((torch.zeros(2, 3), torch.zeros(2, 8)), torch.zeros(2, 3, 4, 4))
    'gave a tuple of 2 for 2 images: expected (2, K) logits with K >= 2; let forward return the logits alone, output[0]'
    """
    n = len(x)
    images = "1 image" if n == 1 else f"{n} images"
    expected = f"expected ({n}, K) logits with K >= {classes}"
    fault = fault_of_tensor(given, x, (n, None), "the logits")
    if fault:
        return f"gave {shown(given)} for {images}: {expected}; {fault}"
    if given.ndim == 2 and len(given) == n and given.shape[1] >= classes:
        return ""
    few = given.ndim == 2 and len(given) == n and given.shape[1] > 1
    labels = f", since labels go up to {classes - 1}: do they begin at 0?" if few else ""
    return f"gives outputs of shape {tuple(given.shape)} for {images}: {expected}{labels}"


def kind_of_outputs(logits: Tensor) -> str:
    """What the outputs (B, K) of a network are that ends in a softmax, in its logarithm or in a sigmoid; "" of others.

    A sigmoid shows in 8 numbers, all of them in [0, 1] and one above 1/2.

    >>> z = torch.tensor([[4.0, 1.0, -2.0, 0.0], [0.0, 2.0, 1.0, -9.0]])
    >>> [kind_of_outputs(outputs) for outputs in (z.softmax(1), z.log_softmax(1), z.sigmoid(), z)]
    ['probabilities', 'log-probabilities', 'sigmoids', '']
    """
    ones = torch.ones(len(logits), device=logits.device)
    for kind, found in (("probabilities", logits), ("log-probabilities", logits.exp())):
        if bool((found >= 0).all()) and torch.allclose(found.sum(1).float(), ones, rtol=0, atol=SUM):
            return kind
    low, high = logits.aminmax()
    return "sigmoids" if logits.numel() >= 8 and low >= 0 and 0.5 < high <= 1 else ""


def said_of_outputs(name: str, kind: str) -> str:
    """What was seen of a network whose outputs are of this kind, what is expected, and the cure."""
    seen, layer = {
        "probabilities": ("its outputs add up to 1 for every image", "softmax"),
        "log-probabilities": ("exp of its outputs adds up to 1 for every image", "log_softmax"),
        "sigmoids": ("all its outputs lie in [0, 1]", "sigmoid"),
    }[kind]
    return f"network {name} gives {kind}, expected logits: {seen}, leave out its {layer}"


def fault_of_tensor(given: Any, x: Tensor, shape: Sequence[int | None], what: str) -> str:
    """The cure for an output that is no wide floating point tensor on the device of x; "" where it is one."""
    if isinstance(given, Tensor):
        return fault_of_kind(given, x, what)
    if given is None:
        return "does forward return its result?"
    if isinstance(given, np.ndarray | np.generic):
        return "numpy stops the gradient: compute in torch, without .detach() and .numpy()"
    if isinstance(given, bool | int | float | complex):
        return "return one number per image, not .item(), .mean() or .sum() of the batch"
    parts = given.items() if isinstance(given, Mapping) else enumerate(given) if isinstance(given, list | tuple) else ()
    tensors = {key: part for key, part in parts if isinstance(part, Tensor)}
    if isinstance(given, list | tuple) and len(given) == len(x) and all(fits(p, ()) or is_number(p) for p in given):
        return "return one tensor, such as torch.stack of them"
    fitting = [key for key, part in tensors.items() if fits(part, shape)] or list(tensors)
    if not fitting:
        return "return one tensor"
    return f"let forward return {what} alone, output[{fitting[0]!r}]"


def fits(part: Any, shape: Sequence[int | None]) -> bool:
    """Whether a value is a tensor of this shape; None is any size."""
    if not isinstance(part, Tensor) or part.is_nested or part.ndim != len(shape):
        return False
    return all(wanted in (None, size) for wanted, size in zip(shape, part.shape, strict=True))


def is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def fault_of_kind(given: Tensor, x: Tensor, what: str) -> str:
    """The cure for a tensor of another layout, device or type."""
    if layout_of(given):
        return "take torch.stack of its rows" if given.is_nested else "take .to_dense() of it"
    if given.device != x.device:
        return f"it lies on {given.device} and the images on {x.device}: return it on their device"
    if given.dtype in WIDE:
        return ""
    if given.dtype.is_complex:
        return "take its .abs() or .real"
    if given.dtype.is_floating_point:
        return f"so few bits tie images that differ: compute {what} in float32, such as from logits.float()"
    return f"whole numbers tie and have no gradient: return {what} before it is rounded, compared or counted"


def cure_of_shape(shape: tuple[int, ...], n: int) -> str:
    """The likely cure for scores of another shape."""
    if shape == ():
        return "mean() or sum() over the batch, or squeeze() of a batch of one, leaves a single number"
    if math.prod(shape) == n and len(shape) > 1:
        return "take squeeze(1) of them" if shape == (n, 1) else "take flatten() of them"
    if len(shape) == 1:
        return "does forward leave images out, or add copies?"
    if shape[0] == n and len(shape) == 2:
        return (
            "of a network's logits take one number, such as logits.amax(1), or give the network to "
            "detectors.create('msp', net)"
        )
    return "reduce every other dimension, such as flatten(1).mean(1)"
