"""Networks of every source: what a loaded one gives is what plain PyTorch computes with the same weights."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

import detectors
import roodbench
from roodbench import cli
from roodbench.models import openood
from roodbench.models.robustbench import import_robustbench
from roodbench.models.source import CIFAR100, IMAGENET, OPENOOD, file_hash
from roodbench.models.timm import import_timm
from roodbench.store.vision import import_torchvision
from tests.roodbench.data.pictures import WHOLE, own_folder
from tests.roodbench.models.by_hand import assert_scores, images, needed, normalised, stirred

CLASSES = 6


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


PAPERS = {
    "Standard": "cifar10",
    "Diffenderfer2021Winning_LRR": "cifar10",
    "Diffenderfer2021Winning_Binary": "cifar10",
    "Hendrycks2020AugMix_ResNeXt": "cifar10",
    "Diffenderfer2021Winning_LRR_CARD_Deck": "cifar100",
}
"""Networks of PRO's paper, and the data set of their weights."""


@pytest.mark.slow
@pytest.mark.parametrize("name", PAPERS)
def test_robustbench_networks_of_the_paper(name, tmp_path):
    utils, dataset = needed(import_robustbench), PAPERS[name]
    zoo = {key.value: {threat.value: its for threat, its in kinds.items()} for key, kinds in utils.all_models.items()}
    plain, x = zoo[dataset]["corruptions"][name]["model"](), images(32)
    folder = tmp_path / dataset / "corruptions"
    folder.mkdir(parents=True)
    stirred(plain)
    members = {f"{name}.pt": plain}
    if name.endswith("CARD_Deck"):
        members = {f"{name}.pt_m{i}.pt": member for i, member in enumerate(plain.models)}
    for file, member in members.items():
        torch.save(member.state_dict(), folder / file)
    given = {"threat_model": "corruptions", "model_dir": tmp_path, "model_args": {"dataset": dataset}}
    net = roodbench.load_model(f"robustbench:{name}", **given)
    assert list(net.files) == list(members)
    with torch.no_grad():
        z = plain(x)
        torch.testing.assert_close(net(x), z, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(detectors.create("ebo", net)(x), z.logsumexp(1), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(roodbench.prepare(net, x, compile="off")(x), z, rtol=1e-3, atol=1e-3)
    assert bool(net.headless) == name.endswith("CARD_Deck")


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


def of_godin(plain, g):
    """A state dict as OpenOOD names its parts: backbone.*, h.h.*, g.0.*, g.1.*."""
    parts = {"g.": g, "h.h.": plain.fc, "backbone.": plain}
    state = {f"module.{at}{key}": value for at, part in parts.items() for key, value in part.state_dict().items()}
    return {key: value for key, value in state.items() if not key.startswith("module.backbone.fc.")}


def divisor(inputs):
    return stirred(nn.Sequential(nn.Linear(inputs, 1), nn.BatchNorm1d(1), nn.Sigmoid()))


def divided(kind, weight, bias, h):
    """The dividend of GODIN's logits by hand, class after class."""
    if kind == "inner":
        return torch.stack([(w * h).sum(1) + b for w, b in zip(weight, bias, strict=True)], 1)
    if kind == "euclid":
        return torch.stack([-((h - w) ** 2).mean(1) for w in weight], 1)
    return torch.stack([(h * w).sum(1) / ((h.norm(dim=1) + 1e-4) * (w.norm() + 1e-4)) for w in weight], 1)


@pytest.mark.parametrize("kind", ["cosine", "inner", "euclid"])
def test_openood_checkpoints_of_godin(kind, tmp_path):
    plain, x = stirred(openood.ARCHITECTURES["wrn40-2"].make(CLASSES)), images(32, n=4)
    h, g = plain.fc, divisor(128)
    state = of_godin(plain, g)
    if kind != "inner":
        del state["module.h.h.bias"]
    torch.save(state, tmp_path / "best.ckpt")
    args = {"similarity": "euclid"} if kind == "euclid" else {}
    net = roodbench.load_model("openood:wrn40-2", checkpoint=tmp_path / "best.ckpt", model_args=args)
    features = plain.features(normalised(x, *OPENOOD))
    logits, found = divided(kind, h.weight, h.bias, features), net.outputs(x)
    torch.testing.assert_close(found.features, features, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.logits, logits / g(features), rtol=1e-5, atol=1e-5)
    fast = roodbench.prepare(net, x, compile="off")
    for name, score in {"g-odin": logits.amax(1), "ebo": (logits / g(features)).logsumexp(1)}.items():
        settings = {"step_size": 0.0} if name == "g-odin" else {}
        for one in (net, fast):
            torch.testing.assert_close(detectors.create(name, one, **settings)(x), score, rtol=1e-4, atol=1e-5)
    for name in ("vim", "scale", "gradnorm"):
        with pytest.raises(detectors.NeedsError, match=f"{name} needs the last linear layer of Classifier as its attr"):
            detectors.create(name, net).check_network(x)


def test_godin_through_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    own_folder(tmp_path / "pets")
    Path("pets", "benchmark.toml").write_text(WHOLE.replace("size = 8\nresize = 9", "size = 32"))
    torch.save(of_godin(openood.ARCHITECTURES["wrn40-2"].make(2), divisor(128)), "godin.ckpt")
    network = ["--benchmark", "pets", "--model", "openood:wrn40-2", "--checkpoint", "godin.ckpt", "--out", "runs"]
    few = ["--attack", "none", "--param", "step_size=0.01", "--ood", "noise", "--limit", "4"]
    code = cli.main(["--detector", "g-odin,vim", *network, *few, "--format", "json"])
    out, err = capsys.readouterr()
    assert code == 0, err
    assert {row["detector"] for row in json.loads(out)["rows"]} == {"g-odin"}
    assert "vim is left out: vim needs the last linear layer of Classifier as its attribute `head`" in err


WRONG = {
    "similarity": ("euclidean", "unknown similarity of this checkpoint 'euclidean': did you mean 'euclid'?"),
    "depth": (3, "model-arg depth: openood:wrn40-2 takes similarity alone"),
}


@pytest.mark.parametrize("key", WRONG)
def test_arguments_that_a_checkpoint_of_godin_does_not_take(key, tmp_path):
    value, message = WRONG[key]
    torch.save({"h.h.weight": torch.zeros(CLASSES, 128)}, tmp_path / "godin.ckpt")
    load = {"checkpoint": tmp_path / "godin.ckpt", "model_args": {key: value}}
    with pytest.raises(ValueError, match=re.escape(message)):
        roodbench.load_model("openood:wrn40-2", **load)
    torch.save(openood.ARCHITECTURES["wrn40-2"].make(CLASSES).state_dict(), tmp_path / "godin.ckpt")
    with pytest.raises(ValueError, match=f"model-arg {key}: openood:wrn40-2 takes none but similarity, with a check"):
        roodbench.load_model("openood:wrn40-2", **load)


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
