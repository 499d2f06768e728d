"""Networks by name: RoodBench's own, those of a source as `source:NAME`, and a user's as `module:attribute`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from detectors import unknown
from detectors.care import usual_state

from ..store.users import is_file
from . import openood, own, robustbench, timm, torchvision
from .assemble import Shape, assembled, normalisation_of
from .classifier import Classifier
from .digits import DIGITS_CNNS, digits_cnn
from .resnet import AT_RESNETS, RESNETS, ATResNet, ResNet, ResNet18
from .source import CIFAR10, IMAGENET, OPENOOD, Loaded, Wanted, file_hash, needed_weights, silent
from .weights import load_weights

MODELS = {
    "digits-cnn": "small CNN on digits 0-5, comes with its weights",
    "digits-cnn-at": "digits-cnn trained adversarially (linf 0.125), likewise",
    **{name: f"CIFAR-10 ResNet-{depth}, option-A shortcuts" for name, depth in RESNETS.items()},
    "openood-resnet18": "OpenOOD's CIFAR-10 ResNet-18 for 32x32 images",
    **{name: f"CIFAR-10 ResNet of {blocks} blocks, adversarially trained" for name, blocks in AT_RESNETS.items()},
}
SHAPE = frozenset({"mean", "std", "size", "head"})
"""What may be said of every network but the embedded ones."""
WEIGHTS = frozenset({"checkpoint", "trust_checkpoint"})


class Source(NamedTuple):
    """A source of networks: a sentence, the function that loads NAME, and what else may be said of a network of it."""

    about: str
    load: Callable[[str, Wanted], Loaded]
    takes: frozenset[str]


SOURCES = {
    "openood": Source(
        f"OpenOOD's checkpoints: {', '.join(openood.ARCHITECTURES)}", openood.load, SHAPE | WEIGHTS | {"model_args"}
    ),
    "torchvision": Source(
        "a classifier of torchvision", torchvision.load, SHAPE | WEIGHTS | {"model_args", "model_dir", "download"}
    ),
    "timm": Source(
        "a classifier of timm, NAME or NAME.TAG",
        timm.load,
        SHAPE | WEIGHTS | {"model_args", "model_dir", "download"},
    ),
    "robustbench": Source(
        "a network of RobustBench's zoo",
        robustbench.load,
        SHAPE | {"model_args", "model_dir", "threat_model", "download", "trust_checkpoint"},
    ),
}
OWN = Source("a network of yours, or FILE.py:ATTRIBUTE", own.load, SHAPE | WEIGHTS | {"model_args"})
CATALOGUE = {**MODELS, **{f"{key}:NAME": s.about for key, s in SOURCES.items()}, "MODULE:ATTRIBUTE": OWN.about}
"""Every kind of network that can be named, with a sentence."""


def check_model(name: str) -> None:
    """ValueError for a network that is not among `MODELS` and has no source, with the nearest of them."""
    if not isinstance(name, str):
        raise ValueError(unknown("model", name, CATALOGUE))
    prefix, colon, rest = name.partition(":")
    if name in MODELS or (colon and rest and prefix):
        if prefix == "openood":
            openood.check_name(rest)
        return
    if colon or name in SOURCES:
        raise ValueError(f"model {name!r}: expected SOURCE:NAME or MODULE:ATTRIBUTE, such as openood:resnet18")
    if name.endswith(".py") or (is_file(name) and not Path(name).suffix):
        raise ValueError(f"model {name!r}: expected a network in the file, {name}:NAME")
    if Path(name).suffix in (".pt", ".pth", ".th", ".safetensors", ".ckpt"):
        raise ValueError(
            f"model {name!r}: weights go to --checkpoint; expected one of {', '.join(CATALOGUE)} (docs/network.md)"
        )
    raise ValueError(
        f"{unknown('model', name, CATALOGUE)}; SOURCE:NAME is one of a library, such as torchvision:resnet18"
    )


def source_of(name: str) -> Source | None:
    """The source of a network; None for one of RoodBench's own."""
    prefix, colon, _ = name.partition(":")
    return None if not colon else SOURCES.get(prefix, OWN)


