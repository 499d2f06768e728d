"""A backbone made of any network: its features, its last linear layer, and images resized to what it needs."""

from __future__ import annotations

import copy
import logging

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from detectors.care import in_eval
from detectors.head import NoHeadError, find_head, is_near, linear_of, pooled

log = logging.getLogger("roodbench")
Size = tuple[int, int]


def resized(x: Tensor, size: Size | None, interpolation: str) -> Tensor:
    """Images (B, C, H, W) at another height and width, with antialiasing; the same tensor where they have that."""
    if size is None or tuple(x.shape[-2:]) == tuple(size):
        return x
    return F.interpolate(x, size, mode=interpolation, align_corners=False, antialias=True)


fx.wrap("resized")  # the size of a batch is known only when it comes


class Body(nn.Module):
    """A network as features and head.

    `net` gives the features: its last linear layer `layer` is taken out of it. Where something else reads that layer
    it stays in (`hooked`), the whole network runs and a hook catches what goes in. Where there is none, the logits
    stand for the features, `head` is the identity and `headless` says why.
    """

    def __init__(
        self, net: nn.Module, head: nn.Module, layer: str, size: Size | None, interpolation: str, *, hooked: bool
    ) -> None:
        super().__init__()
        self.net, self.head, self.layer, self.hooked = net, head, layer, hooked
        self.size, self.interpolation, self.headless = size, interpolation, ""

    def features(self, x: Tensor) -> Tensor:
        x = resized(x, self.size, self.interpolation)
        if not self.hooked:
            return self.net(x)
        layer, given = self.net.get_submodule(self.layer), list[Tensor]()
        hook = layer.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
        try:
            self.net(x)
        finally:
            hook.remove()
        return pooled(layer, given[-1])

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


@torch.no_grad()
def backbone_of(
    net: nn.Module, x: Tensor, *, head: str | None = None, size: Size | None = None, interpolation: str = "bilinear"
) -> Body:
    """The backbone of a network; x (B, C, H, W) are normalised images to find and check its last linear layer with.

    `head` names that layer. ValueError for a name that the network does not have, or whose layer does not give the
    logits.
    """
    with in_eval(net):
        images = resized(x, size, interpolation)
        try:
            layer = find_head(net, images, head)
        except NoHeadError as error:
            if head is not None:
                raise ValueError(f"head {head!r}: {error}") from None
            body = Body(net, nn.Identity(), "", size, interpolation, hooked=False)
            body.headless = str(error)
            return body
        last, logits = linear_of(net.get_submodule(layer)), net(images)
        try:
            cut = Body(without(net, layer), last, layer, size, interpolation, hooked=False)
            if gives(cut, x, logits):
                return cut
        except Exception as reason:  # whatever a network raises that needs its last layer, or cannot be copied
            log.info("the last linear layer %s stays in its network: %s", layer, reason)
        return Body(net, last, layer, size, interpolation, hooked=True)


def without(net: nn.Module, place: str) -> nn.Module:
    """A copy of a network whose layer at `place` passes on what it is given."""
    if not place:
        return nn.Identity()
    found = copy.deepcopy(net)
    parent, _, name = place.rpartition(".")
    setattr(found.get_submodule(parent), name, nn.Identity())
    return found


def gives(body: Body, x: Tensor, logits: Tensor) -> bool:
    """Whether a backbone gives these logits, from features (B, D)."""
    with in_eval(body):
        features = body.features(x)
        return features.ndim == 2 and is_near(body.head(features), logits)
