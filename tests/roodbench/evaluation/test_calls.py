"""A network's name and accuracy stand beside the scores of detectors that call it, and of no other."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import roodbench
from detectors import Detector, Outputs
from roodbench import cli
from roodbench.evaluation.calls import calls_of
from tests.roodbench.helpers import small

MINE = """
import torch
from detectors import Detector
class Brightness(torch.nn.Module):
    def __init__(self, net):
        super().__init__()
        self.{kept} = net
    def forward(self, x):
        return x.mean((1, 2, 3))
class Largest(torch.nn.Module):
    def __init__(self, net):
        super().__init__()
        self.inside = torch.nn.ModuleList([net])
    def forward(self, x):
        return {score}
class Stays(Detector):
    def __init__(self, net):
        super().__init__()
        self.net = net
    def forward(self, x, *, generator=None):
        return x.mean((1, 2, 3))
def loaded(net):
    return Brightness(torch.nn.Identity())
"""


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(names, *arguments, kept="other", score="self.inside[0](x).amax(1)"):
        Path("mine.py").write_text(MINE.format(kept=kept, score=score))
        quick = ["--attack", "none", "--limit", "10", "--ood", "noise", "--out", "runs", "--quiet"]
        assert cli.main(["--detector", names, *quick, *arguments]) == 0
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize("name", ["Brightness", "Stays", "loaded"])
@pytest.mark.parametrize("kept", ["net", "other"])
def test_a_detector_that_never_calls_the_network_shows_none(run, name, kept):
    for _ in range(2):  # computed, then kept
        record = json.loads(run(f"mine.py:{name}", "--format", "json", kept=kept))
        assert {(row["model"], row["id_accuracy"]) for row in record["rows"]} == {(None, None)}
        assert "id-accuracy" not in {entry["name"] for entry in record["indicators"]}
        assert "network" not in record["detectors"][0]
    assert run(f"mine.py:{name}", kept=kept).startswith("digits, network unknown, 10 ID images\n")


CALLS = ["self.inside[0](x)", "self.inside[0].outputs(x).logits", "self.inside[0].backbone.features(x)"]


@pytest.mark.parametrize("score", CALLS)
def test_one_that_calls_it_in_any_way_shows_it(run, score):
    (row, *_) = json.loads(run("mine.py:Largest", "--format", "json", score=f"{score}.amax(1)"))["rows"]
    assert (row["model"], row["id_accuracy"]) == ("digits-cnn", 1.0)


def test_each_network_is_that_of_its_detectors(run):
    said = run("mine.py:Brightness,gen,mls").splitlines()[0]
    network = "digits-cnn (ID accuracy 100.0%) for gen and mls"
    assert said == f"digits, network unknown for Brightness, {network}, 10 ID images"


class Functional(nn.Module):
    """A network without parts."""

    def outputs(self, x):
        return Outputs(x.flatten(1)[:, :6], None)

    def forward(self, x):
        return self.outputs(x).logits


@pytest.mark.parametrize("call", [lambda net, x: net(x), lambda net, x: net.forward(x), lambda net, x: net.outputs(x)])
def test_a_call_is_seen_however_it_is_made_and_nothing_stays(call):
    net = Functional()
    before = dict(vars(net))
    with calls_of(net) as calls:
        assert calls == []
        call(net, torch.rand(2, 1, 8, 8))
        assert calls != []
    assert vars(net) == before
    assert net.forward.__func__ is Functional.forward


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_what_cannot_be_watched_counts_as_called():
    class Traced(Detector):
        def __init__(self):
            super().__init__()
            linear = nn.Sequential(nn.Flatten(), nn.Linear(64, 6))
            self.net = torch.jit.trace(linear, torch.rand(2, 1, 8, 8))

        def forward(self, x, *, generator=None):
            return self.net(x).amax(1)

    result = roodbench.evaluate(Traced(), small(10), attack="none")
    assert all(row.id_accuracy is not None for row in result.rows)
