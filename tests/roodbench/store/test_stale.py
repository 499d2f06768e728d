"""A kept result is of a detector that still does the same, whatever its code depends on; what was reused is said."""

import functools
import importlib
import json
import os
import sys
import types
from dataclasses import replace

import pytest
import torch

import detectors
import roodbench
from roodbench import cli
from roodbench.setup.config import RunConfig
from tests.roodbench.helpers import small

SIGN = 1.0
VARIABLE = "ROODBENCH_TEST_SIGN"


class Signed(detectors.Detector):
    """sign() times the largest logit: what sign() gives is nobody's attribute."""

    name = "signed"
    direction = 1.0

    def __init__(self, net, sign=None):
        super().__init__()
        self.module = net
        self.keep(sign)

    def keep(self, sign):
        self.sign = sign

    def forward(self, x, *, generator=None):
        return self.sign() * self.module(x).amax(1)


class Holder:
    def __init__(self, value):
        self.value = value


class Configured(Signed):
    """An attribute that no text can tell from another: an object in a dict."""

    def keep(self, sign):
        self.settings = {"sign": Holder(sign)}

    def sign(self):
        return self.settings["sign"].value


class Weighted(Signed):
    """A tensor in a list in an object."""

    def keep(self, sign):
        self.holder = Holder([torch.tensor(sign)])

    def sign(self):
        return self.holder.value[0]


class Reading(Signed):
    """A file."""

    def keep(self, sign):
        self.file = sign

    def sign(self):
        return float(self.file.read_text())


def through_dict(net, folder, monkeypatch):
    detector = Configured(net, 1.0)
    return detector, lambda: setattr(detector.settings["sign"], "value", -1.0)


def through_tensor_in_list(net, folder, monkeypatch):
    detector = Weighted(net, 1.0)
    return detector, lambda: detector.holder.value[0].neg_()


def through_data_file(net, folder, monkeypatch):
    (folder / "sign.txt").write_text("1")
    return Reading(net, folder / "sign.txt"), lambda: (folder / "sign.txt").write_text("-1")


def through_environment(net, folder, monkeypatch):
    monkeypatch.setenv(VARIABLE, "1")
    return Signed(net, lambda: float(os.environ[VARIABLE])), lambda: monkeypatch.setenv(VARIABLE, "-1")


def through_closure(net, folder, monkeypatch):
    sign = 1.0

    def change():
        nonlocal sign
        sign = -1.0

    return Signed(net, lambda: sign), change


def through_class_attribute(net, folder, monkeypatch):
    detector = Signed(net)
    detector.sign = lambda: detector.direction
    return detector, lambda: monkeypatch.setattr(Signed, "direction", -1.0)


def through_global(net, folder, monkeypatch):
    return Signed(net, lambda: SIGN), lambda: monkeypatch.setitem(globals(), "SIGN", -1.0)


def through_partial(net, folder, monkeypatch):
    box = [1.0]
    return Signed(net, functools.partial(box.__getitem__, 0)), lambda: box.__setitem__(0, -1.0)


def through_module(net, folder, monkeypatch):
    """A helper module that is loaded anew."""
    helper = types.ModuleType("helper_of_a_test")
    helper.sign = lambda: 1.0
    return Signed(net, lambda: helper.sign()), lambda: setattr(helper, "sign", lambda: -1.0)


def through_hidden_network(net, folder, monkeypatch):
    """The network itself lies in a list, where no state_dict sees it."""
    hidden = [torch.nn.Linear(64, 1)]
    hidden[0].weight.data.normal_(generator=torch.Generator().manual_seed(0))

    class Hiding(torch.nn.Module):
        def forward(self, x):
            return hidden[0](x.flatten(1))[:, 0]

    return Hiding(), lambda: hidden[0].weight.data.neg_()


def through_hook(net, folder, monkeypatch):
    """Our own detector, and a hook on it."""
    detector = detectors.create("mls", net)
    return detector, lambda: detector.register_forward_hook(lambda m, args, out: -out)


WAYS = [value for name, value in list(globals().items()) if name.startswith("through_")]


def aurocs(result):
    return [row.auroc for row in result.rows]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("attack", ["none", "both"])
def test_a_detector_that_changed_is_evaluated_anew(way, attack, digits_net, tmp_path, monkeypatch):
    bench, store = small(8), roodbench.Store(tmp_path)
    settings = {"attack": attack, "check": False, **({"steps": 2} if attack != "none" else {})}
    detector, change = way(digits_net, tmp_path, monkeypatch)
    before = roodbench.evaluate(detector, bench, store=store, **settings)
    again = roodbench.evaluate(detector, bench, store=store, **settings)
    assert aurocs(again) == aurocs(before)
    assert before.timing.reused == {"cells": 0, "of": before.timing.reused["of"], "oldest": None}
    assert again.timing.reused["cells"] == again.timing.reused["of"] == before.timing.reused["of"] > 0
    change()
    after = roodbench.evaluate(detector, bench, store=store, **settings)
    assert after.timing.reused["cells"] == 0
    assert aurocs(after) == aurocs(roodbench.evaluate(detector, bench, **settings))
    assert aurocs(after)[0] == pytest.approx(1 - aurocs(before)[0])


