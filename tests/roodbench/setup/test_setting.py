"""From settings to a fitted detector."""

import logging

import pytest
import torch

from attacks import AttackPlan, ThreatModel
from roodbench import RunConfig
from roodbench.setup.setting import Setting, note_radii

DRAWS = """
import random
import numpy as np
import torch
from detectors import Detector
class Net(torch.nn.Sequential):
    def __init__(self):
        super().__init__(torch.nn.Flatten(), torch.nn.Linear(64, 6))
class Draws(Detector):
    def __init__(self, net):
        super().__init__()
        self.net, self.made = net, torch.nn.Linear(64, 4).weight
    def fit(self, train, val):
        self.drawn = [random.random(), np.random.rand(), float(torch.rand(()))]
        return self
    def forward(self, x, *, generator=None):
        return self.net(x).amax(1)
"""
"""A network and a detector that draw from the global generators where they are made, and fitted."""
TINY = {"ood": "unseen-digits", "limit": 4}


def test_what_a_user_draws_where_a_detector_is_made_and_fitted_is_the_seeds(tmp_path):
    file = tmp_path / "draws.py"
    file.write_text(DRAWS)
    found = []
    for seed in (0, 0, 1):
        config = RunConfig(detector=f"{file}:Draws", model=f"{file}:Net", seed=seed, **TINY)
        before = torch.get_rng_state()
        setting = Setting(config, torch.device("cpu"))
        detector, _ = setting.fitted(config.detector[0])
        assert torch.equal(torch.get_rng_state(), before)
        weights = [detector.made, next(setting.plain.parameters())]
        found.append([*detector.drawn, *(w.sum().item() for w in weights)])
        torch.rand(3)
    assert found[0] == found[1]
    assert all(a != b for a, b in zip(found[0], found[2], strict=True))


@pytest.mark.parametrize(
    "given",
    [{"detector": "rankfeat"}, {"detector": "pro", "base": "rankfeat"}, {"detector": "gen,approximate-mass"}],
)
def test_a_detector_that_looks_into_the_network_keeps_it_as_it_is(given, caplog):
    for compile in ("auto", "on"):
        setting = Setting(RunConfig(**given, **TINY, compile=compile), torch.device("cpu"))
        with caplog.at_level(logging.WARNING):
            setting.compile(1e20)
        assert setting.net.backbone.sizes == ()
    name = given["detector"].rpartition(",")[2]
    assert caplog.messages == [f"{name} needs the network as it is: it is not compiled"]


@pytest.mark.parametrize(
    ("norm", "eps", "std", "said"),
    [
        ("l2", (8 / 255,), 1.0, "epsilon 8/255 in l2 is the length of the change of a whole image"),
        ("linf", (8 / 255, 0.6), 1.0, "epsilon 0.6 in linf"),
        ("linf", (4.0,), 0.25, "epsilon 1 in linf"),
        ("linf", (8 / 255**2,), 1.0, "divided by 255 twice?"),
        ("l2", (0.05, 0.5), 1.0, ""),
        ("linf", (0.1 / 255,), 1.0, ""),
        ("linf", (0.5,), 1.0, ""),
        ("l2", (3.0,), 1.0, ""),
        ("linf", (0.0,), 1.0, ""),
    ],
)
def test_a_radius_that_hardly_anybody_means_is_noticed(norm, eps, std, said, caplog):
    with caplog.at_level(logging.WARNING):
        note_radii([AttackPlan(ThreatModel(e, norm)) for e in eps], std)
    assert len(caplog.messages) == bool(said)
    assert said in "".join(caplog.messages)
