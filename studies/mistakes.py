"""Planted mistakes of the digits networks, each beside the scores that its author meant."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from studies.plants import Function, Parts, Plant, detached, ebo, gate, plus, scaled, transformed


def cosines(n: int) -> Tensor:
    """The orthonormal DCT matrix (n, n)."""
    k, i = torch.arange(n)[:, None], torch.arange(n)[None]
    return torch.cos(torch.pi * k * (2 * i + 1) / (2 * n)) * torch.where(k == 0, 1.0, 2**0.5) / n**0.5


def jpeg(x: Tensor) -> Tensor:
    """Images of 8 x 8 pixels whose DCT coefficients are rounded to eighths."""
    D = cosines(8).to(x)
    return D.T @ ((D @ x @ D.T) * 8).round() / 8 @ D


def levels(n: int) -> Callable[[Tensor], Tensor]:
    return lambda x: (x * n).round() / n


def blurred(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def by_numpy(p: Parts, x: Tensor) -> Tensor:
    """The distance to the 10th neighbour among a few stored features, outside of autograd."""
    h = F.normalize(p.features(x).detach(), dim=1).numpy()
    far = np.linalg.norm(h[:, None] - np.asarray(stored(p))[None], axis=2)
    return torch.from_numpy(-np.partition(far, 10, axis=1)[:, 10]).to(x)


def nearest(p: Parts, x: Tensor) -> Tensor:
    h = F.normalize(p.features(x), dim=1)
    return -torch.cdist(h, stored(p), compute_mode="donot_use_mm_for_euclid_dist").kthvalue(11, dim=1).values


def stored(p: Parts) -> Tensor:
    bank = p.knn.bank
    assert isinstance(bank, Tensor)
    return bank[:200]


def hidden_noise(p: Parts, x: Tensor) -> Tensor:
    return p.ebo(x + 0.05 * torch.randn(x.shape))


def noise_of_the_image(p: Parts, x: Tensor) -> Tensor:
    """Features with noise that an image's own bits seed: repeatable, and without a slope."""
    seed = (1e5 * x.detach().double().flatten(1).sum(1)).frac()
    noise = (1e3 * seed[:, None] * torch.arange(1, 65)).sin().to(x)
    return p.net.head(p.features(x) * (1 + 0.5 * noise)).logsumexp(1)


def dropout(p: Parts, x: Tensor) -> Tensor:
    return p.net.head(F.dropout(p.features(x), 0.3, training=True)).logsumexp(1)


def batch_norm(p: Parts, x: Tensor) -> Tensor:
    return p.net.head(F.batch_norm(p.features(x), None, None, training=True)).logsumexp(1)


def less_than_before(p: Parts, x: Tensor) -> Tensor:
    """ebo, less the mean over all batches so far."""
    score = p.ebo(x)
    p.kept.append(score.detach().mean())
    return score - torch.stack(p.kept).mean()


def memory(p: Parts, x: Tensor) -> Tensor:
    """ebo, less for images like some of an earlier batch."""
    h, score = p.features(x), p.ebo(x)
    seen = p.kept[-20:]
    p.kept.append(h.detach())
    return score - sum(((h - old.mean(0)).square().mean(1) for old in seen), torch.zeros(len(x)).to(x))


def in_numpy(p: Parts, x: Tensor) -> Tensor:
    z = p.net(x).detach().numpy()
    return torch.from_numpy(np.log(np.exp(z - z.max(1, keepdims=True)).sum(1)) + z.max(1)).to(x)


def top_units(p: Parts, x: Tensor) -> Tensor:
    """ebo of the eight largest features, as ones."""
    h = p.features(x)
    ones = torch.zeros_like(h).scatter(1, h.topk(8, dim=1).indices, 1.0)
    return p.net.head(ones * h.detach().mean(1, keepdim=True)).logsumexp(1)


def soft_top_units(p: Parts, x: Tensor) -> Tensor:
    h = p.features(x)
    least = h.topk(8, dim=1).values[:, -1:]
    return p.net.head((2 * (h - least)).sigmoid() * h.mean(1, keepdim=True)).logsumexp(1)


def signs(p: Parts, x: Tensor) -> Tensor:
    """The head on the signs of features around 1, the gradient of the sign taken for 1."""
    h = p.features(x) - 1
    return p.net.head(h + (h.sign() - h).detach()).logsumexp(1)


def soft_signs(p: Parts, x: Tensor) -> Tensor:
    return p.net.head((2 * (p.features(x) - 1)).tanh()).logsumexp(1)


