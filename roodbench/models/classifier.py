"""The one wrapper around every network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from detectors import Outputs
from detectors.care import in_eval, usual_state

from ..store.identity import state_hash


class Backbone(Protocol):
    """A network that takes normalised images: `features(x)` (B, D), then the linear `head` to K logits."""

    head: nn.Linear

    def features(self, x: Tensor) -> Tensor: ...


class Classifier(nn.Module):
    """`backbone((x - mean) / std)`, always computed in eval mode; x is (B, C, H, W) in [0, 1].

    The backbone itself stays as it is between calls: a caller may go on to train it. One that says in `headless` why
    it has no last linear layer shows its logits alone.
    """

    incidental = frozenset({"files"})

    mean: Tensor
    std: Tensor
    unit_std: Tensor
    """(1, C, 1, 1): a pixel step of e is a step of e / unit_std in the network's input space."""

    def __init__(self, backbone: nn.Module, mean: Sequence[float], std: Sequence[float], *, name: str) -> None:
        super().__init__()
        self.backbone, self.name, self.training = backbone, name, False
        self.files: Mapping[str, str] = {}
        """The SHA-256 of each file that its weights are from, by its name."""
        with usual_state():
            self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
            self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))
            self.register_buffer("unit_std", torch.ones(1, len(std), 1, 1))

    @property
    def headless(self) -> str:
        """Why there are no features and no head; "" where there are."""
        return getattr(self.backbone, "headless", "")

    @property
    def head(self) -> nn.Linear:
        return cast(Backbone, self.backbone).head

    def outputs(self, x: Tensor) -> Outputs:
        """Logits (B, K) and penultimate features (B, D), None of one without a head.

        ValueError for what is no batch of floats (B, C, H, W).
        """
        if not isinstance(x, Tensor):
            wanted = f"a tensor of floats (B, {self.mean.numel()}, H, W), such as images.shard(0, 64)"
            raise ValueError(f"network {self.name} is given {type(x).__name__}: expected {wanted}")
        if not x.is_floating_point() or x.ndim != 4 or x.shape[1] != self.mean.numel():
            wanted = f"expected floats (B, {self.mean.numel()}, H, W)"
            raise ValueError(f"network {self.name} is given {x.dtype} {tuple(x.shape)}: {wanted}")
        with in_eval(self.backbone):
            h = cast(Backbone, self.backbone).features((x - self.mean) / self.std)
            return Outputs(self.head(h), None if self.headless else h)

    def forward(self, x: Tensor) -> Tensor:
        return self.outputs(x).logits

    def train(self, mode: bool = True) -> Classifier:
        """Stays in eval mode, as does the backbone: a detector judges a finished network."""
        return self

    def normalized(self) -> Classifier:
        """The same network for images that are already (x - mean) / std."""
        channels = self.mean.numel()
        net = Classifier(self.backbone, [0.0] * channels, [1.0] * channels, name=self.name)
        net.unit_std, net.files = self.std.clone(), self.files
        return net.to(self.mean.device)

    def fingerprint(self) -> str:
        """A hash of the architecture's name, the weights, normalisation, resizing and the compiled batch sizes."""
        size, how = (getattr(self.backbone, name, None) for name in ("size", "interpolation"))
        resizing = f"{size} {how}" if size else ""
        return state_hash(self, self.name, repr(getattr(self.backbone, "sizes", ())), resizing)
