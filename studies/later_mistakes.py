"""Planted mistakes that were invented when the indicators stood: nothing was tuned on them."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from studies.mistakes import Changed, blurred, brightness, stored, with_gradient
from studies.plants import Function, Parts, Plant, ebo, gate, plus, scaled, transformed


def energy(p: Parts, h: Tensor) -> Tensor:
    return p.net.head(h).logsumexp(1)


def clipped_straight_through(p: Parts, x: Tensor) -> Tensor:
    """Features in halves, the gradient that of a clamp to one, as binarised networks have it."""
    h = p.features(x)
    soft = h.clamp(max=1.0)
    return energy(p, soft + ((2 * h).round() / 2 - soft).detach())


def hooked(p: Parts, x: Tensor) -> Tensor:
    """Features of which a hook lets every second unit's gradient through."""
    h = p.features(x)
    every_second = (torch.arange(h.shape[1]) % 2).to(h)
    return energy(p, Changed.apply(h, lambda grad: grad * every_second))


def in_int8(p: Parts, x: Tensor) -> Tensor:
    """knn in steps of 1/16 of a byte's range."""
    return (p.scaled("knn", x) * 4).round().clamp(-128, 127).detach().to(torch.int8).to(x) / 4


def rounded_features(p: Parts, x: Tensor) -> Tensor:
    return energy(p, (p.features(x) * 16).round() / 16)


def gathered(p: Parts, x: Tensor) -> Tensor:
    """ebo of the eight largest features alone, taken out of a detached copy, times their differentiable sum."""
    h = p.features(x)
    place = h.topk(8, dim=1).indices
    kept = torch.zeros_like(h).scatter(1, place, h.detach().gather(1, place))
    return energy(p, kept * (h.sum(1, keepdim=True) / h.sum(1, keepdim=True).detach()))


def soft_gathered(p: Parts, x: Tensor) -> Tensor:
    h = p.features(x)
    return energy(p, h * (h >= h.topk(8, dim=1).values[:, -1:]))


def nearest_of_bank(p: Parts, x: Tensor) -> Tensor:
    """(B,) the place of the stored features nearest to an image's."""
    return torch.cdist(F.normalize(p.features(x), dim=1), stored(p).to(x)).argmin(1)


def same_class_as_nearest(p: Parts, x: Tensor) -> Tensor:
    """A table: whether the nearest stored image's class is the one that the network names."""
    named = p.net.head(stored(p).to(x) * p.size).argmax(1)
    return (named[nearest_of_bank(p, x)] == p.net(x).argmax(1)).to(x)


def pulled(p: Parts, x: Tensor) -> Tensor:
    """Features halfway to the nearest stored ones, as purification does it."""
    h = p.features(x)
    return energy(p, (h + stored(p).to(x)[nearest_of_bank(p, x)] * h.norm(dim=1, keepdim=True).detach()) / 2)


def pillow(x: Tensor) -> Tensor:
    """JPEG of quality 60, by Pillow."""
    images = []
    for image in (255 * x.detach()).round().clamp(0, 255).to(torch.uint8).cpu().numpy()[:, 0]:
        file = BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=60)
        images.append(np.asarray(Image.open(file), dtype=np.float32) / 255)
    return torch.from_numpy(np.stack(images))[:, None].to(x)


def by_data(p: Parts, x: Tensor) -> Tensor:
    """Features less a half, cut at 0 in place and behind autograd's back."""
    h = p.features(x)
    h.data.sub_(0.5).relu_()
    return energy(p, h)


def cut(p: Parts, x: Tensor) -> Tensor:
    return energy(p, (p.features(x) - 0.5).relu())


def noisy_back(p: Parts, x: Tensor) -> Tensor:
    """ebo whose gradient comes back with three times as much noise."""

    def noisy(grad: Tensor) -> Tensor:
        return grad + 3 * grad.abs().mean() * torch.randn(grad.shape).to(grad)

    return p.ebo(Changed.apply(x, noisy))


def large_pixels(grad: Tensor) -> Tensor:
    """The gradient where it is more than twice its mean."""
    size = grad.abs()
    return grad * (size > 2 * size.mean((1, 2, 3), keepdim=True))


def saturated(p: Parts, x: Tensor) -> Tensor:
    return (50 * (p.ebo(x) - p.mean["ebo"]) / p.std["ebo"]).tanh()


def clipped_logits(p: Parts, x: Tensor) -> Tensor:
    return p.net(x).clamp(-4, 10).logsumexp(1)


def resized(p: Parts, x: Tensor) -> Tensor:
    """ebo of images shrunk and enlarged by a factor of nobody's generator."""
    size = int(torch.randint(6, 9, ()))
    return p.ebo(F.interpolate(F.interpolate(x, size=size, mode="bilinear"), size=8, mode="bilinear"))


def previous(p: Parts, x: Tensor) -> Tensor:
    """ebo, less what the image differs from the first one of the call before."""
    before = p.kept[-1] if p.kept else torch.zeros_like(x[:1])
    p.kept.append(x[:1].detach())
    return p.ebo(x) - 10 * (x - before.to(x)).abs().flatten(1).mean(1)


