"""Adversaries who know the noise or may try again, and 8-bit images."""

from itertools import combinations

import pytest
import torch

from attacks import KnownSeed, ThreatModel, pgd, quantize, select
from attacks.selection import best_of
from detectors import Detector
from tests.attacks.analytic import Noisy, generator


def test_known_noise_makes_a_detector_deterministic():
    w, x = torch.ones(1, 4, 4), torch.rand(3, 1, 4, 4, generator=generator(1))
    noisy = Noisy(w, 5.0)
    known = KnownSeed(noisy, lambda: generator(9))
    assert not known.randomized
    assert torch.equal(known(x), known(x))
    assert torch.equal(known(x), noisy(x, generator=generator(9)))
    found = pgd(known, x, ThreatModel(0.1), sign=1, steps=5, generator=generator())
    torch.testing.assert_close(found.values, noisy(found.images, generator=generator(9)))


@pytest.mark.parametrize(("text", "tries"), [("fresh", 1), ("known-seed", 1), ("resubmit:1", 1), ("resubmit:25", 25)])
def test_tries(text, tries):
    assert ThreatModel(0.1, noise=text).tries == tries


@pytest.mark.parametrize("text", ["", "resubmit", "resubmit:0", "resubmit:-1", "resubmit:x", "known", "fresh:2"])
def test_unknown_adversaries(text):
    with pytest.raises(ValueError, match="expected fresh, known-seed or resubmit:q"):
        ThreatModel(0.1, noise=text)


@pytest.mark.parametrize(("tries", "draws"), [(1, 8), (3, 8), (8, 8), (12, 12)])
def test_best_of_is_the_mean_over_all_subsets(tries, draws):
    values = torch.rand(draws, dtype=torch.double, generator=generator())
    exact = sum(max(subset) for subset in combinations(values.tolist(), tries)) / len(
        list(combinations(range(draws), tries))
    )
    ordered = values.sort(descending=True).values
    assert float(best_of(tries, draws, values.device) @ ordered) == pytest.approx(exact, abs=1e-12)


class MeanAndSpread(Detector):
    """The first pixel plus the second times normal noise."""

    randomized = True

    def forward(self, x, *, generator=None):
        return x[:, 0, 0, 0] + x[:, 0, 0, 1] * torch.randn(len(x), generator=generator)


@pytest.mark.parametrize("sign", [-1, 1])
def test_many_tries_choose_the_wide_candidate_and_one_the_near(sign):
    near, wide = torch.zeros(64, 1, 1, 2), torch.zeros(64, 1, 1, 2)
    near[:, 0, 0, 0] = 1.5 * sign
    wide[:, 0, 0, 1] = 3.0
    reference = torch.linspace(-6, 6, 1001)
    shares = {}
    for tries in (1, 8):
        settings = {"sign": sign, "stream": lambda: generator(4), "reference": reference, "tries": tries}
        shares[tries] = float(select(MeanAndSpread(), [near, wide], **settings)[1].double().mean())
    assert shares[1] < 0.25
    assert shares[8] > 0.75


def test_rounding_to_8_bits_goes_towards_the_image_and_stays_in_the_ball():
    x = torch.randint(0, 256, (4, 3, 8, 8), generator=generator()) / 255
    for eps in (1 / 255, 2.5 / 255, 8 / 255):
        threat = ThreatModel(eps)
        x_adv = threat.random(x, generator(3))
        rounded = quantize(x_adv, x)
        levels = rounded * 255
        assert (levels - levels.round()).abs().max() < 1e-4
        assert ((rounded - x).abs() <= (x_adv - x).abs() + 1e-6).all()
        assert threat.violation(rounded, x) <= 1e-6
        moved = (x_adv - x).abs() >= 1 / 255 + 1e-5
        assert ((rounded - x) * (x_adv - x) > 0)[moved].all()


def test_8_bit_images_are_left_alone():
    x = torch.arange(256).view(1, 1, 16, 16) / 255
    y = x.flip(3)
    assert torch.allclose(quantize(y, x), y, atol=1e-7)
    assert torch.allclose(quantize(x, x), x, atol=1e-7)
