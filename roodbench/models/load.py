"""Networks by name."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import torch

from detectors import unknown
from detectors.care import usual_state

from .classifier import Classifier
from .digits import DIGITS_CNNS, digits_cnn
from .resnet import AT_RESNETS, RESNETS, ATResNet, ResNet, ResNet18
from .weights import load_weights

MODELS = {
    "digits-cnn": "small CNN on digits 0-5, comes with its weights",
    "digits-cnn-at": "digits-cnn trained adversarially (linf 0.125), likewise",
    **{name: f"CIFAR-10 ResNet-{depth}, option-A shortcuts" for name, depth in RESNETS.items()},
    "openood-resnet18": "OpenOOD's CIFAR-10 ResNet-18 for 32x32 images",
    **{name: f"CIFAR-10 ResNet of {blocks} blocks, adversarially trained" for name, blocks in AT_RESNETS.items()},
}

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CIFAR10 = ((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616))
OPENOOD = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
"""Mean and standard deviation per channel that the published weights were trained with."""


def check_model(name: str) -> None:
    """ValueError for a network that is not among `MODELS`, with the nearest of them."""
    if not isinstance(name, str):
        raise ValueError(unknown("model", name, MODELS))
    if name in MODELS:
        return
    if ":" in name or name.endswith(".py") or Path(name).suffix in (".pt", ".pth", ".th", ".safetensors", ".ckpt"):
        raise ValueError(
            f"model {name!r}: expected one of {', '.join(MODELS)}; weights go to --checkpoint, and a network of your "
            "own into a detector that loads it, --detector FILE.py:NAME (docs/custom-detector.md)"
        )
    raise ValueError(unknown("model", name, MODELS))


@usual_state()
def load_model(name: str, *, checkpoint: str | Path | None = None, device: str | torch.device = "cpu") -> Classifier:
    """The network `name` with the weights in `checkpoint` (safetensors, or a .th / .pt state dict), frozen.

    `digits-cnn` and `digits-cnn-at` need no checkpoint: their weights are part of the package. Raises ValueError for an
    unknown name, a missing checkpoint, and one that does not fit (naming the keys and shapes that differ).
    """
    check_model(name)
    if name in DIGITS_CNNS:
        if checkpoint is not None:
            raise ValueError(f"model {name} comes with its weights: leave out --checkpoint")
        return digits_cnn(name).requires_grad_(False).to(device)
    if not isinstance(checkpoint, str | PathLike | None):
        raise ValueError(f"checkpoint {checkpoint!r}: expected a file (.safetensors, .th or .pt)")
    if checkpoint is None:
        raise ValueError(f"model {name} needs weights: give --checkpoint FILE (.safetensors, .th or .pt)")
    backbone: ResNet | ATResNet | ResNet18
    if name in RESNETS:
        backbone, (mean, std) = ResNet(RESNETS[name]), IMAGENET
    else:
        backbone, (mean, std) = (ATResNet(AT_RESNETS[name]), CIFAR10) if name in AT_RESNETS else (ResNet18(), OPENOOD)
    load_weights(backbone, Path(checkpoint), name)
    return Classifier(backbone.eval(), mean, std, name=name).requires_grad_(False).to(device)
