"""Users' detectors whose attributes or methods the seam gives another meaning: one sentence each."""

import pytest
import torch

import attacks
import detectors
import roodbench
from detectors import Detector
from roodbench.setup.seam import check_seam
from tests.roodbench.helpers import fitted, small


class Mine(Detector):
    """A detector that fits."""

    def __init__(self, net=None):
        super().__init__()
        self.net = net

    def forward(self, x):
        return x.flatten(1).sum(1)


class Noisy(Mine):
    randomized = True

    def forward(self, x, *, generator=None):
        return x.flatten(1).sum(1) + torch.rand(len(x), generator=generator)


class NoForward(Detector):
    pass


class NoScore(detectors.Score):
    pass


def changed(name, value, base=Mine):
    return type("Mine", (base,), {name: value})


PLANTS = {
    "name": (changed("name", 3), "name is the int 3, expected a str"),
    "randomized": (changed("randomized", "no"), "randomized is the str 'no', expected True or False"),
    "objectives as text": (
        changed("objectives", "exact"),
        "objectives is the str 'exact', expected a tuple of names: (",
    ),
    "objectives of numbers": (changed("objectives", (1, 2)), "objectives is a tuple of 2, expected a tuple of names"),
    "objectives as None": (changed("objectives", None), "objectives is None, expected a tuple of names"),
    "no exact": (changed("objectives", ("log",)), "objectives log: expected different names and 'exact'"),
    "twice exact": (changed("objectives", ("exact", "exact")), "expected different names and 'exact'"),
    "passes": (changed("passes", 3), "passes is the int 3: the seam calls passes(objective='exact', draws=None); give"),
    "score_passes": (changed("score_passes", 2.5), "score_passes is the float 2.5: the seam calls score_passes()"),
    "extremes": (changed("extremes", (0, 1)), "extremes is a tuple of 2: the seam calls extremes()"),
    "fitted": (changed("fitted", True), "fitted is the bool True: the seam calls fitted()"),
    "value_and_grad": (
        changed("value_and_grad", lambda self, x: None),
        "value_and_grad(x) cannot be called as value_and_grad(x, *, objective='exact', draws=None, generator=None)",
    ),
    "passes gives a number": (
        changed("passes", lambda self, *a, **k: 3),
        "passes('exact') and score_passes() gave 3 and",
    ),
    "passes gives fractions": (
        changed("passes", lambda self, *a, **k: (1.5, 1)),
        "gave (1.5, 1) and (1, 0): expected two",
    ),
    "passes fails": (changed("passes", lambda self, *a, **k: 1 / 0), "ZeroDivisionError: division by zero (tests/"),
    "no generator": (
        changed("randomized", True),
        "randomized is True, and forward takes no generator: write forward(x, *, generator=None)",
    ),
    "generator asked": (
        changed("forward", lambda self, x, generator: x.sum(), Mine),
        "forward needs a generator, and randomized is False: set randomized = True",
    ),
    "two arguments": (changed("forward", lambda self, x, y: x), "forward(x, y) cannot be called as forward(x, *"),
    "label": (changed("label", 3), "label is the int 3: the seam uses this name"),
    "network as a method": (changed("network", lambda self: None), "network is a method: the seam uses this name"),
    "network as text": (changed("network", "resnet"), "network is the str 'resnet': the seam uses this name"),
    "no forward": (NoForward, "it has no method forward(x) that gives the scores"),
}


@pytest.mark.parametrize("plant", PLANTS)
def test_a_detector_that_does_not_fit(plant, digits):
    cls, message = PLANTS[plant]
    with pytest.raises(ValueError, match=rf"^detector {cls.__name__}: ") as found:
        roodbench.evaluate(cls(), digits, attack="none")
    assert message in str(found.value)
    assert "\n" not in str(found.value)


def test_a_score_without_a_score(digits_net):
    with pytest.raises(ValueError, match=r"detector NoScore: it has no method score\(z, h\) that gives the scores"):
        check_seam(NoScore(digits_net))


def test_fit_counts_where_it_is_still_to_be_called():
    odd = changed("fit", lambda self, X: self)()
    check_seam(odd, fitted=True)
    with pytest.raises(ValueError, match=r"fit\(X\) cannot be called as fit\(train, val\)"):
        check_seam(odd)
    module = torch.nn.Flatten()
    module.fit = lambda X: None
    with pytest.raises(ValueError, match=r"detector Flatten: fit\(X\) cannot be called as fit\(train, val\)"):
        check_seam(detectors.Plain(module))


