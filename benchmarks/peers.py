"""What others run for the same job: their libraries' attacks, and ROSS and PRO written down plainly from the papers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from detectors import GEN


def torchattacks_pgd(net: nn.Module, x: Tensor, y: Tensor, *, eps: float, steps: int) -> Callable[[], Tensor]:
    torchattacks = pytest.importorskip("torchattacks")
    attack = torchattacks.PGD(net, eps=eps, alpha=2.5 * eps / steps, steps=steps)
    return lambda: attack(x, y)


def torchattacks_eotpgd(
    net: nn.Module, x: Tensor, y: Tensor, *, eps: float, steps: int, copies: int
) -> Callable[[], Tensor]:
    torchattacks = pytest.importorskip("torchattacks")
    attack = torchattacks.EOTPGD(net, eps=eps, alpha=2.5 * eps / steps, steps=steps, eot_iter=copies)
    return lambda: attack(x, y)


def foolbox_pgd(net: nn.Module, x: Tensor, y: Tensor, *, eps: float, steps: int) -> Callable[[], Tensor]:
    foolbox = pytest.importorskip("foolbox")
    model = foolbox.PyTorchModel(net, bounds=(0, 1))
    attack = foolbox.attacks.LinfPGD(rel_stepsize=2.5 / steps, steps=steps)
    return lambda: attack.run(model, x, foolbox.criteria.Misclassification(y), epsilon=eps)


def pyautoattack_apgd(net: nn.Module, x: Tensor, y: Tensor, *, eps: float, steps: int) -> Callable[[], Tensor]:
    base = pytest.importorskip("pyautoattack.autopgd_base")
    attack = base.APGDAttack(net, n_iter=steps, norm="Linf", eps=eps, loss="ce", device=x.device)
    attack.init_hyperparam(x)
    return lambda: attack.attack_single_run(x, y)


class Noisy(nn.Module):
    """The network on images with Gaussian noise: what EOT-PGD needs of a smoothed detector."""

    def __init__(self, net: nn.Module, sigma: float) -> None:
        super().__init__()
        self.net, self.sigma = net, sigma

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x + self.sigma * torch.randn_like(x))


def eager_ross(net: nn.Module, x: Tensor, *, copies: int, sigma: float, tau: float) -> Tensor:
    """ROSS-GEN as its pseudocode: one noisy copy after the other, median, deviation, combination."""
    gen = GEN(net)  # type: ignore[arg-type]
    with torch.no_grad():
        s = torch.stack([gen.score(net(x + sigma * torch.randn_like(x)), None) for _ in range(copies)])
    m = s.median(0).values
    d = (s - m).abs().mean(0)
    return torch.where(m <= tau, m, tau + (m - tau) * (1 + 0.01 / (d + 1e-12)))


def eager_pro(net: nn.Module, x: Tensor, *, steps: int, step_size: float) -> Tensor:
    """PRO-GEN as its pseudocode: score, step down the sign of its gradient, keep the minimum."""
    gen = GEN(net)  # type: ignore[arg-type]
    lowest = None
    for _ in range(steps + 1):
        x = x.detach().requires_grad_()
        s = gen.score(net(x), None)
        lowest = s.detach() if lowest is None else torch.minimum(lowest, s.detach())
        s.sum().backward()
        assert x.grad is not None
        x = x - step_size * x.grad.sign()
    assert lowest is not None
    return lowest
