"""The embedded network: a small CNN on scikit-learn's digits 0-5, trained on first use and cached."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from platformdirs import user_cache_path
from torch import Tensor, nn
from torch.nn import functional as F

from attacks import ThreatModel
from detectors.detector import autograd

from ..data.digits import ID_CLASSES, digits
from ..files import save_tensors
from .classifier import Classifier
from .weights import load_weights

log = logging.getLogger("roodbench")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the trained weights; the cache is keyed by it."""

    version: int = 1
    widths: tuple[int, int, int] = (16, 32, 64)
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


RECIPES = {"digits-cnn": Recipe(), "digits-cnn-at": Recipe(epochs=40, noise=0.0, eps=0.125)}


class DigitsCNN(nn.Module):
    """Two 3x3 convolutions, the second with stride 2, and one hidden layer; no batch norm."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        a, b, hidden = recipe.widths
        self.conv1 = nn.Conv2d(1, a, 3, 1, 1)
        self.conv2 = nn.Conv2d(a, b, 3, 2, 1)
        self.hidden = nn.Linear(16 * b, hidden)
        self.head = nn.Linear(hidden, ID_CLASSES)

    def features(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        return F.relu(self.hidden(x.flatten(1)))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def digits_cnn(name: str = "digits-cnn", recipe: Recipe | None = None, cache: Path | None = None) -> Classifier:
    """The trained network, from the user's cache where it lies there under its recipe's hash, else trained now."""
    recipe = recipe or RECIPES[name]
    key = hashlib.sha256(repr(asdict(recipe)).encode()).hexdigest()[:16]
    file = (cache or user_cache_path("roodbench") / "models") / f"{name}-{key}.safetensors"
    net = DigitsCNN(recipe)
    try:
        if not file.is_file():
            log.info("training %s once (seconds); it is kept in %s", name, file.parent)
            raise FileNotFoundError
        load_weights(net, file, name)
    except (FileNotFoundError, ValueError) as error:
        if isinstance(error, ValueError):
            log.warning("the cached %s is damaged (%s): training it again", name, error)
        with one_thread():
            train(net, recipe)
        try:
            save_tensors(net.state_dict(), file)
        except OSError as reason:
            log.warning("%s could not be cached in %s: %s", name, file.parent, reason)
    return Classifier(net, [0.5], [0.5], name=name)


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums in one order, so that machines with other core counts train the same network."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def train(net: DigitsCNN, recipe: Recipe) -> None:
    """AdamW with a one-cycle rate on noisy digits; everything random comes from one seeded generator."""
    generator = torch.Generator().manual_seed(recipe.seed)
    for layer in net.children():
        weight, bias = layer.weight, layer.bias
        nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=generator)  # type: ignore[arg-type]
        nn.init.zeros_(bias)  # type: ignore[arg-type]
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
                    batch = adversarial(net, batch, y[index], recipe, generator)
                loss = F.cross_entropy(net((batch - 0.5) / 0.5), y[index])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()


def adversarial(net: DigitsCNN, x: Tensor, y: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Images within linf radius eps of x with a higher cross-entropy (Madry et al. 2018)."""
    threat = ThreatModel(recipe.eps)
    x_adv = threat.random(x, generator)
    for _ in range(recipe.steps):
        _, grad = autograd(lambda z: F.cross_entropy(net((z - 0.5) / 0.5), y, reduction="none"), x_adv)
        x_adv = threat.project(x_adv + 2.5 * recipe.eps / recipe.steps * grad.sign(), x)
    return x_adv
