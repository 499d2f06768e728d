"""What a detector says of itself: label, network, what it wraps, its hyper-parameters, what is no part of it."""

import re

import pytest
import torch

import detectors
from detectors import BASES, WRAPPERS, Detector
from tests.conftest import SmoothNet

EVERY = {**BASES, **WRAPPERS}


class Own(Detector):
    """A user's detector, with attributes that RoodBench's own detectors use for something else."""

    name = "own"

    def __init__(self, net, *, chunk=3, seed=1):
        super().__init__()
        self.net, self.chunk, self.seed, self.batch = net, chunk, seed, 7

    def forward(self, x, *, generator=None):
        return self.net(x)[:, : self.chunk].sum(1) + self.batch


class Over(Detector):
    """A user's detector over another one, without `Wrapper`."""

    def __init__(self, base):
        super().__init__()
        self.base = base

    def forward(self, x, *, generator=None):
        return 2 * self.base(x)


def test_a_detector_over_another_says_so(smooth):
    ross = detectors.create("ross", smooth, base="knn")
    assert ross.label == "ross(knn)"
    assert ross.wrapped is ross.base
    assert ross.chain == (ross, ross.base)
    assert ross.network is smooth
    gen = detectors.create("gen", smooth)
    assert (gen.label, gen.wrapped, gen.chain, gen.network) == ("gen", None, (gen,), smooth)


def test_a_users_detector_needs_no_more_than_an_attribute_base(smooth):
    pro = detectors.create("pro", smooth, base="ebo")
    over = Over(pro)
    assert over.label == "Over(pro(ebo))"
    assert over.chain == (over, pro, pro.base)
    assert over.network is smooth
    plain = Over(torch.nn.Linear(1, 1))  # a base that is no detector
    assert (plain.label, plain.wrapped, plain.chain, plain.network) == ("Over", None, (plain,), None)


def test_a_wrapped_module_is_labelled_by_its_class():
    plain = detectors.Plain(SmoothNet())
    assert (plain.label, plain.network) == ("SmoothNet", None)


def test_a_detector_may_keep_its_network_under_the_name_network(smooth, smooth_images):
    class Keeps(Detector):
        def __init__(self, net):
            super().__init__()
            self.network = net

        def forward(self, x, *, generator=None):
            return self.network(x).amax(1)

    keeps = Keeps(smooth)
    torch.testing.assert_close(keeps(smooth_images), smooth(smooth_images).amax(1))
    assert keeps.network is Over(keeps).network is smooth


@pytest.mark.parametrize("name", ["label", "chain", "wrapped"])
@pytest.mark.parametrize("value", [torch.nn.Linear(1, 1), 3])
def test_what_a_detector_says_of_itself_cannot_be_hidden(name, value):
    with pytest.raises(AttributeError, match=rf"Detector.{name} is read-only"):
        setattr(Detector(), name, value)


def test_incidental_and_run_settings_are_declared_where_they_are():
    smoothed = {"median", "mad", "cov", "ross", "ross-q"}
    assert {name for name, cls in EVERY.items() if cls.incidental} == {"knn", "relation", "rankfeat"} | smoothed
    assert all(cls.incidental <= {"chunk"} for cls in EVERY.values())
    settings = {name: {"chunk"} for name in ("knn", "relation", "rankfeat")}
    settings |= {name: {"chunk", "seed"} for name in smoothed}
    assert {n: set(c.run_settings) for n, c in EVERY.items() if c.run_settings} == settings


@pytest.mark.parametrize("name", EVERY)
def test_incidental_attributes_and_run_settings_exist(name, smooth):
    detector = detectors.create(name, smooth)
    assert all(isinstance(getattr(detector, attribute), int) for attribute in detector.incidental)
    assert detector.run_settings <= set(detectors.keywords(EVERY[name]))


def test_run_settings_are_no_hyperparameters(smooth):
    wanted = {"copies": 25, "sigma": 0.0125, "gain": 0.01, "eta": 1e-12, "floored": False}
    assert detectors.ROSS.defaults() == wanted
    assert detectors.create("ross", smooth, copies=9).hyperparameters() == wanted | {"copies": 9}
    assert detectors.KNN.defaults() == {"neighbours": 50}
    assert detectors.MSPT.defaults() == {"temperature": None}


def test_an_undeclared_chunk_or_batch_of_a_users_detector_is_part_of_it(smooth):
    assert Own.incidental == Own.run_settings == frozenset()
    assert Own.defaults() == {"chunk": 3, "seed": 1}
    assert Own(smooth, chunk=5).hyperparameters() == {"chunk": 5, "seed": 1}


def test_modules_of_a_detector_still_list_their_weights(smooth):
    assert len(list(detectors.create("ross", smooth).parameters())) == len(list(smooth.parameters()))


def test_published_grids(smooth):
    assert detectors.ReAct.grid_over("") == {"percentile": (85, 90, 95, 99)}
    assert detectors.MSP.grid_over("") == {}
    pro = {"step_size": (1e-5, 5e-5, 1e-4, 5e-4, 1e-3, 5e-3), "steps": (1, 2, 3, 5)}
    assert detectors.PRO.grid_over("") == detectors.PRO.grid_over("ebo") == pro
    assert detectors.PRO.grid_over("msp-t") == pro | {"temperature": (0.01, 0.1, 10, 100, 1000)}
    for cls in EVERY.values():
        grid = cls.grid_over("gen")
        own = set(cls.defaults()) | (set(BASES["gen"].defaults()) if cls.name in WRAPPERS else set())
        assert set(grid) <= own
        assert set(cls.shared) <= set(cls.grid)


class Handed(Detector):
    def __init__(self, net):
        super().__init__(net)


class Inherits(Detector):
    pass


@pytest.mark.parametrize("cls", [Handed, Inherits])
def test_a_detector_that_is_handed_its_network_says_what_to_write(cls, smooth):
    sentence = (
        f"Detector.__init__ of {cls.__name__} is given a SmoothNet: it takes nothing; write __init__(self, net) with"
    )
    with pytest.raises(ValueError, match=re.escape(f"{sentence} super().__init__() and then self.net = net")):
        cls(smooth)