def taken_by(name: str) -> frozenset[str]:
    """What may be said of a network besides its name."""
    source = source_of(name)
    if source is not None:
        return source.takes
    return frozenset() if name in DIGITS_CNNS else SHAPE | WEIGHTS


@usual_state()
def load_model(
    name: str,
    *,
    checkpoint: str | Path | None = None,
    device: str | torch.device = "cpu",
    model_args: Mapping[str, Any] | None = None,
    mean: Sequence[float] | float | None = None,
    std: Sequence[float] | float | None = None,
    size: int | None = None,
    head: str | None = None,
    model_dir: str | Path | None = None,
    threat_model: str | None = None,
    download: bool = False,
    trust_checkpoint: bool = False,
    sample: Tensor | None = None,
) -> Classifier:
    """The network `name` with the weights in `checkpoint` (safetensors, or a .th / .pt state dict), frozen.

    `digits-cnn` and `digits-cnn-at` need no checkpoint: their weights are part of the package. `openood:NAME`,
    `torchvision:NAME`, `timm:NAME` and `robustbench:NAME` come from there, `module:attribute` from a user's code, which
    `model_args` are given to. `mean`, `std` and `size` replace a source's own; `head` names the last linear layer where
    it is not found; `sample` (B, C, H, W) are images to find it with, noise by default. Weights that are not given are
    looked for in `model_dir` (a folder in the user's cache) and, with `download` alone, fetched. Files that hold more
    than tensors are unpickled with `trust_checkpoint` alone: that runs code in them. Raises ValueError for
    an unknown name, a missing checkpoint, one that does not fit (naming the keys and shapes that differ), a missing
    package (naming the install command) and for what the network does not take.
    """
    check_model(name)
    if not isinstance(checkpoint, str | PathLike | None):
        raise ValueError(f"checkpoint {checkpoint!r}: expected a file (.safetensors, .th or .pt)")
    said = {"checkpoint": checkpoint, "model_args": model_args, "mean": mean, "std": std, "size": size, "head": head}
    said |= {"model_dir": model_dir, "threat_model": threat_model, "download": download}
    said["trust_checkpoint"] = trust_checkpoint
    check_said(name, [key for key, value in said.items() if value])
    if name in DIGITS_CNNS:
        return digits_cnn(name).requires_grad_(False).to(device)
    wanted = Wanted(
        None if checkpoint is None else Path(checkpoint),
        dict(model_args or {}),
        None if model_dir is None else Path(model_dir),
        threat_model,
        download,
        trust_checkpoint,
    )
    source = source_of(name)
    if source is None:
        loaded = own_of(name, wanted)
    else:
        with silent():
            loaded = source.load(name if source is OWN else name.partition(":")[2], wanted)
    shape = Shape(normalisation_of(mean, std), size, head)
    net = assembled(name, loaded, shape, sample).requires_grad_(False).to(device)
    net.backbone.eval()
    return net


def option_of(key: str) -> str:
    """The option of a setting: --model-arg for model_args, which may be repeated."""
    return f"--{key.replace('_', '-').removesuffix('s')}"


def check_said(name: str, said: Sequence[str]) -> None:
    """ValueError for a setting that a network does not take."""
    for key in said:
        if key not in taken_by(name):
            if name in DIGITS_CNNS and key == "checkpoint":
                raise ValueError(f"model {name} comes with its weights: leave out --checkpoint")
            option = option_of(key)
            raise ValueError(f"model {name} takes no {option.removeprefix('--')}: leave out {option}")


def own_of(name: str, wanted: Wanted) -> Loaded:
    """One of RoodBench's own networks."""
    file = needed_weights(name, wanted.checkpoint)
    backbone: ResNet | ATResNet | ResNet18
    if name in RESNETS:
        backbone, normalisation = ResNet(RESNETS[name]), IMAGENET
    else:
        backbone, normalisation = (ATResNet(AT_RESNETS[name]), CIFAR10) if name in AT_RESNETS else (ResNet18(), OPENOOD)
    load_weights(backbone, file, name, trust=wanted.trust)
    return Loaded(backbone, normalisation, files={file.name: file_hash(file)}, shows_features=True)