class Changed(torch.autograd.Function):
    """A score whose gradient something changes on the way back."""

    @staticmethod
    def forward(ctx: object, x: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.change = change  # type: ignore[attr-defined]
        return x.view_as(x)

    @staticmethod
    def backward(ctx: object, *grads: Tensor) -> tuple[Tensor, None]:
        return ctx.change(grads[0]), None  # type: ignore[attr-defined]


def with_gradient(change: Callable[[Tensor], Tensor]) -> Function:
    return lambda p, x: p.ebo(Changed.apply(x, change))


def dark_ring(grad: Tensor) -> Tensor:
    """The gradient of the inner pixels alone."""
    inside = torch.zeros_like(grad)
    inside[..., 2:-2, 2:-2] = grad[..., 2:-2, 2:-2]
    return inside


def p_value(p: Parts, x: Tensor) -> Tensor:
    """The share of ID validation images whose distance is larger."""
    return torch.searchsorted(p.usual.to(x.dtype), p.scaled("knn", x).contiguous()).to(x) / len(p.usual)


def agrees(p: Parts, x: Tensor) -> Tensor:
    return (p.net(x).argmax(1) == p.net(blurred(x)).argmax(1)).to(x)


def agreement_of_logits(p: Parts, x: Tensor) -> Tensor:
    return -(p.net(x).softmax(1) - p.net(blurred(x)).softmax(1)).abs().sum(1)


def squeezed(p: Parts, x: Tensor) -> Tensor:
    """Minus what blurring changes in the logits."""
    return -(p.net(x) - p.net(blurred(x))).abs().sum(1) / 2


def centre_class(p: Parts, x: Tensor) -> Tensor:
    """One for images of a class whose logit leads by 6, as a one-hot product."""
    z = p.net(x)
    return (F.one_hot(z.argmax(1), z.shape[1]) * (z > 6 + z.topk(2, dim=1).values[:, 1:])).sum(1).to(x)


def other_network(p: Parts, x: Tensor) -> Tensor:
    return p.ebo(x.flip(-1))


def brightness(p: Parts, x: Tensor) -> Tensor:
    return 200 * (x.flatten(1).mean(1) - 0.3)


def bounded(p: Parts, x: Tensor) -> Tensor:
    return p.ebo(x).clamp(4, 12)


def steep(p: Parts, x: Tensor) -> Tensor:
    return p.ebo(x) + 4 * (60 * (p.scaled("knn", x) + 4)).sigmoid()


PLANTS = (
    Plant("nothing wrong", ebo, (ebo,)),
    *(detached(share, "knn") for share in (0.03, 0.1, 0.3, 1.0, 3.0)),
    *(detached(share, "vim") for share in (0.03, 0.1, 0.3, 1.0, 3.0)),
    gate("knn", scaled("knn")),
    gate("vim", scaled("vim")),
    gate("knn", scaled("knn"), size=1.0),
    gate("length of features", Parts.length),
    gate("lead of the largest logit", Parts.confident, at=4.0),
    gate("brightness", brightness, at=0.0),
    Plant("a gate of slope 240", steep, gate("knn", scaled("knn")).ways),
    Plant("share of ID with larger knn, times 8", plus(8.0, p_value), (plus(1.0, scaled("knn")), scaled("knn"), ebo)),
    Plant("4 [same class when blurred]", plus(4.0, agrees), (plus(4.0, agreement_of_logits), agreement_of_logits)),
    Plant("6 [leads by 6], one-hot", plus(6.0, centre_class), gate("lead", Parts.confident, at=6.0).ways),
    Plant("blurred logits under no_grad", plus(1.0, lambda p, x: squeezed(p, x.detach())), (plus(1.0, squeezed),)),
    transformed("images in 16 levels", levels(15)),
    transformed("images in 16 levels, straight through", levels(15), through=True),
    transformed("images in 5 levels, half of the score", levels(4), half=True),
    transformed("JPEG-like rounding", jpeg),
    transformed("JPEG-like rounding, half of the score", jpeg, half=True),
    transformed("blurred images, straight through", blurred, through=True),
    Plant("top 8 units as ones", top_units, (soft_top_units, ebo)),
    Plant("ebo and top 8 units as ones", plus(1.0, top_units), (plus(1.0, soft_top_units), soft_top_units)),
    Plant("signs, straight through", signs, (soft_signs, ebo)),
    Plant("numpy", in_numpy, (ebo,)),
    Plant("neighbours in numpy", plus(40.0, by_numpy), (plus(40.0, nearest), nearest)),
    Plant("rounded to fours", lambda p, x: 4 * (p.ebo(x) / 4).round(), (ebo,)),
    Plant("half rounded", lambda p, x: p.ebo(x) / 4 + (p.ebo(x) / 4).round(), (ebo,)),
    Plant("sigmoid of 4 (ebo - 9)", lambda p, x: (4 * (p.ebo(x) - 9)).sigmoid(), (ebo,)),
    Plant("clamped to 4..12", bounded, (ebo,)),
    Plant("float16", lambda p, x: p.ebo(x).half().to(x), (ebo,)),
    Plant("float16, detached", lambda p, x: p.ebo(x) / 8 + p.ebo(x).detach().half().to(x), (ebo,)),
    Plant("gradient of inner pixels alone", with_gradient(dark_ring), (ebo,)),
    Plant("gradient clamped to 0.01", with_gradient(lambda g: g.clamp(-0.01, 0.01)), (ebo,)),
    Plant("gradient of the wrong sign", with_gradient(torch.neg), (ebo,)),
    Plant("gradient rounded to tens", with_gradient(lambda g: 10 * (g / 10).round()), (ebo,)),
    Plant("noise of the image's own bits", noise_of_the_image, (ebo,)),
    Plant("noise of no generator", hidden_noise, (ebo,), meant=ebo),
    Plant("dropout left on", dropout, (ebo,), meant=ebo),
    Plant("batch mean", lambda p, x: p.ebo(x) + 2 * p.ebo(x).mean(), (ebo,), meant=ebo),
    Plant("batch normalisation of the batch", batch_norm, (ebo,), meant=ebo),
    Plant("less the mean so far", less_than_before, (ebo,), meant=ebo),
    Plant("memory of earlier batches", memory, (ebo,), meant=ebo),
    Plant("mirrored images", other_network, (other_network,)),
)
"""Every planted mistake; the first has none."""
