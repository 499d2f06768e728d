"""Noise whose sum with an image is exact: what the theorems are about, in float32 too."""

import numpy as np
import pytest
import torch

from detectors import Detector, Median
from roodbench.certify.sampling import OnGrid, sampler_of, shifted, step_of
from roodbench.metrics.bounds import median_bounds

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


def test_rounding_both_images_widens_the_radius():
    x = torch.rand(1000, 64, generator=generator())
    d = torch.randn(1000, 64, generator=generator())
    d = RADIUS * d / d.norm(dim=1, keepdim=True)
    step = 0.01  # coarse, so that it shows
    moved = ((x + d) / step).round() * step - (x / step).round() * step
    assert moved.norm(dim=1).max() > RADIUS
    assert moved.norm(dim=1).max() <= RADIUS + step * 8
    assert shifted(RADIUS, SIGMA, 64) == (RADIUS + step_of(SIGMA) * 8) / SIGMA
