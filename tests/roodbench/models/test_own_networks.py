"""Networks of one's own, and files that are fetched: what is loaded, refused, and part of what is kept."""

import json
import threading
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import detectors
import roodbench
from roodbench.models.checkpoint import read_state
from roodbench.models.head import Body, backbone_of
from roodbench.models.source import Wanted, fetched, file_hash
from roodbench.models.timm import import_timm
from roodbench.store.identity import identity
from roodbench.store.users import import_attribute
from tests.roodbench.models.by_hand import assert_scores, images, needed

MINE = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self, width=8, *, depth=1, act="relu"):
        super().__init__()
        act = {"relu": nn.ReLU, "tanh": nn.Tanh}[act]
        hidden = [layer for _ in range(depth) for layer in (nn.LazyLinear(width), act())]
        self.net = nn.Sequential(nn.Flatten(), *hidden, nn.LazyLinear(6))
        self.net(torch.zeros(1, 1, 8, 8))
    def forward(self, x):
        return self.net(x)
def make(width):
    return Net(width)
def Seeded(act="relu"):
    torch.manual_seed(0)
    return Net(act=act)
def failing():
    raise RuntimeError("no")
torch.manual_seed(0)
net = Net()
number = 3
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mynet.py").write_text(MINE)
    return tmp_path


def test_ones_own_network(mine, digits):
    x = digits.id_val.shard(0, 4)
    net = roodbench.load_model("mynet.py:net", mean=[0.5], std=[0.5], sample=x)
    from mynet import net as plain

    assert_scores(net, x, lambda: plain((x - 0.5) / 0.5), plain.net[3])
    assert plain.training
    torch.save(plain.state_dict(), "w.pt")
    again = roodbench.load_model("mynet:make", model_args={"width": 8}, checkpoint="w.pt", sample=x)
    assert_scores(again, x, lambda: plain(x), plain.net[3])
    resized = roodbench.load_model("mynet.py:net", size=8, sample=images(16, 1))
    small = F.interpolate(images(16, 1), (8, 8), mode="bilinear", antialias=True)
    assert_scores(resized, images(16, 1), lambda: plain(small), plain.net[3])


NOT_MINE = {
    "mynet.py:Nett": ({}, "did you mean 'Net'?"),
    "mynet.py:make": ({}, "'mynet.py:make': it needs width: give --model-arg width=VALUE"),
    "mynet:make": ({"model_args": {"widht": 3}}, "it takes no 'widht': did you mean 'width'. expected one of width"),
    "mynet.py:net": ({"model_args": {"width": 3}}, "is a network already: leave out --model-arg width"),
    "mynet.py:number": ({}, "is the int 3: expected an nn.Module, or what makes one"),
    "mynet.py:failing": ({}, r"cannot be made \(RuntimeError: no \(mynet.py:19\)\)"),
    "mynet.py:Net": ({"sample": images(9, 1)}, r"cannot take \(1, 9, 9\) images: RuntimeError: "),
    "tim:resnet18": ({}, "cannot import 'tim'.*did you mean timm:resnet18"),
    "cifar-resnet20": ({"threat_model": "L2"}, "model cifar-resnet20 takes no threat-model: leave out --threat-model"),
    "openood:resnet18": ({}, "needs weights: give --checkpoint FILE"),
    "digits-cnn": ({"mean": [0.1]}, "model digits-cnn takes no mean: leave out --mean"),
}


@pytest.mark.usefixtures("mine")
@pytest.mark.parametrize("name", NOT_MINE)
def test_what_is_no_network_is_one_line(name):
    given, message = NOT_MINE[name]
    with pytest.raises(ValueError, match=message) as found:
        roodbench.load_model(name, **given)
    assert "\n" not in str(found.value)


@pytest.mark.usefixtures("mine")
def test_what_is_kept_depends_on_weights_and_preprocessing():
    """Of everything that may be said of a network, both its hash and the identity of a detector on it."""
    torch.save({k: v + 0.1 for k, v in import_attribute("mynet.py:net").state_dict().items()}, "w.pt")
    said = [{}, {"mean": [0.5]}, {"std": [0.5]}, {"size": 8}, {"checkpoint": "w.pt"}, {"model_args": {"act": "tanh"}}]
    x = images(8, 1)
    nets = [roodbench.load_model("mynet.py:Seeded", sample=x, **given) for given in said]
    keys = [json.dumps(identity(detectors.create("gen", net))) for net in nets]
    assert len(set(keys)) == len(said)
    assert len({net.fingerprint() for net in nets}) == len(said) - 1  # the code is in the identity


