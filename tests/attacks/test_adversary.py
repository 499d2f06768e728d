"""Adversaries who know the noise or may try again, and 8-bit images."""

import pytest
import torch

from attacks import KnownSeed, ThreatModel, pgd, quantize, tries_of
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
    assert tries_of(text) == tries


@pytest.mark.parametrize("text", ["", "resubmit", "resubmit:0", "resubmit:-1", "resubmit:x", "known", "fresh:2"])
def test_unknown_adversaries(text):
    with pytest.raises(ValueError, match="expected fresh, known-seed or resubmit:q"):
        tries_of(text)


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