@pytest.mark.parametrize("cls", [Mine, Noisy, changed("forward", lambda self, x, generator=None: x.sum(), Noisy)])
def test_detectors_that_fit(cls):
    check_seam(cls())


@pytest.mark.parametrize("name", [n for n in detectors.DETECTORS if n != "vim"])
def test_our_own_fit(name, digits_net):
    check_seam(detectors.create(name, digits_net))
    check_seam(detectors.Plain(torch.nn.Flatten()))


class Own(Mine):
    """Its own gradient, as a function changes it."""

    def __init__(self, give):
        super().__init__()
        self.give = give

    def value_and_grad(self, x, *, objective="exact", draws=None, generator=None):
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            value = self(x)
            return self.give(value, torch.autograd.grad(value.sum(), x, retain_graph=True)[0])


GRADIENTS = {
    "value alone": (lambda v, g: v, "gave a tensor (6,) of float32: expected the pair (value, gradient)"),
    "nothing": (lambda v, g: None, "gave None: expected the pair (value, gradient)"),
    "dict": (lambda v, g: {"v": v, "g": g}, "gave something of type dict: expected the pair"),
    "three": (lambda v, g: (v, g, g), "gave a tuple of 3: expected the pair"),
    "one value": (
        lambda v, g: (v.sum(), g),
        "a tensor () of float32 as its value for 6 images: expected a float32 tensor",
    ),
    "whole values": (lambda v, g: (v.long(), g), "a tensor (6,) of int64 as its value for 6 images"),
    "no gradient": (lambda v, g: (v, None), "None as its gradient for images (6, 1, 8, 8): expected"),
    "zeros": (lambda v, g: (v, None), "does not depend on the images, return torch.zeros_like(x)"),
    "autograd's tuple": (lambda v, g: (v, (g,)), "a tuple of 1 as its gradient"),
    "its cure": (lambda v, g: (v, (g,)), "torch.autograd.grad gives a tuple: take its first"),
    "flat": (lambda v, g: (v, g.flatten(1)), "a tensor (6, 64) of float32 as its gradient for images (6, 1, 8, 8)"),
    "numpy": (lambda v, g: (v, g.numpy()), "something of type ndarray as its gradient"),
    "device": (lambda v, g: (v, g.to("meta")), "a value on cpu, a gradient on meta: expected both on cpu"),
}


@pytest.mark.parametrize("plant", GRADIENTS)
def test_a_gradient_that_is_none(plant):
    give, message = GRADIENTS[plant]
    with pytest.raises(attacks.GradientError, match=r"^value_and_grad gave ") as found:
        attacks.gradient_of(Own(give), torch.rand(6, 1, 8, 8))
    assert message in str(found.value)


def test_a_run_names_the_detector_that_gives_no_gradient():
    with pytest.raises(roodbench.EvaluationError, match=r"^Own: value_and_grad gave None: expected the pair"):
        roodbench.evaluate(Own(lambda v, g: None), small(6), steps=2, check=False)


def test_a_gradient_that_is_not_finite_names_the_image():
    with pytest.raises(
        roodbench.EvaluationError, match=r"Own: gradient is not finite on digits, index 0 \(digit \d+\)"
    ):
        roodbench.evaluate(Own(lambda v, g: (v, g / 0)), small(6), steps=2, check=False)


@pytest.mark.parametrize(
    "give", [lambda v, g: (v.detach(), g.double()), lambda v, g: [v, g], lambda v, g: (v, g.requires_grad_())]
)
def test_gradients_of_other_kinds_that_say_the_same(give):
    """Float64, a list, tensors that still need gradients: the same attack."""
    bench = small(6)
    plain, own = (roodbench.evaluate(d, bench, steps=2, check=False) for d in (Mine(), Own(give)))
    assert [row.auroc for row in own.rows] == [row.auroc for row in plain.rows]


def test_64_bit_scores_are_evaluated_as_32_bit_ones(digits_net):
    class Wide(torch.nn.Module):
        def forward(self, x):
            return digits_net(x).amax(1).double()

    bench = small(10)
    wide, narrow = (
        roodbench.evaluate(d, bench, steps=2, check=False) for d in (Wide(), fitted("mls", digits_net, bench))
    )
    assert [row.auroc for row in wide.rows] == [row.auroc for row in narrow.rows]
