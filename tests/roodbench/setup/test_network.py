"""The network of a run is looked at before anything is computed: its images, its head, its normalisation, its mode."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import detectors
import roodbench
from roodbench import cli
from roodbench.data.source import Source
from roodbench.setup.network import better_normalisation, check_function, check_network

NETS = """
import torch
from torch import nn
from torch.nn import functional as F
import roodbench
from detectors import Score
class Digits(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = roodbench.load_model("digits-cnn").backbone
    def forward(self, x):
        return self.net(x)
class Dropped(Digits):
    def forward(self, x):
        return self.net(F.dropout(x, 0.5, training=True))
class Beside(Digits):
    def forward(self, x):
        return self.net(x - x.mean())
class Batched(Digits):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(1, track_running_stats=False)
    def forward(self, x):
        return self.net(self.norm(x))
class Switched(Digits):
    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.5)
    def forward(self, x):
        return self.net(self.drop.train()(x))
class Stuck(Switched):
    def __init__(self):
        super().__init__()
        self.drop.train = lambda mode=True: self.drop
    def forward(self, x):
        return self.net(self.drop(x))
class Scaled(Digits):
    def forward(self, x):
        return self.net(x) * 1.5
class Soft(Digits):
    def forward(self, x):
        return self.net(x).softmax(1)
class LogSoft(Digits):
    def forward(self, x):
        return self.net(x).log_softmax(1)
class Own(Score):
    name = "own"
    def score(self, z, h):
        return 2 * z.exp().sum(1).log()
class Near(Score):
    name = "near"
    needs = frozenset({"features"})
    def score(self, z, h):
        return h.norm(dim=1)
