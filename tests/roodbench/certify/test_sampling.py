"""Noise whose sum with an image is exact: what the theorems are about, in float32 too."""

import copy

import numpy as np
import pytest
import torch
from scipy.stats import kstest

import roodbench
from detectors import Detector, Median
from roodbench.certify.certifier import Certifier
from roodbench.certify.config import CertifyConfig
from roodbench.certify.sampling import OnGrid, normal_numbers, rounding, sampler_of, shifted, step_of
from roodbench.engine.worker import Worker
from roodbench.machine.device import opened
from roodbench.metrics.bounds import median_bounds
from roodbench.setup.config import RunConfig
from roodbench.setup.setting import Setting

SIGMA, RADIUS, SHAPE = 0.25, 0.25, (3, 32, 32)


class LastBits(Detector):
    """1 where a pixel lies between the multiples of 2^-32, 0 where none does (Voracek and Hein 2023).

    A small float32 noise on a black image has finer bits; on a pixel of 2^-8 and more, of 24 bits, no sum has.
    """

    name = "last-bits"

    def forward(self, z, *, generator=None):
        scaled = z.flatten(1) * 2.0**32
        return (scaled != scaled.round()).any(1).to(z.dtype)


def generator():
    return torch.Generator().manual_seed(0)


def scores(detector, x, n=400):
    return detector.matrix(x[None], generator=generator(), n=n).T.numpy()


def certified(detector, x):
    y = np.sort(scores(detector, x), 1)
    return median_bounds(y, shifted(RADIUS, SIGMA, x.numel()), 1e-3, (0.0, 1.0)).lower.item()


BLACK = torch.zeros(SHAPE)
MOVED = BLACK + 0.217 / 3072**0.5


def test_rounded_sums_certify_what_a_small_shift_destroys():
    """Certified >= 1 within l2 0.25, and 0 at 0.217: why noise is drawn otherwise here."""
    usual = Median(LastBits(), copies=1, sigma=SIGMA)
    assert (MOVED - BLACK).norm().item() == pytest.approx(0.217, abs=1e-4)
    assert certified(usual, BLACK) == 1
    assert np.median(scores(usual, MOVED)) == 0


def test_exact_sums_certify_no_more_than_there_is():
    sound = sampler_of(Median(LastBits(), copies=1, sigma=SIGMA))
    assert certified(sound, BLACK) <= np.median(scores(sound, MOVED))


@pytest.mark.parametrize("sigma", [0.0125, 0.12, 0.25, 1.0, 5.0])
def test_sums_of_images_and_noise_are_exact(sigma):
    """Two images under the same noise differ by exactly what they do without."""
    detector, step = OnGrid(LastBits(), copies=1, sigma=sigma), step_of(sigma)
    a, b = (torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    (first,), (second,) = (list(detector.noisy(x, 3, generator())) for x in (a, b))
    near_a, near_b = ((x.double() / step).round() * step for x in (a, b))
    assert torch.equal(first.double() - second.double(), (near_a - near_b).expand(first.shape))
    assert torch.equal((first / step).round(), first / step)
    assert (near_a - a.double()).abs().max() <= step / 2
    noise = first.double() - near_a
    assert noise.std().item() == pytest.approx(sigma, rel=0.03)
    assert noise.abs().max() > 3 * sigma


def test_the_chunk_does_not_change_the_noise():
    x = torch.rand(2, *SHAPE, generator=generator())
    whole, parts = (
        torch.cat(list(OnGrid(LastBits(), copies=1, sigma=SIGMA, chunk=chunk).noisy(x, 5, generator())))
        for chunk in (64, 2)
    )
    assert torch.equal(whole, parts)


def test_the_noise_is_normal():
    draw = torch.empty(2, 10**5, dtype=torch.float64)
    normal = normal_numbers(generator())
    for row in draw:
        normal(row)
    assert kstest(draw.flatten().numpy(), "norm").pvalue > 0.01
    assert 4 < draw.abs().max() < 6
    assert abs(np.corrcoef(draw.numpy())[0, 1]) < 0.01
    assert draw.unique().numel() == draw.numel()


def test_rounding_both_images_widens_the_radius():
    x = torch.rand(1000, 64, generator=generator())
    d = torch.randn(1000, 64, generator=generator())
    d = RADIUS * d / d.norm(dim=1, keepdim=True)
    step = 0.01  # coarse, so that it shows
    moved = ((x + d) / step).round() * step - (x / step).round() * step
    assert moved.norm(dim=1).max() > RADIUS
    assert moved.norm(dim=1).max() <= RADIUS + step * 8
    assert shifted(RADIUS, SIGMA, 64) == (RADIUS + step_of(SIGMA) * 8) / SIGMA


def test_what_folding_changes_is_in_the_bounds(digits_net):
    """A network that runs with an error of its own: seen, doubled, and given way to."""
    bench = roodbench.load_benchmark("digits", limit=4, ood=["unseen-digits"])
    run = RunConfig(detector=("median",), norm="l2", attack="none", ood=("unseen-digits",), limit=4, device="cpu")
    config = CertifyConfig(run, sigma=0.2, radius=(0.1,), samples=200)
    with opened("cpu") as device:
        setting = Setting(config.run_config(), device)
        detector = setting.fitted("median")[0]
        sampler = Worker(sampler_of(detector))
        assert rounding(sampler, setting.plain, bench.id_test) < 1e-4
        setting.plain.backbone = copy.deepcopy(setting.plain.backbone)
        setting.plain.backbone.head.bias.data += torch.linspace(0, 0.1, 6)
        certifier = Certifier(detector, bench, config, {0.1: 0.1}, plain=setting.plain)
        found = certifier.clean()["digits"]
    assert certifier.slack >= 2 * rounding(sampler, setting.plain, bench.id_test) > 1e-3
    narrow = median_bounds(found.y, shifted(0.1, 0.2, 64), certifier.alpha, detector.base.extremes())
    assert certifier.bounds(found, 0.1).lower == pytest.approx(narrow.lower - certifier.slack, abs=1e-12)
