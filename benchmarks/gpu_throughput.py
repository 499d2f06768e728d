"""On a GPU: the floor as a fraction of the measured bfloat16 peak, and ROSS under the full attack in images per second.

usage: python -m benchmarks.gpu_throughput
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import torch

import attacks
from benchmarks.loops import THREAT, TINY, N, backward, make, passes_in
from roodbench.machine.device import opened
from roodbench.machine.prepare import HalfGradients, operations, prepare
from roodbench.models import CIFAR10, Classifier
from roodbench.models.resnet import ResNet18

SIX_SETS = {"cifar100": 9000, "tin": 7793, "mnist": 70000, "svhn": 26032, "texture": 5640, "places365": 35195}
"""OpenOOD's CIFAR-10 OOD sets and their sizes; CIFAR-10's own test set has 9,000 images there."""


BATCH, SHARD, STEPS, SIDE = (4, 2, 1, 64) if TINY else (512, 64, 40, 8192)
"""Images of the floor and of the attack, the attack's steps, rows of the matrix whose square is the card's peak."""


def seconds(run: Callable[[], object], repeats: int = 1 if TINY else 5) -> float:
    """The median time of some calls after one to warm up."""
    times = []
    for _ in range(repeats + 1):
        torch.cuda.synchronize()
        start = time.perf_counter()
        run()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return sorted(times[1:])[repeats // 2]


def main(argv: Sequence[str] | None = None) -> None:
    """Print the figures as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args(argv)
    if not torch.cuda.is_available():
        parser.error("this machine has no CUDA device")
    with opened("cuda") as device:
        measure(device)


def measure(device: torch.device) -> None:
    """Print them, measured on a device that is open."""
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}\n")
    x = torch.rand(BATCH, 3, 32, 32, device=device)
    net = Classifier(ResNet18(), *CIFAR10, name="openood-resnet18").to(device)
    fast = prepare(net, x[:SHARD], compile="off" if TINY else "on")
    a = torch.randn(SIDE, SIDE, device=device, dtype=torch.bfloat16)
    peak = 2 * SIDE**3 / seconds(lambda: a @ a)
    with passes_in("bfloat16", fast):
        floor = seconds(lambda: backward(fast, x))
    rate = 2 * operations(net, x) * len(x) / floor  # no gradients of weights: a backward costs a forward
    share = f"{rate / 1e12:.0f} TFLOP/s, {rate / peak:.0%} of a matrix product's rate"
    print(f"- floor: {floor * 1e3:.1f} ms for {BATCH} images, {share}")
    target = HalfGradients(make("ross", fast), fast)
    generator = torch.Generator(device).manual_seed(0)

    def attack() -> object:
        return attacks.pgd(
            target, x[:SHARD], THREAT, sign=-1, steps=STEPS, objective="mean", draws=N, generator=generator
        )

    images = SHARD / seconds(attack, 1 if TINY else 3)
    total = sum(SIX_SETS.values()) + 9000
    print(f"- ROSS (N {N}, {STEPS} steps, one objective): {images:.0f} images/s")
    print(f"- projection: CIFAR-10 and its six OOD sets, {total} images, {total / images / 60:.0f} min an objective")


if __name__ == "__main__":
    main()
