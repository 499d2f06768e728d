"""A denoiser in front of a network: what noise was added to an image is taken off before the network sees it."""

from __future__ import annotations

import math
from hashlib import sha256
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from detectors import shown, unknown
from detectors.care import in_eval, usual_state

from ..store.users import described, import_attribute
from .checkpoint import read_state
from .classifier import Backbone, Classifier
from .digits import TRAINED
from .own import made
from .source import file_hash
from .weights import load_weights, put_weights

EMBEDDED = {"digits-denoiser": "47a012bd8193e36abdf420907ca2decccc57f4c62642c85dc1897ae2ba06b2ca"}
"""The SHA-256 of each denoiser that comes with RoodBench."""
DENOISERS = {
    "digits-denoiser": "residual denoiser of digits 0-5 before digits-cnn, comes with its weights",
    "residual": "the same architecture with weights of `python -m roodbench.models.train_denoiser`",
    "MODULE:ATTRIBUTE": "a denoiser of yours, or FILE.py:ATTRIBUTE: images in, images of the same shape out",
}
"""Every kind of denoiser that can be named, with a sentence."""


class ResidualDenoiser(nn.Module):
    """x - R(x): what noise R finds in images x (B, C, H, W) of any noise level, none included, is taken off.

    That the noise is learned and not the image is DnCNN's idea (Zhang et al. 2017, arXiv:1608.03981); R has 3x3
    convolutions of `width` channels in `blocks` residual blocks, without batch norm (EDSR, Lim et al. 2017,
    arXiv:1707.02921), at half the resolution: 2x2 pixels become channels, as in FFDNet (Zhang et al. 2018,
    arXiv:1710.04026). Images of odd height or width are extended by a row or column of zeros.
    """

    def __init__(self, channels: int, *, width: int, blocks: int) -> None:
        super().__init__()
        self.first, self.last = (
            nn.Conv2d(a, b, 3, padding=1) for a, b in ((4 * channels, width), (width, 4 * channels))
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1))
            for _ in range(blocks)
        )

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        even = F.pad(x, (0, width % 2, 0, height % 2))
        h = self.first(F.pixel_unshuffle((even - 0.5) / 0.25, 2))
        for block in self.blocks:
            h = h + block(h)
        noise = F.pixel_shuffle(self.last(h), 2) * 0.1
        return x - noise[..., :height, :width]


class Denoised(nn.Module):
    """A backbone of images in pixels behind a denoiser: features((D(x) - mean) / std)."""

    mean: Tensor
    std: Tensor

    def __init__(self, denoiser: nn.Module, name: str, net: Classifier) -> None:
        super().__init__()
        self.denoiser, self.name, self.backbone = denoiser, name, net.backbone
        self.size, self.interpolation = (getattr(net.backbone, name, None) for name in ("size", "interpolation"))
        self.headless: str = net.headless
        with usual_state():
            self.register_buffer("mean", net.mean.clone())
            self.register_buffer("std", net.std.clone())

    @property
    def head(self) -> nn.Linear:
        return cast(Backbone, self.backbone).head

    def features(self, x: Tensor) -> Tensor:
        return cast(Backbone, self.backbone).features((self.denoiser(x) - self.mean) / self.std)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


@usual_state()
def denoised(net: Classifier, denoiser: str | nn.Module, checkpoint: str | Path | None = None) -> Classifier:
    """`net` behind a denoiser (`DENOISERS`, or an nn.Module), frozen: one network, whose every image is denoised first.

    Attacks go through it, and to smoothing it is a part of the base score: noise is drawn before it, so that no bound
    changes (docs/theorems.md, T26). ValueError for an unknown name, weights that are missing or do not fit, and a
    module that cannot be copied.
    """
    name = denoiser if isinstance(denoiser, str) else type(denoiser).__name__
    files = {}
    if isinstance(denoiser, str):
        check_denoiser(denoiser, checkpoint, "pixel")
        file = None if checkpoint is None else Path(checkpoint)
        found = load_denoiser(denoiser, net.mean.numel(), file)
        files = {} if file is None else {f"denoiser/{file.name}": file_hash(file)}
    else:
        found = made(denoiser, name, {}, kind="denoiser")
    channels = net.mean.numel()
    both = Classifier(Denoised(found, name, net), [0.0] * channels, [1.0] * channels, name=f"{net.name} behind {name}")
    both.files = {**net.files, **files}
    both = both.requires_grad_(False).to(net.mean.device)
    both.backbone.eval()
    return both


