"""Detectors over a base: its objectives go to it, its fit and numbers are passed on."""

import pytest
import torch

import detectors
from detectors import WRAPPERS, Wrapper
from tests.detectors.table import PARAMS, smooth_fit


class Recorder(detectors.Score):
    """A base score that notes which of its objectives it is asked for."""

    name = "recorder"
    surrogates = {"twice": lambda self, z, h: 2 * z.amax(1), "base-like": lambda self, z, h: z.sum(1)}

    def __init__(self, net):
        super().__init__(net)
        self.asked = []

    def score(self, z, h):
        return z.amax(1)

    def value_and_grad(self, x, *, objective="exact", draws=None, generator=None):
        self.asked.append(objective)
        return super().value_and_grad(x, objective=objective)

    def passes(self, objective="exact", draws=None):
        return {"exact": (1, 1), "twice": (7, 5), "base-like": (3, 2)}[objective]


class Shifted(Wrapper):
    """The least that a wrapper needs, with an objective of its own whose name begins like the base's."""

    name = "shifted"
    objectives = ("exact", "baseline", "base")

    def forward(self, x, *, generator=None):
        return self.base(x) + 3


WRAPS = [Shifted, *WRAPPERS.values()]


@pytest.mark.parametrize("cls", WRAPS, ids=lambda cls: cls.name)
def test_the_bases_objectives_go_to_the_base_and_draw_no_noise(cls, smooth, smooth_images):
    detector = cls(Recorder(smooth))
    assert detector.objectives == (*cls.objectives, "base:twice", "base:base-like")
    for objective, inner in (("base", "exact"), ("base:twice", "twice"), ("base:base-like", "base-like")):
        detector.base.asked.clear()
        value, grad = detector.value_and_grad(smooth_images, objective=objective)
        assert detector.base.asked == [inner]
        expected = detector.base.value_and_grad(smooth_images, objective=inner)
        assert torch.equal(value, expected[0])
        assert torch.equal(grad, expected[1])
        assert detector.passes(objective, 50) == detector.base.passes(inner)


@pytest.mark.parametrize(("outer", "base"), [("pro", "msp"), ("ross", "ash"), ("median", "knn"), ("cov", "gen")])
def test_wrappers_attack_the_surrogates_of_their_base(outer, base, smooth, smooth_images):
    split = smooth_fit()
    detector = detectors.create(outer, smooth, base=base, **PARAMS.get(base, {})).fit(split, split)
    for name in [o for o in detector.objectives if o.startswith("base:")]:
        value, grad = detector.value_and_grad(smooth_images, objective=name)
        expected = detector.base.value_and_grad(smooth_images, objective=name.removeprefix("base:"))
        assert torch.equal(value, expected[0])
        assert torch.equal(grad, expected[1])
        assert detector.passes(name) == (1, 1)


def test_an_own_objective_whose_name_begins_with_base_stays_the_wrappers(smooth, smooth_images):
    shifted = Shifted(detectors.create("ebo", smooth))
    value, grad = shifted.value_and_grad(smooth_images, objective="baseline")
    expected = shifted.base.value_and_grad(smooth_images)
    torch.testing.assert_close(value, expected[0] + 3)
    torch.testing.assert_close(grad, expected[1])


def test_passes_of_a_wrapper_are_the_bases(smooth):
    shifted = Shifted(detectors.create("odin", smooth))
    assert (shifted.passes(), shifted.passes("base"), shifted.score_passes()) == ((2, 2), (2, 2), (2, 1))


def test_fit_and_fitted_numbers_are_passed_on(smooth):
    split = smooth_fit()
    shifted = Shifted(detectors.create("react", smooth)).fit(split, split)
    alone = detectors.create("react", smooth).fit(split, split)
    assert shifted.fitted() == alone.fitted() == {"threshold": alone.threshold}


@pytest.mark.parametrize("cls", WRAPS, ids=lambda cls: cls.name)
def test_a_randomised_base_is_refused(cls, smooth):
    with pytest.raises(ValueError, match=f"{cls.name} needs a deterministic base score, not median"):
        cls(detectors.create("median", smooth))


@pytest.mark.parametrize("cls", WRAPS, ids=lambda cls: cls.name)
def test_an_unknown_objective_of_the_base_is_an_error(cls, smooth, smooth_images):
    detector = cls(detectors.create("gen", smooth))
    for objective in ("base:log-odds", "base:exact", "base:"):
        with pytest.raises(ValueError, match=f"unknown objective '{objective}' of {cls.name}"):
            detector.value_and_grad(smooth_images, objective=objective, generator=torch.Generator())
