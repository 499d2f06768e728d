"""A network's name and accuracy stand beside the scores of detectors that use it, and of no other."""

import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import detectors
import roodbench
from detectors import Detector
from roodbench import cli
from roodbench.data import ImageSet
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
def test_a_detector_that_does_not_use_the_network_shows_none(run, name, kept):
    for _ in range(2):  # computed, then kept
        record = json.loads(run(f"mine.py:{name}", "--format", "json", kept=kept))
        assert {(row["model"], row["id_accuracy"]) for row in record["rows"]} == {(None, None)}
        assert "id-accuracy" in {entry["name"] for entry in record["indicators"]}
        assert "network" not in record["detectors"][0]
    assert run(f"mine.py:{name}", kept=kept).startswith("digits, network unknown, 10 ID images\n")


USES = ["self.inside[0](x)", "self.inside[0].outputs(x).logits", "self.inside[0].backbone.features(x)"]


@pytest.mark.parametrize("score", USES)
def test_one_that_uses_it_in_any_way_shows_it(run, score):
    (row, *_) = json.loads(run("mine.py:Largest", "--format", "json", score=f"{score}.amax(1)"))["rows"]
    assert (row["model"], row["id_accuracy"]) == ("digits-cnn", 1.0)


def test_each_network_is_that_of_its_detectors(run):
    said = run("mine.py:Brightness,gen,mls").splitlines()[0]
    network = "digits-cnn (ID accuracy 100.0%) for gen and mls"
    assert said == f"digits, network unknown for Brightness, {network}, 10 ID images"


class Mine(Detector):
    """A detector of a network whose score is another one in each test."""

    def __init__(self, net, score):
        super().__init__()
        self.net, self.score, self.kept, self.seen = net, score, {}, None

    def forward(self, x, *, generator=None):
        return self.score(self, x)


def by_image(self, x):
    for image in x:
        self.kept.setdefault(image.numpy().tobytes(), self.net(image[None]).logsumexp(1))
    return torch.cat([self.kept[image.numpy().tobytes()] for image in x])


def by_batch(self, x):
    key = x.numpy().tobytes()
    if key not in self.kept:
        self.kept[key] = self.net(x).logsumexp(1)
    return self.kept[key]


def brightness(self, x):
    return x.mean((1, 2, 3))


def through_a_hook(self, x):
    """The hook writes to the detector, whose copy never hears of it."""
    if not self.kept:
        self.kept["hook"] = self.net.register_forward_hook(lambda net, x, z: setattr(self, "seen", z))
    self.net(x)
    return self.seen.logsumexp(1)


class Layers(nn.Module):
    """A network with names that are methods elsewhere: `features` is iterated over, `outputs` is a list."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU())
        self.head, self.outputs = nn.Linear(16, 6), []

    def logits(self, x):
        for layer in self.features:
            x = layer(x)
        self.outputs = [self.head(x)]
        return self.outputs[-1]

    def forward(self, x):
        return self.logits(x)


def by_weights(self, x):
    hidden, head = self.net.features[1], self.net.head
    return head(nn.functional.linear(x.flatten(1), hidden.weight, hidden.bias).relu()).logsumexp(1)


def traced():
    return torch.jit.trace(nn.Sequential(nn.Flatten(), nn.Linear(64, 6)), torch.rand(2, 1, 8, 8))


def largest(self, x):
    return self.net(x).amax(1)


def detector_of(kind):
    """A detector on a network, and the name that the network is shown under."""
    net, layers = roodbench.load_model("digits-cnn"), Layers().eval()
    if kind.startswith("traced"):
        net = traced()
    scores = {
        "cache by image": by_image,
        "cache by batch": by_batch,
        "hook": through_a_hook,
        "closure": lambda self, x: net(x).amax(1),
        "head alone": lambda self, x: net.head(x.flatten(1)[:, : net.head.in_features]).sum(1),
        "traced, used": largest,
        "own method": lambda self, x: self.net.logits(x).amax(1),
        "weights": by_weights,
        "not called": brightness,
        "traced, not called": brightness,
        "thrown away": lambda self, x: 0 * largest(self, x) + brightness(self, x),
        "other network": lambda self, x: layers(x).amax(1),
    }
    if kind in ("own method", "weights"):
        return Mine(layers, scores[kind]), "Layers"
    if kind == "names":
        return detectors.create("ebo", layers), "Layers"
    shown = "TopLevelTracedModule" if kind == "traced, used" else "digits-cnn"
    return Mine(net, scores[kind]), None if kind in UNUSED else shown


USED = ["cache by image", "cache by batch", "hook", "closure", "head alone", "own method", "weights", "names"]
UNUSED = ["not called", "thrown away", "other network", "traced, not called"]


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("kind", [*USED, "traced, used", *UNUSED])
def test_the_network_is_shown_where_scores_change_with_it_and_stays_as_it_was(kind):
    detector, name = detector_of(kind)
    before = [parameter.clone() for parameter in detector.network.parameters()]
    result = roodbench.evaluate(detector.eval(), small(10), attack="none")
    assert {row.model for row in result.rows} == {name}
    assert {row.id_accuracy is None for row in result.rows} == {name is None}
    assert all(torch.equal(*pair) for pair in zip(before, detector.network.parameters(), strict=True))


@pytest.mark.parametrize("kind", ["cache by image", "cache by batch", "hook", "not called", "thrown away"])
def test_permuted_labels_are_noticed_however_the_network_is_used(kind):
    bench = small(40)
    wrong = ImageSet("digits", "ID test", (bench.id_test.labels.numpy() + 1) % 6, lambda: bench.id_test.array)
    result = roodbench.evaluate(detector_of(kind)[0], replace(bench, id_test=wrong), attack="none")
    (message,) = [i.message for i in result.indicators if i.name == "id-accuracy" and i.passed is False]
    assert message.startswith("digits-cnn: ID accuracy 0.0%")
    assert {row.reliable for row in result.rows} == {False}


class Still(nn.Module):
    """A network without parameters."""

    def forward(self, x):
        return x.flatten(1)[:, :6]


@pytest.mark.parametrize("net", ["Still", "Layers"])
def test_where_nobody_can_tell_it_counts_as_used(net):
    """Nothing changes in the first; the second detector cannot be copied."""
    detector = Mine({"Still": Still, "Layers": Layers}[net]().eval(), brightness)
    if net == "Layers":
        detector.seen = threading.Lock()
    result = roodbench.evaluate(detector, small(10), attack="none")
    assert {row.model for row in result.rows} == {net}
