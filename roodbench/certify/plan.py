"""What a certification will take, before anything runs: the smallest sigma and number of samples, and the time."""

from __future__ import annotations

import io
import time
from dataclasses import asdict, dataclass
from typing import cast

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from detectors import Smoothed

from ..config import device_of
from ..data import SHARD
from ..memory import use_threads
from ..run import create, load, prepared
from .bounds import largest_radius
from .config import SHARES, CertifyConfig, feasible
from .population import check_certifiable

REHEARSAL = 2.0
"""Seconds for which noisy forward passes are timed."""


@dataclass(frozen=True)
class Plan:
    """One detector at one radius. Of the least sigma and N a certificate says barely something: take more of both."""

    detector: str
    radius: float
    radius_l2: float
    images: int
    samples: int
    least_sigma: float
    """At which these samples can certify anything; infinite where they are too few at any sigma."""
    sigma: float
    r: float
    """radius_l2 / sigma."""
    least_samples: float
    """That can certify anything at this sigma; infinite above MOST."""
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
    for name in run.detector:
        check_certifiable(cast(Smoothed, create(name, net, bench, run)))
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
                    images=images,
                    samples=config.samples,
                    least_sigma=radius / reach if reach > 0 else float("inf"),
                    sigma=config.sigma,
                    r=r,
                    least_samples=feasible(r, alpha),
                    seconds=each * images * config.samples,
                )
            )
    return plans


def as_record(plans: list[Plan]) -> list[dict[str, float | str | None]]:
    """JSON-like: an infinite number of samples is null."""
    return [{k: None if v == float("inf") else v for k, v in asdict(p).items()} for p in plans]


def plan_table(plans: list[Plan], config: CertifyConfig) -> str:
    """The plan as text."""
    console = Console(file=io.StringIO(), width=200)
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    first = plans[0]
    for column in (
        "detector",
        f"radius ({config.run.norm})",
        *(["radius (l2)"] if config.run.norm == "linf" else []),
        f"least sigma for {first.samples} samples",
        f"least samples at sigma {first.sigma:g}",
        "time for all radii",
    ):
        grid.add_column(column, justify="left" if column == "detector" else "right")
    for p in plans:
        count = "no feasible number" if p.least_samples == float("inf") else f"{p.least_samples:.0f}"
        radii = [f"{p.radius:.4g}", *([f"{p.radius_l2:.4g}"] if config.run.norm == "linf" else [])]
        sigma = "none" if p.least_sigma == float("inf") else f"{p.least_sigma:.4g}"
        grid.add_row(p.detector, *radii, sigma, count, f"{p.seconds:.0f} s")
    console.print(f"alpha {config.alpha:g} over {first.images} images", highlight=False)
    console.print(grid)
    console.print(
        "Where a bound is possible at all: take more of both to have it say something. Attacks take more time."
    )
    text = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text if line.strip())