def check_denoiser(name: str | None, checkpoint: str | Path | None, space: str) -> None:
    """ValueError for an unknown denoiser, for weights it does not take or lacks, and for images that are not pixels."""
    if name is None:
        if checkpoint is not None:
            raise ValueError("denoiser-checkpoint is said of a denoiser: give --denoiser too")
        return
    if space != "pixel":
        raise ValueError(f"denoiser {name} takes pixels: leave out --space {space}")
    if ":" not in name and name not in DENOISERS:
        known = [*DENOISERS]
        hint = "; its weights go to --denoiser-checkpoint" if Path(name).suffix in (".safetensors", ".pt") else ""
        raise ValueError(f"{unknown('denoiser', name, known)}{hint}")
    if name in EMBEDDED and checkpoint is not None:
        raise ValueError(f"denoiser {name} comes with its weights: leave out --denoiser-checkpoint")
    if name == "residual" and checkpoint is None:
        raise ValueError("denoiser residual needs weights: give --denoiser-checkpoint FILE (.safetensors)")


def load_denoiser(name: str, channels: int, file: Path | None) -> nn.Module:
    """The denoiser of this name for images of so many channels."""
    if ":" in name:
        found = made(import_attribute(name, "denoiser"), name, {}, kind="denoiser")
        if file is not None:
            load_weights(found, file, name)
        return found
    if file is None:
        file = TRAINED / f"{name}.safetensors"
        if not file.is_file() or sha256(file.read_bytes()).hexdigest() != EMBEDDED[name]:
            raise OSError(f"{name}, a part of RoodBench, is missing or damaged ('{file}'): install roodbench again")
    return residual(file, channels, name)


def residual(file: Path, channels: int, name: str) -> ResidualDenoiser:
    """A `ResidualDenoiser` with the weights in a file, which say its width and number of blocks."""
    state = read_state(file)
    first = state.get("first.weight")
    if first is None or first.ndim != 4 or first.shape[1] % 4:
        raise ValueError(f"checkpoint '{file}' does not fit {name}: expected weights first, blocks.0.0, ..., last")
    if first.shape[1] != 4 * channels:
        raise ValueError(f"denoiser {name} takes images of {first.shape[1] // 4} channels, the network {channels}")
    blocks = sum(key.startswith("blocks.") and key.endswith(".0.weight") for key in state)
    net = ResidualDenoiser(channels, width=first.shape[0], blocks=blocks)
    put_weights(net, state, file, name)
    return net


@torch.no_grad()
def check_images(net: Classifier, x: Tensor) -> None:
    """ValueError where the denoiser of `denoised` does not make an image of the same shape of each image x (B, ...)."""
    body = cast(Denoised, net.backbone)
    denoiser, name = body.denoiser, body.name
    try:
        with in_eval(denoiser):
            y = denoiser(x)
    except Exception as error:  # whatever a user's module raises
        raise ValueError(f"denoiser {name} cannot take {tuple(x.shape[1:])} images: {described(error)}") from error
    if not isinstance(y, Tensor) or y.shape != x.shape or not y.is_floating_point():
        gave = f"{y.dtype} {tuple(y.shape)}" if isinstance(y, Tensor) else shown(y)
        raise ValueError(f"denoiser {name} gives {gave}: expected images as they come, floats {tuple(x.shape)}")
    if not math.isfinite(float(y.abs().max())):
        raise ValueError(f"denoiser {name} gives pixels that are not finite: expected numbers for every image")
