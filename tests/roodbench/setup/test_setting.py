"""From settings to a fitted detector."""

import logging

import pytest
import torch

from roodbench import RunConfig
from roodbench.setup.setting import Setting

TINY = {"ood": "unseen-digits", "limit": 4}


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