"""
WIDE = """
import torch
from torch import nn
class Wide(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.fc = nn.Linear(256, 6)
    def forward(self, x):
        return self.fc(x.flatten(1))
"""
"""Takes images of 16 x 16 alone."""
RUN = ["--detector", "gen", "--attack", "none", "--limit", "8", "--ood", "noise", "--out", "runs"]


@pytest.fixture
def nets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("nets.py").write_text(NETS)


def run(capsys, *arguments):
    code = cli.main(list(arguments))
    return code, *capsys.readouterr()


REFUSED = {
    "Dropped": "network nets.py:Dropped gives an image other logits each time (by ",
    "Beside": "network nets.py:Beside gives an image other logits alone than in a batch (by ",
    "Batched": "without random layers and batch statistics: norm keeps no running statistics",
    "Stuck": "without random layers and batch statistics: drop stays in training mode",
    "Switched": "without random layers and batch statistics: drop stays in training mode",
}


@pytest.mark.usefixtures("nets")
@pytest.mark.parametrize("name", REFUSED)
def test_a_network_that_is_no_function_of_one_image_is_refused(name, capsys):
    code, out, err = run(capsys, *RUN, "--model", f"nets.py:{name}", "--mean", "0.5", "--std", "0.5")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert REFUSED[name] in err
    assert not list(Path().glob("runs/*/*.json"))


def test_a_function_of_one_image_passes(digits, digits_net):
    check_function(digits_net, x := digits.id_val.shard(0, 8))
    with pytest.raises(ValueError, match="network digits-cnn gives logits that are not finite: expected numbers"):
        check_function(digits_net, x * float("nan"))


@pytest.mark.usefixtures("nets")
def test_wrong_normalisation_is_noticed(digits, digits_net, capsys):
    wrong = roodbench.Classifier(digits_net.backbone, [3.0], [0.5], name="wrong")
    note = better_normalisation(wrong, digits, torch.device("cpu"))
    assert note.startswith("network wrong: 100% of 100 ID validation images are right with mean and std 0.5, ")
    assert note.endswith("is it --mean 0.5 --std 0.5?")
    assert better_normalisation(digits_net, digits, torch.device("cpu")) == ""
    code, _, err = run(capsys, *RUN, "--model", "nets.py:Digits", "--mean=-2", "--std", "0.5")
    assert code == 0
    assert err.count("is it --mean 0.5 --std 0.5?") == 1


@pytest.mark.usefixtures("nets")
def test_without_a_head_scores_of_logits_run_and_others_say_why(capsys):
    given = ["--model", "nets.py:Scaled", "--mean", "0.5", "--std", "0.5"]
    code, out, err = run(capsys, *RUN, *given)
    assert code == 0
    assert "AUROC" in out
    why = "the logits of Scaled are not those of its last linear layer net.head: something follows it"
    assert f"nets.py:Scaled shows no features: {why}; scores of logits run, --head NAME names the layer" in err
    code, out, err = run(capsys, *["knn" if word == "gen" else word for word in RUN], *given, "--quiet")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"knn needs penultimate features: {why}" in err
    code, _, err = run(capsys, *RUN, *given, "--head", "net.hiden")
    assert code == 2
    assert "head 'net.hiden': expected the name of a linear layer of Scaled, its last ones are net.hidden, net.h" in err


@pytest.mark.usefixtures("nets")
@pytest.mark.parametrize(
    ("name", "kind"), [("Soft", "probabilities"), ("LogSoft", "log-probabilities"), ("Digits", "")]
)
def test_a_softmax_at_the_end_is_noticed(name, kind, capsys):
    code, _, err = run(capsys, *RUN, "--model", f"nets.py:{name}", "--mean", "0.5", "--std", "0.5")
    seen = {"probabilities": "its outputs add up", "log-probabilities": "exp of its outputs adds up", "": ""}[kind]
    said = f"network nets.py:{name} gives {kind}, expected logits: {seen}"
    assert (code, err.count(said)) == (0, bool(kind))
    assert kind or "expected logits" not in err


LEFT_OUT = {
    "ebo": "ebo is the same for every image: network nets.py:LogSoft gives log-probabilities, expected logits: exp of "
    "its outputs adds up to 1 for every image, leave out its log_softmax",
    "nets.py:Own": "own is the same for every image: network nets.py:LogSoft gives ",
    "knn": "knn needs penultimate features: the logits of LogSoft are not those of its last linear layer net.head",
    "nets.py:Near": "near needs penultimate features: the logits of LogSoft are not those of its last linear layer",
}


@pytest.mark.usefixtures("nets")
@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_the_network_cannot_give_ends_a_detector_alone_and_leaves_it_out_of_several(name, capsys):
    own = ["--model", "nets.py:LogSoft", "--mean", "0.5", "--std", "0.5", *RUN[2:], "--quiet"]
    code, out, err = run(capsys, "--detector", name, *own)
    assert (code, out, err.count("error: ")) == (2, "", 1)
    assert LEFT_OUT[name] in err.splitlines()[-1]
    code, out, err = run(capsys, "--detector", f"msp,{name}", *own, "--format", "json")
    record = json.loads(out)
    assert (code, [entry["detector"] for entry in record["detectors"]]) == (0, ["msp"])
    assert f"{name} is left out: {LEFT_OUT[name]}" in err
    assert err.count(" is left out: ") == 1
    assert list(record["config"]["left_out"]) == [name]


@pytest.mark.usefixtures("nets")
def test_where_all_are_left_out_that_is_said(capsys):
    own = ["--model", "nets.py:Scaled", "--mean", "0.5", "--std", "0.5", *RUN[2:], "--quiet"]
    code, out, err = run(capsys, "--detector", "knn,ross", "--base", "vim", *own)
    assert (code, out, err.count(" is left out: "), err.count("\n")) == (2, "", 2, 3)
    assert "error: none of knn, ross can run on network nets.py:Scaled; take gen, ebo or another of logits" in err


def test_in_python_energy_on_log_probabilities_is_one_line(digits, digits_net):
    class LogSoft(torch.nn.Module):
        def forward(self, x):
            return digits_net(x).log_softmax(1)

    bench = roodbench.load_benchmark("digits", ood=["noise"], limit=4)
    for name, settings in {"ebo": {}, "pro": {"base": "ebo"}}.items():
        detector = detectors.create(name, LogSoft().eval(), **settings)
        with pytest.raises(detectors.NeedsError, match=r"^ebo is the same for every image: network LogSoft gives log-"):
            roodbench.evaluate(detector, bench, attack="none")
    roodbench.evaluate(detectors.create("msp", LogSoft().eval()), bench, attack="none")


def test_fewer_class_folders_than_classes_are_noticed(digits, digits_net, caplog):
    """The folder after a missing one would have its label."""
    for classes in (("a", "b", "d", "e", "f"), tuple("abcdef")):
        source = Source("folder 'x'", np.arange(2), ["0", "1"], lambda k: k, classes=classes)
        check_network(digits_net, replace(digits, id_train=placed(digits.id_train, source)), torch.device("cpu"))
    assert caplog.text.count("digits-cnn has 6 classes, ID train 5 class folders") == 1
    assert "(a is 0, f is 4): where one is missing" in caplog.text


def placed(images, source):
    """The set as if it came from a source."""
    found = copy.copy(images)
    found.source = source
    return found


@pytest.mark.usefixtures("nets")
def test_ones_own_network_scores_as_the_embedded_one(capsys):
    """Also of features, after folding; the record names it."""
    own = ["--model", "nets.py:Digits", "--mean", "0.5", "--std", "0.5"]
    areas = []
    for more in ([], own):
        command = ["--detector", "knn,ross", *RUN[2:], "--format", "json", *more]
        code, out, _ = run(capsys, *command)
        assert code == 0
        rows = json.loads(out)["rows"]
        areas.append([row["auroc"] for row in rows])
        assert {row["model"] for row in rows} == {own[1] if more else "digits-cnn"}
    assert areas[0] == pytest.approx(areas[1], abs=1e-6)


@pytest.mark.usefixtures("nets")
def test_inspect_shows_what_is_found(capsys):
    given = ["inspect", "--model", "nets.py:Digits", "--mean", "0.5", "--std", "0.5"]
    code, out, _ = run(capsys, *given)
    assert code == 0
    assert out.splitlines() == [
        "nets.py:Digits: 38,022 parameters, 6 classes",
        "layers: net (DigitsCNN)",
        "input: 1x8x8, pixels in [0, 1]",
        "normalisation: mean 0.5; std 0.5",
        "features: 64, the input of the last linear layer net.head",
        "prepared: 0 batch norms folded, up to 256 images a pass",
        "ID accuracy: 100.0% of 100 test images",
    ]
    code, out, err = run(capsys, *given, "--size", "16", "--format", "json")
    assert code == 2
    assert "cannot take (1, 8, 8) images" in err
    code, out, _ = run(capsys, "inspect", "--format", "json")
    found = json.loads(out)
    Path("wide.py").write_text(WIDE)
    code, out, _ = run(capsys, "inspect", "--model", "wide.py:Wide", "--size", "16")
    assert out.splitlines()[1:3] == [
        "layers: fc (Linear)",
        "input: 1x16x16, resized from 1x8x8 (bilinear), pixels in [0, 1]",
    ]
    assert (found["head"], found["features"], found["id_accuracy"], found["input"]) == ("head", 64, 1.0, [1, 8, 8])


@pytest.mark.usefixtures("nets")
def test_images_are_resized_inside_and_that_is_said(capsys):
    Path("wide.py").write_text(WIDE)
    code, _, err = run(capsys, *RUN, "--model", "wide.py:Wide", "--size", "16")
    assert code == 0
    assert "wide.py:Wide resizes images of 8x8 to 16x16 (--size 8 takes them as they are)" in err
    code, _, err = run(capsys, *RUN, "--model", "wide.py:Wide", "--quiet")
    assert (code, err.count("\n")) == (2, 1)
    assert "network wide.py:Wide cannot take (1, 8, 8) images: RuntimeError: " in err


MISTAKES = {
    "--size 16": "--size is said of a network: give --model too",
    "--model digits-cnn --std 0.5": "model digits-cnn takes no std: leave out --std",
    "--model openood:resnet18 --download": "model openood:resnet18 takes no download: leave out --download",
    "--model openood:resnet18 --threat-model L2": "takes no threat-model: leave out --threat-model",
    "--model nets.py:Digits --mean 0.5,x": "mean 'x': expected a number",
    "--model nets.py:Digits --std 0": "std 0: expected a number above 0, of pixels in [0, 1]",
    "--model nets.py:Digits --mean 51": "expected that of pixels in [0, 1]; of 0 to 255 divide by 255, 0.2, std too",
    "--model nets.py:Digits --mean 0.5,0.5": "network nets.py:Digits takes 2 channels: these images have 1",
    "--model nets.py:Digits --size 0.5": "size '0.5': expected a whole number",
    "--model nets.py:Digits --size 0": "size 0: expected at least 1 pixel",
    "--model nets.py:Digits --model-arg width": "model-arg 'width': expected key=value, such as depth=28",
    "--model nets.py:Digits --model-arg a=1 --model-arg a=2": "model-arg a is given twice: 1 and 2",
    "--model nets.py:Digits --model-arg a=1": "model 'nets.py:Digits': it takes no 'a': expected one of nothing",
}


@pytest.mark.usefixtures("nets")
@pytest.mark.parametrize("arguments", MISTAKES)
def test_mistakes_are_one_line(arguments, capsys):
    code, out, err = run(capsys, *RUN, *arguments.split())
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert MISTAKES[arguments] in err
