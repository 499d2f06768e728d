"""--trust-checkpoint: files of weights that hold more than tensors, at every loader and verb."""

import argparse
import json

import pytest
import torch
from torch import nn

import roodbench
from roodbench import cli
from roodbench.models import openood
from roodbench.models.checkpoint import read_state
from roodbench.models.load import SOURCES, taken_by
from roodbench.models.resnet import ResNet, ResNet18
from roodbench.models.robustbench import import_robustbench
from roodbench.models.timm import import_timm
from roodbench.store.vision import import_torchvision
from tests.roodbench.models.by_hand import images, needed

ARGS = argparse.Namespace(lr=0.1)
"""What people save beside weights, and what unpickling alone brings back."""
NET = """from torch import nn
def make():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 6))
"""


def refused(file, load):
    """A checkpoint is one line that names file, content and option; trusted, its network."""
    with pytest.raises(ValueError, match=rf"{file.name}.*holds more than tensors") as found:
        load()
    assert "--trust-checkpoint" in str(found.value)
    assert "\n" not in str(found.value)
    return load(trust_checkpoint=True)


@pytest.mark.parametrize("kind", ["beside", "whole", "nested"])
def test_what_a_trusted_file_may_hold(kind, tmp_path, caplog):
    net, file = nn.Sequential(nn.Linear(2, 3)), tmp_path / "x.pt"
    torch.save({"beside": {"net": net.state_dict(), "args": ARGS}, "whole": net, "nested": {"model": net}}[kind], file)
    what = "argparse.Namespace" if kind == "beside" else "torch.nn.modules.container.Sequential"
    with pytest.raises(ValueError, match=rf"x.pt' holds more than tensors, such as {what}, and is not unpickled"):
        read_state(file)
    assert not caplog.records
    found = read_state(file, trust=True)
    assert all(torch.equal(found[key], value) for key, value in net.state_dict().items())
    assert caplog.messages == [f"checkpoint '{file}' is unpickled, which runs code in it: --trust-checkpoint"]


def test_a_file_of_tensors_is_not_unpickled_though_it_is_trusted(tmp_path, caplog):
    torch.save(nn.Linear(2, 3).state_dict(), tmp_path / "x.pt")
    read_state(tmp_path / "x.pt", trust=True)
    assert not caplog.records


class Gone:
    """What fails as it is unpickled."""

    def __reduce__(self):
        return (int, ("no\nnumber",))


def test_what_cannot_be_unpickled_is_one_line(tmp_path):
    torch.save([Gone()], tmp_path / "x.pt")
    with pytest.raises(ValueError, match=r"x.pt' cannot be unpickled \(ValueError: .*\): is the code that") as e:
        read_state(tmp_path / "x.pt", trust=True)
    assert "\n" not in str(e.value)


def test_every_source_of_weights_takes_it():
    names = ["cifar-resnet20", "mine.py:net", *(f"{source}:resnet18" for source in SOURCES)]
    assert all("trust_checkpoint" in taken_by(name) for name in names)
    with pytest.raises(ValueError, match="model digits-cnn takes no trust-checkpoint: leave out --trust-checkpoint"):
        roodbench.load_model("digits-cnn", trust_checkpoint=True)


@pytest.mark.parametrize("name", ["cifar-resnet20", "openood:resnet18", "torchvision:resnet18", "timm:resnet18"])
def test_loaders(name, tmp_path):
    make = {
        "cifar-resnet20": lambda: ResNet(20),
        "openood:resnet18": lambda: ResNet18(),
        "torchvision:resnet18": lambda: needed(import_torchvision).models.resnet18(num_classes=3),
        "timm:resnet18": lambda: needed(import_timm).create_model("resnet18", num_classes=3),
    }[name]
    assert set(openood.ARCHITECTURES) >= {"resnet18"}
    file = tmp_path / "x.pt"
    torch.save({"state_dict": make().state_dict(), "args": ARGS}, file)
    net = refused(file, lambda **more: roodbench.load_model(name, checkpoint=file, sample=images(32), **more))
    assert net(images(32)).shape[1] in (3, 10)


def test_robustbench(tmp_path, caplog):
    utils = needed(import_robustbench)
    name, threat = "Hendrycks2020AugMix_ResNeXt", "corruptions"
    zoo = {key.value: models for key, models in utils.all_models.items()}
    make = next(m for key, m in zoo["cifar10"].items() if key.value == threat)[name]["model"]
    file = tmp_path / "cifar10" / threat / f"{name}.pt"
    file.parent.mkdir(parents=True)
    torch.save({"state_dict": make().state_dict(), "args": ARGS}, file)
    given = {"threat_model": threat, "model_dir": tmp_path, "sample": images(32)}
    with pytest.raises(ValueError, match=r"holds more than tensors and is not unpickled: .* give --trust-checkpoint"):
        roodbench.load_model(f"robustbench:{name}", **given)
    assert roodbench.load_model(f"robustbench:{name}", **given, trust_checkpoint=True)(images(32)).shape == (3, 10)
    assert caplog.messages == [f"checkpoint '{file}' is unpickled, which runs code in it: --trust-checkpoint"]


VERBS = {
    "run": "--detector gen --limit 4 --attack none",
    "inspect": "",
    "check": "--detector gen --limit 4 --steps 1 --ood unseen-digits --eps 0",
    "certify": "--limit 2 --samples 100 --attack none --radius 0.1 --ood unseen-digits",
}


@pytest.mark.parametrize("verb", VERBS)
def test_verbs(verb, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mynet.py").write_text(NET)
    torch.manual_seed(0)
    torch.save({"net": nn.Sequential(nn.Flatten(), nn.Linear(64, 6)).state_dict(), "args": ARGS}, tmp_path / "x.pt")
    given = [verb, *VERBS[verb].split(), "--model", "mynet.py:make", "--checkpoint", "x.pt"]
    given += [] if verb == "inspect" else ["--out", "runs"]
    assert cli.main([*given, "--quiet"]) == 2
    err = capsys.readouterr().err
    assert "checkpoint 'x.pt' holds more than tensors, such as argparse.Namespace," in err
    assert "or give --trust-checkpoint" in err
    assert err.count("\n") == 1
    assert cli.main([*given, "--quiet", "--trust-checkpoint", "--format", "json"]) == 0
    out, err = capsys.readouterr()
    assert "checkpoint 'x.pt' is unpickled, which runs code in it: --trust-checkpoint" in err
    assert json.loads(out)
