"""Does the GPU give the CPU's numbers? All detectors on both; stops with exit code 1 at the first wrong number.

usage: python -m benchmarks.agreement [--images 64]

That float32 is float32 there, on a ResNet-18. Of every detector on the digits, fitted on the CPU and then moved, and
again fitted on the GPU: scores, and gradients of every objective, on the same noise; of three, the AUROC under attack.
Of msp also on a prepared, compiled network.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

import detectors
import roodbench
from benchmarks.loops import TINY
from detectors import DETECTORS, WRAPPERS, Detector
from detectors.smoothing import Smoothed
from roodbench.machine.device import opened
from roodbench.machine.prepare import prepare
from roodbench.models import CIFAR10, Classifier
from roodbench.models.resnet import ResNet18

SCORE, REFITTED = 1e-3, 1e-2
"""Of the scores' interquartile range, how far a score may differ, with the same constants and with fitted ones."""
JUMPS = 0.05
"""Share of images that may: scores jump where features tie."""
COSINE, KINKS = 0.99, 0.1
"""Between gradients, and the share of images below it: they turn at kinks."""
AREA = 0.03
"""AUROC under attack: random starts differ."""
FLOAT32 = 1e-5
"""Of the largest logit, how far float32 may be from float64: about 1e-6, where TF32 gives 1e-3."""
ATTACKED = ("ebo", "pro", "ross")


class WrongNumberError(Exception):
    """What differs, by how much, and how much may."""


def made(name: str, net: detectors.Classifier, bench: roodbench.Benchmark) -> Detector:
    """A detector as a run makes it."""
    params: dict[str, Any] = {}
    if name in WRAPPERS and issubclass(WRAPPERS[name], Smoothed):
        params["sigma"] = bench.sigma
    return detectors.create(name, net, **params).fit(bench.id_train, bench.id_val)


def share_apart(a: Tensor, b: Tensor, tolerance: float) -> float:
    """The share of scores (n,) that differ by more than a tolerance in units of their interquartile range."""
    a, b = a.double().cpu(), b.double().cpu()
    low, high = torch.quantile(a, a.new_tensor([0.25, 0.75]))
    near = (a - b).abs() <= tolerance * (high - low) + 1e-5 * a.abs()  # False for NaN
    return float((~near).double().mean())


def share_turned(a: Tensor, b: Tensor) -> float:
    """The share of gradients (n, ...) whose cosine is below `COSINE`; both zero is the same direction."""
    a, b = (g.flatten(1).double().cpu() for g in (a, b))
    a, b = (torch.nn.functional.normalize(g, dim=1) for g in (a, b))
    alike = (a * b).sum(1) + ((a == 0) & (b == 0)).all(1)
    return float((~(alike >= COSINE)).double().mean())


def at_most(what: str, found: float, most: float) -> str:
    """A row of the table; WrongNumberError where there is more than there may be."""
    if not found <= most:
        raise WrongNumberError(f"{what}: {found:.3g}, at most {most:g}")
    return f"| {what} | {found:.3g} | {most:g} |"


def compared(name: str, here: Detector, there: Detector, x: Tensor, tolerance: float) -> Iterator[str]:
    """Scores and gradients of images x (n, C, H, W) on the CPU, by a detector there and one on the GPU."""

    def noise() -> torch.Generator:
        return torch.Generator().manual_seed(0)  # the CPU's on both

    y = x.to("cuda")
    with torch.no_grad():
        apart = share_apart(here(x, generator=noise()), there(y, generator=noise()), tolerance)
    yield at_most(f"{name}: scores apart", apart, JUMPS)
    if tolerance == SCORE:
        for objective in here.objectives:
            draws = None if objective in here.whole else 4
            _, one = here.value_and_grad(x, objective=objective, draws=draws, generator=noise())
            _, other = there.value_and_grad(y, objective=objective, draws=draws, generator=noise())
            yield at_most(f"{name}: gradients of {objective} turned", share_turned(one, other), KINKS)


def rounding() -> float:
    """The largest error of a ResNet-18's logits on the GPU, over the largest logit."""
    net = Classifier(ResNet18(), *CIFAR10, name="openood-resnet18")
    x = torch.rand(2 if TINY else 64, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        true = copy.deepcopy(net).double()(x.double())
        found = net.to("cuda")(x.to("cuda")).double().cpu()
    return float((found - true).abs().max() / true.abs().max())


def rows(images: int) -> Iterator[str]:
    """Of everything that is compared, a row of the table."""
    yield at_most("float32 against float64, ResNet-18", rounding(), FLOAT32)
    bench = roodbench.load_benchmark("digits", ood=["unseen-digits"], limit=images)
    x = torch.cat([s.shard(0, images // 2) for s in (bench.id_test, bench.ood["unseen-digits"])])
    net = roodbench.load_model("digits-cnn")
    moved = copy.deepcopy(net).to("cuda")
    for name in DETECTORS:
        here = made(name, net, bench)
        yield from compared(name, here, copy.deepcopy(here).to("cuda"), x, SCORE)
        yield from compared(f"{name}, fitted there", here, made(name, moved, bench), x, REFITTED)
    fast = prepare(moved, x.to("cuda"), compile="off" if TINY else "on")
    yield from compared("msp, prepared", made("msp", net, bench), made("msp", fast, bench), x, SCORE)
    for name in ATTACKED:
        areas = [
            roodbench.evaluate(made(name, one, bench), bench, check=False, steps=2 if TINY else None).rows[-1].auroc
            for one in (net, moved)
        ]
        yield at_most(f"{name}: AUROC under attack apart", abs(areas[0] - areas[1]), AREA)


def main(argv: Sequence[str] | None = None) -> int:
    """Print a Markdown table as it is found; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=4 if TINY else 64)
    options = parser.parse_args(argv)
    if not torch.cuda.is_available():
        parser.error("this machine has no CUDA device")
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}\n\n| what | found | at most |\n|---|---|---|")
    try:
        with opened("cuda"):
            for row in rows(options.images):
                print(row, flush=True)
    except WrongNumberError as wrong:
        print(f"WRONG: {wrong}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
