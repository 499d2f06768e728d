"""What a certification will take, before anything runs: the smallest sigma and number of samples, and the time."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import cast

import torch

from detectors import Smoothed

from ..machine.device import opened
from ..metrics.ranks import largest_radius
from ..record.text import framed
from ..setup.setting import Setting
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
    """Loads the data and the network, and times a few forward passes (docs/theorems.md, T4)."""
    run = config.run_config()
    with opened(run.device) as device:
        setting = Setting(run, device)
        images = sum(len(s) for s in (setting.bench.id_test, *setting.bench.ood.values()))
        for name in run.detector:
            check_certifiable(cast(Smoothed, setting.detector(name)))
        setting.compile(0.0)
        each = seconds_of_a_pass(setting, config.sigma)
    plans = []
    for name in run.detector:
        alpha = config.alpha / images / SHARES[name]
        reach = largest_radius(config.samples, alpha)
        for given, radius in config.radii(setting.sample[0].numel()).items():
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


@torch.no_grad()
def seconds_of_a_pass(setting: Setting, sigma: float) -> float:
    """Wall-clock seconds of one noisy forward pass of one image."""
    x, net = setting.sample, setting.net
    net(x)
    passes, generator, start = 0, torch.Generator(x.device).manual_seed(0), time.perf_counter()
    while passes == 0 or time.perf_counter() - start < REHEARSAL:
        net(x + sigma * torch.randn(x.shape, generator=generator, device=x.device)).sum().item()
        passes += len(x)
    return (time.perf_counter() - start) / passes


def as_record(plans: list[Plan]) -> list[dict[str, float | str | None]]:
    """JSON-like: an infinite number of samples is null."""
    return [{k: None if v == float("inf") else v for k, v in asdict(p).items()} for p in plans]


def plan_table(plans: list[Plan], config: CertifyConfig) -> str:
    """The plan as text."""
    first, linf = plans[0], config.run.norm == "linf"
    columns = [
        "detector",
        f"radius ({config.run.norm})",
        *(["radius (l2)"] if linf else []),
        f"least sigma for {first.samples} samples",
        f"least samples at sigma {first.sigma:g}",
        "time for all radii",
    ]
    lines = []
    for p in plans:
        count = "no feasible number" if p.least_samples == float("inf") else f"{p.least_samples:.0f}"
        radii = [f"{p.radius:.4g}", *([f"{p.radius_l2:.4g}"] if linf else [])]
        sigma = "none" if p.least_sigma == float("inf") else f"{p.least_sigma:.4g}"
        lines.append([p.detector, *radii, sigma, count, f"{p.seconds:.0f} s"])
    before = [f"alpha {config.alpha:g} over {first.images} images"]
    after = ["Where a bound is possible at all: take more of both to have it say something. Attacks take more time."]
    return framed(columns, lines, before=before, after=after, left=(0,))
