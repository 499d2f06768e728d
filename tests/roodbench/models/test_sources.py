"""Networks of every source: what a loaded one gives is what plain PyTorch computes with the same weights."""

import json
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

import detectors
import roodbench
from roodbench.models import openood
from roodbench.models.checkpoint import read_state
from roodbench.models.head import Body, backbone_of
from roodbench.models.robustbench import import_robustbench
from roodbench.models.source import CIFAR100, IMAGENET, OPENOOD, Wanted, fetched, file_hash
from roodbench.models.timm import import_timm
from roodbench.store.identity import identity
from roodbench.store.users import import_attribute
from roodbench.store.vision import import_torchvision

CLASSES = 6


def needed(load):
    """A package of an extra, or a skip that says how to install it."""
    try:
        return load()
    except ValueError as error:
        pytest.skip(str(error))


def stirred(net):
    """A network whose batch norms have statistics and scales of their own, in eval mode."""
    g = torch.Generator().manual_seed(0)
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.uniform_(-0.1, 0.1, generator=g)
            layer.running_var.uniform_(0.5, 2.0, generator=g)
    return net.eval()


def images(side, channels=3, n=3):
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(1))


def normalised(x, mean, std):
    return (x - torch.tensor(mean).view(1, -1, 1, 1)) / torch.tensor(std).view(1, -1, 1, 1)


