"""The study reports/interval: linf certificates of scores without noise, beside smoothing's through the l2 ball.

usage: python -m studies.interval [--out reports/interval] [--runs DIR] [--images 100] [--samples 10000] [--device cuda]

MSP, MLS and EBO on digits against unseen digits, by interval bounds (`roodbench certify --norm linf`) with the attack
beside them; and the median of each over noise of standard deviation 0.25, certified at the same radii through the l2
ball of eps sqrt(64). Networks are digits-cnn, digits-cnn-at, and digits-cnn-ibp, trained here by interval bounds.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from roodbench.certify import CertifyConfig
from roodbench.certify.interval.config import BOUNDED, IntervalConfig
from roodbench.certify.interval.run import certify_intervals
from roodbench.data.digits import digits
from roodbench.models.digits import DIGITS_CNNS, DigitsCNN
from roodbench.record.text import at_least, at_most
from roodbench.setup.config import RunConfig
from roodbench.store.files import save_tensors, save_text
from studies import certified
from studies.certified import percent
from studies.setting import plain_parser, resume, save_table

RADII = tuple(k / 255 for k in (1, 2, 4, 8, 16))
SIGMA = 0.25
EPS, EPOCHS, BATCH, RATE = 0.1, 120, 60, 3e-3
"""Of the training by interval bounds."""


def trained() -> DigitsCNN:
    """A network trained on its worst logits within linf EPS by interval bounds (Gowal et al. 2018, arXiv:1810.12715).

    The radius grows from 0 over the first half of the epochs, the weight of the worst logits to 1/2.
    """
    torch.manual_seed(0)
    net, generator, images = DigitsCNN(), torch.Generator().manual_seed(0), digits().id_train
    x, y = images.shard(0, len(images)), images.labels
    steps = EPOCHS * (len(x) // BATCH)
    optimizer = torch.optim.Adam(net.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    with torch.enable_grad():
        for epoch in range(EPOCHS):
            share = min(1.0, 2 * epoch / EPOCHS)
            for index in torch.randperm(len(x), generator=generator).view(-1, BATCH):
                lower, upper = box(net, x[index], share * EPS)
                own = F.one_hot(y[index], lower.shape[1]).bool()
                worst, clean = torch.where(own, lower, upper), net((x[index] - 0.5) / 0.5)
                losses = [F.cross_entropy(z, y[index]) for z in (clean, worst)]
                loss = (1 - share / 2) * losses[0] + share / 2 * losses[1]
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
    return net


def box(net: DigitsCNN, x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Least and largest logits (B, K) by boxes, without rounding, with gradients."""
    middle, radius = (x - 0.5) / 0.5, torch.full_like(x, eps / 0.5)
    for layer in (net.conv1, net.conv2, net.hidden, net.head):
        if isinstance(layer, torch.nn.Conv2d):
            middle, radius = layer(middle), F.conv2d(radius, layer.weight.abs(), None, layer.stride, layer.padding)
        else:
            middle, radius = layer(middle.flatten(1)), F.linear(radius.flatten(1), layer.weight.abs())
        if layer is not net.head:
            lower, upper = F.relu(middle - radius), F.relu(middle + radius)
            middle, radius = (lower + upper) / 2, (upper - lower) / 2
    return middle - radius, middle + radius


def configs(options: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    """Name and settings of every run."""
    shared: dict[str, Any] = {"ood": ("unseen-digits",), "limit": options.images, "norm": "linf"}
    shared["device"] = options.device
    ours = {"mean": (0.5,), "std": (0.5,), "checkpoint": str(options.out / "digits-cnn-ibp.safetensors")}
    for model in ("digits-cnn", "digits-cnn-at", "digits-cnn-ibp"):
        own = {"model": model} if model in DIGITS_CNNS else {"model": "roodbench.models.digits:DigitsCNN", **ours}
        yield model, IntervalConfig(RunConfig(detector=BOUNDED, **shared, **own), RADII)
        for base in BOUNDED:
            run = RunConfig(detector=("median",), base=base, attack="none", **shared, **own)
            yield f"{model}-median-{base}", CertifyConfig(run, SIGMA, RADII, samples=options.samples)


COLUMNS = (
    "network",
    "score",
    "radius (linf)",
    "clean",
    "interval bounds: certified <= attacked, both",
    "certified FPR95, both",
    f"median at sigma {SIGMA:g}: clean",
    "certified through l2, both",
)


def rows_of(folder: Path, model: str) -> Iterator[list[str]]:
    """The cells of a network's records, one row per score and radius; none where they are not there yet."""
    files = {base: folder / f"{model}-median-{base}" / "result.json" for base in BOUNDED}
    if not all(file.is_file() for file in (folder / model / "result.json", *files.values())):
        return
    smoothed = {
        (base, row["radius"]): row
        for base, file in files.items()
        for row in json.loads(file.read_text())["rows"]
        if row["condition"] == "both"
    }
    for row in json.loads((folder / model / "result.json").read_text())["rows"]:
        if row["condition"] == "both":
            beside = smoothed[row["detector"], row["radius"]]
            both = f"{at_least(row['gauroc'])} <= {percent(row['auroc_attacked'])}"
            what = [model, row["detector"], f"{255 * row['radius']:g}/255", percent(row["auroc_clean"]), both]
            yield [*what, at_most(row["gfpr95"]), percent(beside["auroc_clean"]), at_least(beside["gauroc"])]


def compute(config: Any, folder: Path, runs: Path | None) -> float:
    """Certify and keep the record and the table; returns the seconds."""
    if isinstance(config, CertifyConfig):
        return certified.compute(config, folder, runs)
    result, kept = certify_intervals(config, out=runs)
    for file in ("table.txt", "result.json"):
        save_text((kept / file).read_text(), folder / file)
    return result.timing["seconds"]


def write_table(folder: Path, names: Sequence[str]) -> None:
    """results.md: one line per network, score and radius."""
    save_table(folder / "results.md", COLUMNS, (row for name in names for row in rows_of(folder, name)))


def main(argv: Sequence[str] | None = None) -> None:
    """Train the network, run what is not finished and write the table."""
    parser = plain_parser(__doc__)
    out = Path("reports/interval")
    parser.add_argument("--out", type=Path, default=out, help=f"folder of the records and the table; default {out}")
    parser.add_argument("--runs", type=Path, help="where finished parts are kept; default the user's cache")
    parser.add_argument("--images", type=int, default=100, help="a population; default 100")
    parser.add_argument("--samples", type=int, default=10_000, help="of every image under noise; default 10000")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda, of attacks and noise; default auto")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    weights = options.out / "digits-cnn-ibp.safetensors"
    if not weights.is_file():
        save_tensors(trained().state_dict(), weights)
    one = partial(compute, runs=options.runs)
    resume(configs(options), options.out, "result.json", one, partial(write_table, options.out))


if __name__ == "__main__":
    main()
