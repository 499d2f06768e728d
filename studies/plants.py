"""A score with a mistake in it, as a user's module and as one sees it who knows what it computes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import detectors
from detectors import Batches, Classifier, Detector
from detectors.detector import autograd


class Parts(nn.Module):
    """What plants are made of: ebo, and knn and vim on ebo's scale, 0 and its spread at and around clean ID images."""

    def __init__(self, net: Classifier, train: Batches, val: Batches) -> None:
        super().__init__()
        self.ebo, self.knn, self.vim = (detectors.create(n, net).fit(train, val) for n in ("ebo", "knn", "vim"))
        self.net = net
        self.kept: list[Tensor] = []
        self.table: dict[bytes, float] = {}
        """What a plant remembers."""
        x = torch.cat([images for images, _ in val])
        with torch.no_grad():
            scores = {name: getattr(self, name)(x) for name in ("ebo", "knn", "vim")}
            self.mean = {name: float(s.mean()) for name, s in scores.items()}
            self.std = {name: float(s.std()) for name, s in scores.items()}
            self.size = float(self.features(x).norm(dim=1).mean())
            order = self.scaled("knn", x).sort().values
        self.usual: Tensor
        self.register_buffer("usual", order)

    def forget(self) -> None:
        self.kept.clear()
        self.table.clear()

    def features(self, x: Tensor) -> Tensor:
        h = self.net.outputs(x).features
        assert h is not None
        return h

    def scaled(self, name: str, x: Tensor) -> Tensor:
        """A part (B,), less its mean on ID validation images, in units of ebo's spread there."""
        return (getattr(self, name)(x) - self.mean[name]) / self.std[name] * self.std["ebo"]

    def length(self, x: Tensor) -> Tensor:
        """(B,) norm2 of the features, likewise; 0 at its mean."""
        return (self.features(x).norm(dim=1) / self.size - 1) * 4 * self.std["ebo"]

    def confident(self, x: Tensor) -> Tensor:
        """(B,) difference of the two largest logits."""
        top = self.net(x).topk(2, dim=1).values
        return top[:, 0] - top[:, 1]


Function = Callable[[Parts, Tensor], Tensor]


@dataclass(frozen=True)
class Plant:
    """A score with a mistake, and differentiable scores that lead to where it is high and low."""

    kind: str
    score: Function
    ways: tuple[Function, ...]
    meant: Function | None = None
    """The score without the mistake, where nobody can attack the planted one (noise, memory)."""


class Planted(nn.Module):
    """A user's module."""

    def __init__(self, parts: Parts, plant: Plant) -> None:
        super().__init__()
        self.parts, self.score = parts, plant.score

    def forward(self, x: Tensor) -> Tensor:
        return self.score(self.parts, x)


class Known(Detector):
    """The planted score to one who knows what it computes: an objective for the score and every way to move it."""

    name = "known"

    def __init__(self, parts: Parts, plant: Plant) -> None:
        super().__init__()
        self.parts, self.plant = parts, plant
        self.objectives = ("exact", *(f"way-{i}" for i in range(len(plant.ways))))

    def forward(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        return (self.plant.meant or self.plant.score)(self.parts, x)

    def value_and_grad(
        self,
        x: Tensor,
        *,
        objective: str = "exact",
        draws: int | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        if objective == "exact":
            return autograd(self, x)
        return autograd(lambda x: self.plant.ways[int(objective.removeprefix("way-"))](self.parts, x), x)


def ebo(p: Parts, x: Tensor) -> Tensor:
    return p.ebo(x)


def plus(share: float, part: Function) -> Function:
    return lambda p, x: p.ebo(x) + share * part(p, x)


def scaled(name: str) -> Function:
    return lambda p, x: p.scaled(name, x)


def detached(share: float, name: str) -> Plant:
    """A part under no_grad."""
    part = scaled(name)
    return Plant(f"{share:g} {name} under no_grad", plus(share, lambda p, x: part(p, x).detach()), (plus(share, part),))


def gate(what: str, part: Function, *, size: float = 4.0, at: float = -4.0) -> Plant:
    """`size` more where a part is above `at`, which has no gradient."""

    def soft(slope: float) -> Function:
        return plus(size, lambda p, x: (slope * (part(p, x) - at)).sigmoid())

    return Plant(
        f"{size:g} [{what} > {at:g}]",
        plus(size, lambda p, x: (part(p, x) > at).to(x)),
        (soft(0.3), soft(1.0), soft(4.0), part),
    )


def transformed(kind: str, of: Callable[[Tensor], Tensor], *, through: bool = False, half: bool = False) -> Plant:
    """ebo of images that something without a gradient has changed; `through`: its gradient is taken for 1, `half`: the
    mean with ebo of the images themselves.
    """

    def straight(p: Parts, x: Tensor) -> Tensor:
        return p.ebo(x + (of(x) - x).detach())

    def score(p: Parts, x: Tensor) -> Tensor:
        changed = straight(p, x) if through else p.ebo(of(x).detach())
        return (p.ebo(x) + changed) / 2 if half else changed

    both: Function = lambda p, x: (p.ebo(x) + straight(p, x)) / 2  # noqa: E731
    return Plant(kind, score, (straight, ebo, both))