@torch.no_grad()
def assert_scores(net, x, z, last):
    """msp, energy and GradNorm of a classifier are those by hand of logits z and of the input of layer `last`."""
    h = []
    hook = last.register_forward_pre_hook(lambda _, given: h.append(given[0]))
    z = z()
    hook.remove()
    h, p = h[0].flatten(1), z.softmax(1)
    close = {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(detectors.create("msp", net)(x), p.amax(1), **close)
    torch.testing.assert_close(detectors.create("ebo", net)(x), z.exp().sum(1).log(), **close)
    expected = h.abs().sum(1) * (z.shape[1] * p - 1).abs().sum(1)
    torch.testing.assert_close(detectors.create("gradnorm", net)(x), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(F.linear(h, net.head.weight, net.head.bias), z, rtol=1e-4, atol=1e-4)


def test_torchvision(tmp_path):
    models = needed(import_torchvision).models
    plain, x = stirred(models.resnet18(num_classes=CLASSES)), images(64)
    torch.save({"state_dict": {f"module.{k}": v for k, v in plain.state_dict().items()}}, tmp_path / "r.pt")
    net = roodbench.load_model("torchvision:resnet18", checkpoint=tmp_path / "r.pt", sample=x)
    assert_scores(net, x, lambda: plain(normalised(x, *IMAGENET)), plain.fc)
    assert net.files == {"r.pt": file_hash(tmp_path / "r.pt")}
    own = detectors.create("gradnorm", plain)(normalised(x, *IMAGENET))  # the plain network, from Python
    torch.testing.assert_close(own, detectors.create("gradnorm", net)(x), rtol=1e-4, atol=1e-4)
    fast = roodbench.prepare(net, x, compile="off")
    assert fast.backbone.folds == 20
    torch.testing.assert_close(fast(x), net(x), rtol=1e-4, atol=1e-4)


def test_timm_with_its_own_normalisation_and_size(tmp_path):
    timm = needed(import_timm)
    plain, x = stirred(timm.create_model("vit_tiny_patch16_224", num_classes=CLASSES)), images(32)
    save_file(plain.state_dict(), tmp_path / "v.safetensors")
    net = roodbench.load_model("timm:vit_tiny_patch16_224", checkpoint=tmp_path / "v.safetensors", sample=x)
    assert (net.backbone.size, net.backbone.interpolation) == ((224, 224), "bicubic")
    large = F.interpolate(normalised(x, [0.5] * 3, [0.5] * 3), (224, 224), mode="bicubic", antialias=True)
    assert_scores(net, x, lambda: plain(large), plain.head)
    own = detectors.create("gradnorm", plain)(large)
    torch.testing.assert_close(own, detectors.create("gradnorm", net)(x), rtol=1e-4, atol=1e-4)


def test_timm_on_images_of_another_size(tmp_path):
    timm = needed(import_timm)
    plain, x = stirred(timm.create_model("mobilenetv3_small_050", num_classes=CLASSES)), images(64)
    torch.save(plain.state_dict(), tmp_path / "m.pth")
    net = roodbench.load_model("timm:mobilenetv3_small_050", checkpoint=tmp_path / "m.pth", sample=x)
    assert net.backbone.size is None
    assert_scores(net, x, lambda: plain(normalised(x, *IMAGENET)), plain.classifier)


def test_robustbench_from_its_own_folders(tmp_path):
    utils = needed(import_robustbench)
    name, threat, x = "Hendrycks2020AugMix_ResNeXt", "corruptions", images(32)
    zoo = {key.value: models for key, models in utils.all_models.items()}
    make = next(m for key, m in zoo["cifar10"].items() if key.value == threat)[name]["model"]
    plain = stirred(make())
    folder = tmp_path / "cifar10" / threat
    folder.mkdir(parents=True)
    torch.save({"state_dict": {f"module.{k}": v for k, v in plain.state_dict().items()}}, folder / f"{name}.pt")
    net = roodbench.load_model(f"robustbench:{name}", threat_model=threat, model_dir=tmp_path)
    assert_scores(net, x, lambda: plain(x), plain.classifier)
    for wrong, message in {
        "robustbench:Hendrycks2020AugMix_ResNeXd": "did you mean 'Hendrycks2020AugMix_ResNeXt'?",
        "robustbench:Carmon2019Unlabeled": "is not one of cifar10, corruptions: give --model-arg dataset=cifar10 --thr",
        "robustbench:Hendrycks2020AugMix_WRN": "WRN.pt': give --model-dir DIR, or --download",
    }.items():
        with pytest.raises(ValueError, match=message):
            roodbench.load_model(wrong, threat_model=threat, model_dir=tmp_path)
    for content, message in ((b"<!DOCTYPE html><html>", "an HTML page"), (b"PK\x03\x04half", "is cut off")):
        (folder / f"{name}.pt").write_bytes(content)
        with pytest.raises(ValueError, match=message):
            roodbench.load_model(f"robustbench:{name}", threat_model=threat, model_dir=tmp_path)


SMALL = {"resnet18": 32, "wrn40-2": 32, "densenet": 32, "resnet18-224": 64}


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("classes", [10, 100])
def test_openood_checkpoints(name, classes, tmp_path):
    plain, x = stirred(openood.ARCHITECTURES[name].make(classes)), images(SMALL[name], n=2)
    state = {f"module.{key}": value for key, value in plain.state_dict().items()}
    torch.save(state if classes == 10 else {"net": state, "epoch": 3}, tmp_path / "best.ckpt")
    net = roodbench.load_model(f"openood:{name}", checkpoint=tmp_path / "best.ckpt")
    numbers = IMAGENET if name.endswith("224") else OPENOOD if classes == 10 else CIFAR100
    assert_scores(net, x, lambda: plain(normalised(x, *numbers)), plain.fc)


COUNTS = {"resnet18-224": 11_689_512, "resnet50": 25_557_032, "wrn28-10": 36_479_194, "densenet": 769_162}
"""Published numbers of parameters, of 1000 and of 10 classes."""


@pytest.mark.parametrize("name", COUNTS)
def test_openood_architectures_have_the_published_size(name):
    with torch.device("meta"):
        net = openood.ARCHITECTURES[name].make(1000 if name.startswith("resnet") else 10)
    assert sum(p.numel() for p in net.parameters()) == COUNTS[name]


def test_openood_resnets_are_torchvisions(tmp_path):
    """The names of the state dict, and the logits: our own ResNet-50 with torchvision's weights."""
    models = needed(import_torchvision).models
    plain, x = stirred(models.resnet50(num_classes=CLASSES)), images(64)
    torch.save(plain.state_dict(), tmp_path / "r.pt")
    net = roodbench.load_model("openood:resnet50", checkpoint=tmp_path / "r.pt")
    assert_scores(net, x, lambda: plain(normalised(x, *IMAGENET)), plain.fc)


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
    with pytest.raises(ValueError, match="unknown timm model 'resnet8': did you mean"):
        roodbench.load_model("timm:resnet8")


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