def test_what_is_drawn_without_a_generator_is_never_reused(digits_net, tmp_path):
    class Drawing(torch.nn.Module):
        def forward(self, x):
            return digits_net(x).amax(1) + torch.rand(len(x))

    bench, store, module = small(8), roodbench.Store(tmp_path), Drawing()
    torch.manual_seed(1)
    roodbench.evaluate(module, bench, attack="none", store=store)
    torch.rand(1)
    assert roodbench.evaluate(module, bench, attack="none", store=store).timing.reused["cells"] == 0


HELPER = "def sign():\n    return {sign}\n"
PLUGIN = """
import torch
import helper_on_disk

class Mine(torch.nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net
    def forward(self, x):
        return helper_on_disk.sign() * self.net(x).amax(1)
"""
CLASS = "class Mine(torch.nn.Module):\n    def forward(self, x):\n        return {sign} * net(x).amax(1)"


@pytest.fixture
def said(tmp_path, monkeypatch, capsys):
    """The record that a command prints, and its notices, as of a process that has imported none of the user's files."""
    monkeypatch.chdir(tmp_path)

    def said(*command):
        for name in ("mine_of_a_test", "helper_on_disk"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        assert cli.main([*command, "--out", "runs", "--format", "json"]) == 0
        out, err = capsys.readouterr()
        return json.loads(out), err

    return said


def test_a_helper_module_that_changes_on_disk_is_noticed(tmp_path, said):
    (tmp_path / "mine_of_a_test.py").write_text(PLUGIN)
    command = ["--detector", "mine_of_a_test:Mine", "--attack", "none", "--limit", "8", "--ood", "unseen-digits"]
    found = []
    for sign in (1, 1, -1):
        (tmp_path / "helper_on_disk.py").write_text(HELPER.format(sign=sign))
        found.append(said(*command))
    (first, quiet), (second, notice), (third, _) = found
    areas = [record["rows"][0]["auroc"] for record, _ in found]
    assert areas[1] == areas[0] > 0.9
    assert areas[2] == pytest.approx(1 - areas[0])
    kept = [record["timing"]["reused"] for record in (first, second, third)]
    assert [entry["cells"] for entry in kept] == [0, kept[0]["of"], 0]
    assert "reused" not in quiet
    assert f"reused {kept[0]['of']} of {kept[0]['of']} kept parts, the oldest of {kept[1]['oldest']}" in notice
    assert "since the clean scores of every image and 16 images of each set over 4 steps of the attack are" in notice
    assert "--fresh computes them anew" in notice


def test_a_class_without_a_file_is_known_by_what_it_does(digits_net, tmp_path, monkeypatch):
    """As a notebook's, or that of `python -c`: its module has no file."""
    notebook = types.ModuleType("notebook_of_a_test")
    monkeypatch.setitem(sys.modules, notebook.__name__, notebook)
    notebook.__dict__.update(torch=torch, net=digits_net)
    bench, store, areas = small(8), roodbench.Store(tmp_path), []
    for sign in (1, -1):
        exec(CLASS.format(sign=sign), notebook.__dict__)
        areas += aurocs(roodbench.evaluate(notebook.Mine(), bench, attack="none", store=store))
    assert areas[0] > 0.9
    assert areas[1] == pytest.approx(1 - areas[0])


def test_a_run_and_a_certification_say_what_they_reused(tmp_path, caplog):
    from roodbench.certify import CertifyConfig, certify

    run = RunConfig(detector=("median",), attack="none", limit=4, ood=("noise",))
    config = CertifyConfig(replace(run, norm="l2"), sigma=0.25, radius=(0.1,), samples=300)
    caplog.set_level("INFO", "roodbench")
    for timings in (
        [roodbench.run(run, out=tmp_path, fresh=fresh)[0].timing.reused for fresh in (False, False, True, False)],
        [certify(config, out=tmp_path, fresh=fresh)[0].timing["reused"] for fresh in (False, False, True, False)],
    ):
        of = timings[0]["of"]
        assert [entry["cells"] for entry in timings] == [0, of, 0, of]
    assert sum("kept parts" in record.getMessage() for record in caplog.records) == 4


ENERGY = """
from torch import nn

class Energy(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x).logsumexp(1)
"""


def test_what_was_compared_is_said_of_the_detectors_alone_of_which_it_was(tmp_path, caplog):
    """One of ours beside a user's: only parts of the user's are reused since its scores are the same."""
    (tmp_path / "energy.py").write_text(ENERGY)
    energy = f"{tmp_path}/energy.py:Energy"
    caplog.set_level("INFO", "roodbench")
    ran = [
        roodbench.run(RunConfig(detector=names, attack="none", limit=4, ood=("noise",)), out=tmp_path / "runs")[0]
        for names in (("ebo",), (energy, "ebo"), (energy, "ebo"))
    ]
    (_, ours, own), (_, _, of) = ([one.timing.reused[key] for one in ran] for key in ("cells", "of"))
    assert 0 < ours < own == of
    first, second = (r.getMessage() for r in caplog.records if "kept parts" in r.getMessage())
    assert "since" not in first
    assert f", {own - ours} of them since the clean scores of every image and " in second


def test_fresh_needs_something_that_is_kept(digits_net):
    with pytest.raises(ValueError, match="give store="):
        roodbench.evaluate(detectors.create("gen", digits_net), small(4), attack="none", fresh=True)
