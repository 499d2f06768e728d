"""The recipe of denoisers: `python -m roodbench.models.train_denoiser FILE` trains one before a network, on ID train.

Without further options that is the embedded `digits-denoiser` before digits-cnn.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data.images import ImageSet
from ..data.load import load_benchmark
from ..store.files import save_tensors
from .classifier import Classifier
from .denoiser import ResidualDenoiser, denoised
from .load import load_model

log = logging.getLogger("roodbench")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the trained weights, up to the rounding of the machine."""

    width: int = 32
    blocks: int = 2
    epochs: int = 100
    batch: int = 100
    rate: float = 3e-3
    sigma: float = 0.5
    """Noise levels are uniform between 0 and this standard deviation, in pixels."""
    agreement: float = 0.1
    """Weight of the agreement with the network on the clean image, beside the squared error in units of sigma^2."""
    mirror: bool = False
    """Whether images are mirrored and moved by up to 4 pixels at random, as photographs may be."""
    seed: int = 0


def train(recipe: Recipe, net: Classifier, images: ImageSet) -> ResidualDenoiser:
    """A denoiser of ID train images before a network: AdamW with a one-cycle rate, its randomness from one seed.

    The loss of an image x under noise n of deviation s is |D(x + n) - x|^2 / d + a sigma^2 KL(p(x) || p(D(x + n))),
    with d pixels and p the softmax of the network: Salman et al.'s two objectives (arXiv:2003.01908), in one.
    """
    device = net.mean.device
    x = images.shard(0, len(images)).to(device)
    generator = torch.Generator(device).manual_seed(recipe.seed)
    denoiser, start = ResidualDenoiser(x.shape[1], width=recipe.width, blocks=recipe.blocks), torch.Generator()
    start.manual_seed(recipe.seed)
    for layer in (part for part in denoiser.modules() if isinstance(part, nn.Conv2d)):
        drawn = torch.randn(layer.weight.shape, generator=start)
        layer.weight.data = drawn * math.sqrt(2 / drawn[0].numel())
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    for layer in (denoiser.last, *(block[2] for block in denoiser.blocks)):  # type: ignore[index]
        nn.init.zeros_(layer.weight)  # at the start images pass as they are
    denoiser = denoiser.to(device)
    batches = max(1, len(x) // recipe.batch)
    optimizer = torch.optim.AdamW(denoiser.parameters(), weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.rate, total_steps=recipe.epochs * batches)
    with torch.enable_grad():
        for epoch in range(recipe.epochs):
            total = torch.zeros((), device=device)
            for index in torch.randperm(len(x), generator=generator, device=device).chunk(batches):
                some = moved(x[index], generator) if recipe.mirror else x[index]
                loss = loss_of(denoiser, net, some, recipe, generator)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                total += loss.detach()
            if (epoch + 1) % max(1, recipe.epochs // 5) == 0:
                log.info("epoch %d of %d: loss %.3g", epoch + 1, recipe.epochs, float(total) / batches)
    return denoiser.eval().requires_grad_(False)


def loss_of(denoiser: nn.Module, net: Classifier, x: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """The mean loss of images x (B, C, H, W) under noise of a level each."""
    levels = recipe.sigma * torch.rand(len(x), 1, 1, 1, generator=generator, device=x.device)
    y = denoiser(x + levels * torch.randn(x.shape, generator=generator, device=x.device))
    error = F.mse_loss(y, x)
    if not recipe.agreement:
        return error
    with torch.no_grad():
        wanted = net(x).log_softmax(1)
    apart = F.kl_div(net(y).log_softmax(1), wanted, reduction="batchmean", log_target=True)
    return error + recipe.agreement * recipe.sigma**2 * apart


def moved(x: Tensor, generator: torch.Generator) -> Tensor:
    """Images (B, C, H, W), each mirrored or not and shifted by up to 4 pixels, the border reflected."""
    size, device = x.shape[-1], x.device
    most = min(4, size // 2)
    turned = torch.rand(len(x), 1, 1, 1, generator=generator, device=device) < 0.5
    wide = F.pad(torch.where(turned, x.flip(-1), x), (most,) * 4, mode="reflect")
    down, right = torch.randint(2 * most + 1, (2, len(x), 1), generator=generator, device=device)
    rows, columns = (start + torch.arange(n, device=device) for start, n in ((down, x.shape[-2]), (right, size)))
    every = torch.arange(len(x), device=device)[:, None, None]
    return wide[every, :, rows[:, :, None], columns[:, None, :]].movedim(-1, 1)


@torch.no_grad()
def report(net: Classifier, file: Path, images: ImageSet, recipe: Recipe) -> list[str]:
    """Accuracy of a network on ID validation images under noise, with and without the denoiser in a file."""
    x, y = images.shard(0, len(images)).to(net.mean.device), images.labels.to(net.mean.device)
    both = denoised(net, "residual", file)
    lines = []
    for level in (0.0, recipe.sigma / 4, recipe.sigma / 2, recipe.sigma):
        generator = torch.Generator(x.device).manual_seed(0)
        noisy = x + level * torch.randn(x.shape, generator=generator, device=x.device)
        bare, through = ((some(noisy).argmax(1) == y).double().mean().item() for some in (net, both))
        lines.append(f"noise {level:.3g}: ID validation accuracy {bare:.4f} without it, {through:.4f} with it")
    return lines


def main(argv: Sequence[str] | None = None) -> None:
    """Train one and say its hash and what it does to accuracy under noise."""
    parser = argparse.ArgumentParser(prog="python -m roodbench.models.train_denoiser", description=__doc__)
    parser.add_argument("file", metavar="FILE", type=Path, help="where the .safetensors are written")
    parser.add_argument("--benchmark", default="digits", help="whose ID train images it learns; default digits")
    parser.add_argument("--data-root", type=Path, help="where its images lie")
    parser.add_argument("--train-limit", type=int, help="learn of so many images; default the benchmark's own number")
    parser.add_argument("--model", default="digits-cnn", help="the network behind it; default digits-cnn")
    parser.add_argument("--checkpoint", type=Path, help="that network's weights")
    parser.add_argument("--device", default="cpu", help="cpu or cuda; default cpu")
    for name, about in {
        "width": "channels of a layer",
        "blocks": "residual blocks of two",
        "epochs": "passes over ID train",
        "batch": "images a step",
        "rate": "largest learning rate",
        "sigma": "largest standard deviation of the noise, in pixels",
        "agreement": "weight of the agreement with the network on the clean image; 0: the squared error alone",
        "seed": "of all randomness",
    }.items():
        default = getattr(Recipe, name)
        parser.add_argument(f"--{name}", type=type(default), default=default, help=f"{about}; default {default:g}")
    parser.add_argument("--mirror", action="store_true", help="mirror and shift images at random")
    options = vars(parser.parse_args(argv))
    recipe = Recipe(**{name: options[name] for name in Recipe.__dataclass_fields__})
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    torch.set_num_threads(1)  # sums in one order, whatever the number of cores
    bench = load_benchmark(options["benchmark"], root=options["data_root"], limit=2, train_limit=options["train_limit"])
    net = load_model(options["model"], checkpoint=options["checkpoint"], device=options["device"])
    file = options["file"]
    save_tensors(train(recipe, net, bench.id_train).state_dict(), file)
    log.info("%s: sha256 %s", file, hashlib.sha256(file.read_bytes()).hexdigest())
    for line in report(net, file, bench.id_val, recipe):
        log.info("%s", line)


if __name__ == "__main__":
    main()