def remembered(p: Parts, x: Tensor) -> Tensor:
    """ebo, kept under the pixels in 16 levels: the first of equal ones counts. Its gradient is ebo's."""
    score = p.ebo(x)
    keys = [bytes(row.to(torch.uint8).tolist()) for row in (x.detach() * 15).round().flatten(1)]
    kept = [p.table.setdefault(key, float(value)) for key, value in zip(keys, score.detach(), strict=True)]
    return score + (torch.tensor(kept).to(score) - score).detach()


def parity(p: Parts, x: Tensor) -> Tensor:
    """One for images whose bytes have an odd sum."""
    return (x * 255).round().flatten(1).sum(1) % 2


def larger(part: Callable[[Tensor], Tensor]) -> Function:
    return lambda p, x: torch.maximum(p.ebo(x), p.mean["ebo"] + part(2 * p.scaled("vim", x)))


def roughness(p: Parts, x: Tensor) -> Tensor:
    """Minus what an image is rougher than most."""
    return -60 * ((x - blurred(x)).abs().flatten(1).mean(1) - 0.2).relu()


def of_the_blurred(p: Parts, x: Tensor) -> Tensor:
    """ebo, with the gradient of the blurred image's."""
    other = p.ebo(blurred(x))
    return other + (p.ebo(x) - other).detach()


def kinder(p: Parts, x: Tensor) -> Tensor:
    """ebo, whose gradient vanishes where it is below its mean."""
    score = p.ebo(x)
    low = score < p.mean["ebo"] - p.std["ebo"]
    return torch.where(low, score.detach(), score)


def one_class(p: Parts, x: Tensor) -> Tensor:
    """(B,) bool: whether the network names the first class."""
    return p.net(x).argmax(1) == 0


def wrong_for_one_class(p: Parts, x: Tensor) -> Tensor:
    return torch.where(one_class(p, x), p.ebo(Changed.apply(x, torch.neg)), p.ebo(x))


def vim_for_one_class(p: Parts, x: Tensor) -> Tensor:
    """ebo and 3 vim, vim under no_grad for one class."""
    vim = 3 * p.scaled("vim", x)
    return p.ebo(x) + torch.where(one_class(p, x), vim.detach(), vim)


def rare(p: Parts, x: Tensor) -> Tensor:
    """How far knn lies above what 8% of ID validation images reach."""
    return p.scaled("knn", x) - p.usual[int(0.92 * len(p.usual))].to(x)


def corner_pixels(p: Parts, x: Tensor) -> Tensor:
    """The darkest corner's brightness, in units of 1/100."""
    return 100 * x[:, 0, [0, 0, -1, -1], [0, -1, 0, -1]].amin(1) - 5


LATER = (
    Plant("features in halves, clipped straight through", clipped_straight_through, (ebo,)),
    Plant("a hook on every second feature", hooked, (ebo,)),
    Plant("2 knn in int8", plus(2.0, in_int8), (plus(2.0, scaled("knn")), scaled("knn"), ebo)),
    Plant("features in sixteenths, half of the score", plus(1.0, rounded_features), (ebo,)),
    Plant("top 8 units from a detached copy", gathered, (soft_gathered, ebo)),
    Plant("4 [class of the nearest stored]", plus(4.0, same_class_as_nearest), (plus(1.0, scaled("knn")), ebo)),
    Plant("pulled to the nearest stored", pulled, (ebo, plus(1.0, scaled("knn")))),
    transformed("Pillow's JPEG, half of the score", pillow, half=True),
    transformed("Pillow's JPEG, straight through", pillow, through=True),
    Plant("cut in place by .data", by_data, (cut, ebo)),
    Plant("gradient with noise", noisy_back, (ebo,)),
    Plant("gradient of large pixels alone", with_gradient(large_pixels), (ebo,)),
    Plant("tanh of 50 ebo", saturated, (ebo,)),
    Plant("logits clipped to -4..10", clipped_logits, (ebo,)),
    Plant("random resize", resized, (ebo,), meant=ebo),
    Plant("previous image", previous, (ebo,), meant=ebo),
    Plant("remembered by pixels in 16 levels", remembered, (ebo,), meant=ebo),
    Plant("4 [odd sum of bytes]", plus(4.0, parity), (ebo,)),
    Plant("maximum with vim under no_grad", larger(torch.Tensor.detach), (larger(lambda s: s), scaled("vim"))),
    Plant("roughness under no_grad", plus(1.0, lambda p, x: roughness(p, x).detach()), (plus(1.0, roughness),)),
    Plant("gradient of the blurred image", of_the_blurred, (ebo,)),
    Plant("no gradient where ebo is low", kinder, (ebo,)),
    Plant("gradient of the wrong sign for one class", wrong_for_one_class, (ebo,)),
    Plant("3 vim under no_grad for one class", vim_for_one_class, (plus(3.0, scaled("vim")),)),
    gate("knn beyond 92% of ID", rare, size=20.0, at=0.0),
    gate("brightness", brightness, size=10.0, at=10.0),
    gate("darkest corner", corner_pixels, size=20.0, at=0.0),
)
"""None of them is in PLANTS; the last five concern few images, or a corner of the ball."""
