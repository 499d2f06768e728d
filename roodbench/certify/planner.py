"""What a certification will take, before anything runs: the smallest sigma and number of samples, and the time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import cast

import torch

from detectors import Smoothed

from ..machine.device import opened
from ..metrics.operating import images_for_auroc, images_for_rate
from ..metrics.ranks import largest_radius
from ..record.text import framed
from ..setup.setting import Setting
from .config import SHARES, CertifyConfig, feasible
from .operating import validation_of
from .population import check_certifiable

AUROCS = (0.7, 0.9, 0.97)
"""For which images are counted: what they show is not known beforehand."""
PASSES = (0.0, 0.25, 0.5)
"""Shares of the certified FPR that the images may show."""
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
        validation = validation_of(setting.bench, config)
        drawn = images + (0 if validation is None else len(validation))
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
                    seconds=each * drawn * config.samples,
                )
            )
    return plans


@dataclass(frozen=True)
class Images:
    """How many images of a population allow a statement about new ones; more images, a stronger one."""

    statement: str
    """`auroc interval` of a `width`, or certified `fpr`."""
    wanted: float
    seen: float
    """The AUROC, or the share that reaches the threshold, of the images themselves."""
    images: int


def images_of(config: CertifyConfig, width: float = 0.05, fpr: float = 0.05) -> list[Images]:
    """Images for an AUROC interval, and for a certified FPR, each with probability 1 - alpha (docs/theorems.md, T31).

    ValueError for a width or an FPR that is not between 1e-6 and 1.
    """
    for name, value in (("width", width), ("fpr", fpr)):
        if not 1e-6 <= value < 1:
            raise ValueError(f"{name} {value:g}: expected a number between 1e-06 and 1, such as 0.05")
    wide = [Images("auroc interval", width, a, images_for_auroc(width, config.alpha, a)) for a in AUROCS]
    shares = [part * fpr for part in PASSES]
    return [*wide, *(Images("fpr", fpr, share, images_for_rate(fpr, config.alpha, share)) for share in shares)]


def images_table(found: Sequence[Images], config: CertifyConfig) -> str:
    """The same as text."""
    columns = ["for new images", "these images show", "images"]
    said = {
        "auroc interval": ("an AUROC interval of width {:g}", "AUROC {:g}", "{} ID and {} OOD"),
        "fpr": ("a certified FPR of at most {:g}", "FPR {:g}", "{} OOD"),
    }
    lines = []
    for each in found:
        wanted, seen, count = said[each.statement]
        lines.append([wanted.format(each.wanted), seen.format(each.seen), count.format(each.images, each.images)])
    after = [
        f"Each with probability {1 - config.alpha:g}; what a bound leaves open comes on top, and all at once more."
    ]
    return framed(columns, lines, after=after, left=(0,))


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


def as_record(plans: Sequence[Plan | Images]) -> list[dict[str, float | str | None]]:
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
