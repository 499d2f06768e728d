"""What a certification will take, before anything runs: the smallest sigma and number of samples, and the time."""

from __future__ import annotations

import io
import time
from dataclasses import asdict, dataclass

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from ..config import device_of
from ..data import SHARD
from ..memory import use_threads
from ..run import load, prepared
from .bounds import largest_radius, samples_needed
from .config import SHARES, CertifyConfig

REHEARSAL = 2.0
"""Seconds for which noisy forward passes are timed."""


@dataclass(frozen=True)
class Plan:
    """One detector at one radius. Of the least sigma and N a certificate says barely something: take more of both."""

    detector: str
    radius: float
    radius_l2: float
    samples: int
    least_sigma: float
    """At which these samples can certify anything; infinite where they are too few at any sigma."""
    sigma: float
    r: float
    """radius_l2 / sigma."""
    least_samples: float
    """That can certify anything at this sigma; infinite beyond 8 sigma."""
    seconds: float
    """Predicted for the bounds from `samples` noisy copies of every image; the attack beside them comes on top."""


def plan(config: CertifyConfig) -> list[Plan]:
    """Loads the data and the network, and times a few forward passes."""
    use_threads()
    run = config.run_config()
    device = device_of(run.device)
    bench, net = load(run, device)
    images = sum(len(s) for s in (bench.id_test, *bench.ood.values()))
    x = bench.id_val.shard(0, min(SHARD, len(bench.id_val))).to(device)
    net = prepared(net, x, run, 0.0)
    passes, generator, start = 0, torch.Generator(device).manual_seed(0), time.perf_counter()
    with torch.no_grad():
        net(x)
        while passes == 0 or time.perf_counter() - start < REHEARSAL:
            net(x + config.sigma * torch.randn(x.shape, generator=generator, device=device)).sum().item()
            passes += len(x)
    each = (time.perf_counter() - start) / passes
    plans = []
    for name in run.detector:
        alpha = config.alpha / images / SHARES[name]
        reach = largest_radius(config.samples, alpha)
        for given, radius in config.radii(x[0].numel()).items():
            r = radius / config.sigma
            plans.append(
                Plan(
                    detector=name,
                    radius=given,
                    radius_l2=radius,
                    samples=config.samples,
                    least_sigma=radius / reach if reach > 0 else float("inf"),
                    sigma=config.sigma,
                    r=r,
                    least_samples=samples_needed(r, alpha) if r <= 8 else float("inf"),
                    seconds=each * images * config.samples,
                )
            )
    return plans


def as_record(plans: list[Plan]) -> list[dict[str, float | str | None]]:
    """JSON-like: an infinite number of samples is null."""
    return [{k: None if v == float("inf") else v for k, v in asdict(p).items()} for p in plans]


def plan_table(plans: list[Plan], norm: str) -> str:
    """The plan as text."""
    console = Console(file=io.StringIO(), width=200)
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    first = plans[0]
    for column in (
        "detector",
        f"radius ({norm})",
        "radius (l2)",
        f"least sigma for {first.samples} samples",
        f"least samples at sigma {first.sigma:g}",
        "bounds, predicted",
    ):
        grid.add_column(column, justify="left" if column == "detector" else "right")
    for p in plans:
        count = "no feasible number" if p.least_samples == float("inf") else f"{p.least_samples:.0f}"
        sigma = "none" if p.least_sigma == float("inf") else f"{p.least_sigma:.4g}"
        grid.add_row(p.detector, f"{p.radius:.4g}", f"{p.radius_l2:.4g}", sigma, count, f"{p.seconds:.0f} s")
    console.print(grid)
    text = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text if line.strip())
