"""T32 knows of no convolution but sums of products: what chooses Winograd or FFT is off while anything is scored."""

import json

import torch

from roodbench.certify.certificate import NAME, read
from roodbench.certify.interval import run, verifier
from roodbench.certify.interval.config import IntervalConfig
from roodbench.machine.device import summing_products
from roodbench.setup.config import RunConfig


def chosen():
    return torch.backends.cudnn.enabled, torch._C._get_nnpack_enabled()


def test_what_chooses_is_off_and_put_back():
    before = chosen()
    with summing_products():
        assert chosen() == (False, False)
    assert chosen() == before == (True, True)


def test_interval_bounds_are_held_against_such_scores(digits_net, tmp_path, monkeypatch):
    seen = []

    def looking(function):
        def look(*args, **kwargs):
            seen.append(chosen())
            return function(*args, **kwargs)

        return look

    for module, name in ((run, "states_of"), (verifier, "scored")):
        monkeypatch.setattr(module, name, looking(getattr(module, name)))
    settings = RunConfig(("mls",), norm="linf", attack="none", limit=2, ood=("noise",))
    _, folder = run.certify_intervals(IntervalConfig(settings, radius=(1 / 255,)), out=tmp_path)
    assert verifier.verify_intervals(read(folder)).failures == []
    forged = json.loads((folder / NAME).read_text())
    forged["config"]["run"] |= {"attack": "both", "seed": 7}
    verdict = verifier.verify_intervals(forged)
    assert verdict.failures == []
    assert {"config.run.attack", "config.run.seed", "claim"} <= set(verdict.unverified)
    assert seen[:3] == [(False, False)] * 3  # a run, and two sets of its verification
