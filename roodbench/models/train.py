"""The recipe of the embedded networks: `python -m roodbench.models.train DIR` makes the files of `trained/` again."""

from __future__ import annotations

import argparse
import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attacks import ThreatModel
from detectors.detector import autograd

from ..data.digits import digits
from ..data.images import ImageSet
from ..store.files import save_tensors
from .digits import DigitsCNN, classifier

log = logging.getLogger("roodbench")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the trained weights, up to the rounding of the machine."""

    epochs: int = 60
    batch: int = 60
    rate: float = 0.01
    weight_decay: float = 0.05
    noise: float = 0.2
    """Standard deviation of the pixel noise added in training."""
    eps: float = 0.0
    """linf radius, in pixels, of the adversarial examples trained on; 0 for none."""
    steps: int = 7
    seed: int = 0


RADIUS = 0.125
"""linf radius, in pixels, of adversarial training; accuracy is also reported within it."""
RECIPES = {"digits-cnn": Recipe(), "digits-cnn-at": Recipe(epochs=40, noise=0.0, eps=RADIUS)}


def train(recipe: Recipe) -> DigitsCNN:
    """A network trained on the digits' ID train images: AdamW with a one-cycle rate, its randomness from one seed."""
    net, generator = DigitsCNN(), torch.Generator().manual_seed(recipe.seed)
    for layer in net.children():
        weight, bias = layer.weight, layer.bias
        nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=generator)  # type: ignore[arg-type]
        nn.init.zeros_(bias)  # type: ignore[arg-type]

    def logits(z: Tensor) -> Tensor:
        return net((z - 0.5) / 0.5)

    split = digits().id_train
    x, y = split.shard(0, len(split)), split.labels
    batches = len(x) // recipe.batch
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.rate, total_steps=recipe.epochs * batches)
    with torch.enable_grad():
        for _ in range(recipe.epochs):
            for index in torch.randperm(len(x), generator=generator).view(batches, -1):
                batch = x[index] + recipe.noise * torch.randn(x[index].shape, generator=generator)
                if recipe.eps:
                    batch = adversarial(logits, batch, y[index], recipe.eps, recipe.steps, generator)
                loss = F.cross_entropy(logits(batch), y[index])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
    return net


def adversarial(
    logits: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, eps: float, steps: int, generator: torch.Generator
) -> Tensor:
    """Images within linf radius `eps` of x with a higher cross-entropy: PGD from a random start (Madry et al. 2018)."""
    threat = ThreatModel(eps)
    x_adv = threat.random(x, generator)
    for _ in range(steps):
        _, grad = autograd(lambda z: F.cross_entropy(logits(z), y, reduction="none"), x_adv)
        x_adv = threat.project(x_adv + 2.5 * eps / steps * grad.sign(), x)
    return x_adv


def accuracy(net: nn.Module, images: ImageSet, eps: float = 0.0) -> float:
    """The fraction of `images` that `net` classifies correctly, after 40 steps of PGD within linf radius `eps`."""
    x, y = images.shard(0, len(images)), images.labels
    if eps:
        x = adversarial(net, x, y, eps, 40, torch.Generator().manual_seed(0))
    return (net(x).argmax(1) == y).double().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m roodbench.models.train", description=__doc__)
    parser.add_argument("folder", metavar="DIR", type=Path, help="where the .safetensors files are written")
    folder = parser.parse_args().folder
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    torch.set_num_threads(1)  # sums in one order, whatever the number of cores
    test = digits().id_test
    for name, recipe in RECIPES.items():
        net, file = train(recipe), folder / f"{name}.safetensors"
        save_tensors(net.state_dict(), file)
        clean, attacked = (accuracy(classifier(net, name), test, eps) for eps in (0.0, RADIUS))
        log.info("%s: sha256 %s", file, hashlib.sha256(file.read_bytes()).hexdigest())
        log.info("ID test accuracy %.4f, under PGD within linf %g %.4f", clean, RADIUS, attacked)


if __name__ == "__main__":
    main()