class Reads(nn.Module):
    """Reads the weight of its own head beside calling it."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(12, 5)

    def forward(self, x):
        return self.fc(x.flatten(1)) + 0 * self.fc.weight.sum()


class Locked(Reads):
    """Cannot be copied."""

    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()

    def forward(self, x):
        return self.fc(x.flatten(1))


@pytest.mark.parametrize("kind", [Reads, Locked])
def test_a_head_that_cannot_be_taken_out_is_hooked(kind):
    net, x = kind(), images(2)
    body = backbone_of(net, x)
    assert isinstance(body, Body)
    assert (body.hooked, body.layer) == (True, "fc")
    torch.testing.assert_close(body.features(x), x.flatten(1))
    torch.testing.assert_close(body(x), net(x))
    plain = roodbench.Classifier(body, [0.0] * 3, [1.0] * 3, name="hooked")
    torch.testing.assert_close(roodbench.prepare(plain, x)(x), net(x))


def test_weights_that_are_not_there_are_not_fetched(tmp_path):
    needed(import_timm)
    for spec, place in {"torchvision:resnet18": "download.pytorch.org", "timm:resnet18": "huggingface.co"}.items():
        with pytest.raises(
            ValueError, match=rf"needs weights: give --checkpoint FILE, or --download for https://{place}"
        ):
            roodbench.load_model(spec, model_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "x.pt")
    for spec in ("torchvision:resnet18", "timm:resnet18"):
        with pytest.raises(ValueError, match=rf"model {spec} cannot be made: TypeError: .*unexpected keyword"):
            roodbench.load_model(spec, checkpoint=tmp_path / "x.pt", model_args={"widht": 2})
    (tmp_path / "x.pt").unlink()
    with pytest.raises(ValueError, match="unknown torchvision model 'resnet81': did you mean"):
        roodbench.load_model("torchvision:resnet81")
    with pytest.raises(ValueError, match="unknown timm model 'resnet181': did you mean 'resnet18'"):
        roodbench.load_model("timm:resnet181")


def test_what_is_fetched_is_weights_or_is_not_kept(tmp_path):
    """From a file's address: nothing here needs a network."""
    torch.save({"w": torch.zeros(2)}, tmp_path / "there.pt")
    (tmp_path / "page.pt").write_text("<!DOCTYPE html>")
    place = tmp_path / "kept" / "net.pt"
    for name in ("page.pt", "absent.pt"):
        with pytest.raises(OSError, match=rf"model net.*file://.*{name}"):
            fetched("net", (tmp_path / name).as_uri(), Wanted(download=True), place)
        assert list(place.parent.iterdir()) == []
    assert fetched("net", (tmp_path / "there.pt").as_uri(), Wanted(download=True), place) == place
    assert read_state(place)["w"].shape == (2,)
    assert fetched("net", "https://nowhere.invalid", Wanted(), place) == place


def test_the_record_names_network_and_file(mine, capsys):
    torch.save(import_attribute("mynet.py:net").state_dict(), "w.pt")
    command = "--detector gen --attack none --limit 8 --ood noise --model mynet.py:Net --checkpoint w.pt --format json"
    records = []
    for more in ("", "--mean 0.5", "--model-arg act=tanh"):
        assert roodbench.cli.main([*command.split(), *more.split(), "--out", "runs"]) == 0
        records.append(json.loads(capsys.readouterr().out))
    assert {record["config"]["model"] for record in records} == {"mynet.py:Net"}
    assert records[0]["config"]["checkpoint_sha256"] == {"w.pt": file_hash(Path("w.pt"))}
    assert len({record["config"]["network_sha256"] for record in records}) == 2  # the weights, and the mean
    assert len({record["rows"][0]["auroc"] for record in records}) == 3
