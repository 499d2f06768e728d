"""Networks: the embedded ones and their recipe, public checkpoints, checkpoints that do not fit."""

import os
import pickle
import re
import subprocess
import sys
from hashlib import sha256

import pytest
import torch
from safetensors.torch import load_file, save_file

import roodbench
from roodbench.cli import main
from roodbench.models.digits import TRAINED, classifier
from roodbench.models.resnet import ResNet, ResNet18
from roodbench.models.train import RECIPES, Recipe, accuracy, train


@pytest.mark.parametrize("name", ["digits-cnn", "digits-cnn-at"])
def test_shipped_networks_classify_every_test_image(name, digits):
    x, y = digits.id_test.shard(0, 333), digits.id_test.labels
    logits, classes = roodbench.load_model(name)(x).topk(2)
    assert torch.equal(classes[:, 0], y)
    assert (logits[:, 0] - logits[:, 1]).min() > 1


def test_classifier_seam(digits, digits_net):
    x = digits.id_test.shard(0, 5)
    z, h = digits_net.outputs(x)
    assert z.shape == (5, 6)
    assert h.shape == (5, 64)
    assert torch.equal(z, digits_net(x))
    torch.testing.assert_close(z, digits_net.head(h))
    assert not digits_net.training
    assert not digits_net.train().training
    assert not any(p.requires_grad for p in digits_net.parameters())
    torch.testing.assert_close(digits_net.normalized()((x - 0.5) / 0.5), z)


def test_loading_the_shipped_networks_writes_nothing_and_needs_no_cache():
    code = (
        "import os, sys, torch, roodbench\n"
        "changes = {'os.mkdir', 'os.rename', 'os.remove', 'os.truncate', 'tempfile.mkstemp', 'tempfile.mkdtemp'}\n"
        "def hook(event, args):\n"
        "    writes = event == 'open' and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)\n"
        "    if writes or event in changes: print(event, args)\n"
        "sys.addaudithook(hook)\n"
        "for name in ('digits-cnn', 'digits-cnn-at'): roodbench.load_model(name)\n"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": os.devnull + "/none", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == ""


def test_shipped_weights_have_the_hashes_their_readme_states():
    stated = dict(re.findall(r"`(digits-\S+\.safetensors)`.*?`([0-9a-f]{64})`", (TRAINED / "README.md").read_text()))
    assert set(stated) == {f"digits-{name}.safetensors" for name in ("cnn", "cnn-at", "denoiser")}
    assert stated == {file.name: sha256(file.read_bytes()).hexdigest() for file in TRAINED.glob("*.safetensors")}


@pytest.mark.parametrize("fault", ["missing", "cut short", "of another network", "flipped", "swapped"])
def test_a_damaged_installation_is_one_clear_line(fault, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("roodbench.models.digits.TRAINED", tmp_path)
    file = tmp_path / "digits-cnn.safetensors"
    if fault == "cut short":
        file.write_bytes((TRAINED / file.name).read_bytes()[:1000])
    elif fault == "of another network":
        save_file({"conv1.weight": torch.zeros(2)}, file)
    elif fault == "flipped":
        content = (TRAINED / file.name).read_bytes()
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif fault == "swapped":
        file.write_bytes((TRAINED / "digits-cnn-at.safetensors").read_bytes())
    assert main(["--detector", "msp", "--attack", "none"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(r"digits-cnn, a part of RoodBench, is missing or damaged \(.+\): install roodbench again$", line)


def test_training_depends_on_its_seed_alone():
    first, again, other = (train(Recipe(epochs=2, seed=seed)).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "attacked"), [("digits-cnn", 0.75), ("digits-cnn-at", 0.90)])
def test_the_recipe_reaches_the_shipped_accuracy(name, attacked, digits):
    """Rounding differs between machines, so that a retrained network is like one of another seed.

    Measured, of 333 images: digits-cnn (seeds 0 to 4) 331 to 333 right, under PGD at 0.125 270 to 285; digits-cnn-at
    (seeds 0 to 2) 333 right, under PGD 308 to 312. The bounds are 327 right and, under PGD, 250 and 300.
    """
    for net in (roodbench.load_model(name), classifier(train(RECIPES[name]), name)):
        assert accuracy(net, digits.id_test) >= 0.98
        assert accuracy(net, digits.id_test, eps=0.125) >= attacked


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cifar10_resnet20", 0.915),
        pytest.param("cifar10_resnet32", 0.928, marks=pytest.mark.slow),
        pytest.param("cifar10_resnet44", 0.933, marks=pytest.mark.slow),
        pytest.param("cifar10_resnet56", 0.926, marks=pytest.mark.slow),
        ("cifar10_at_resnet2b", 0.703),
        ("cifar10_at_resnet4b", 0.771),
    ],
)
def test_public_checkpoints_have_their_published_accuracy(name, expected, data_root):
    bench = roodbench.load_benchmark("cifar10", root=data_root)
    model = name.replace("cifar10_", "cifar-").replace("_", "-")
    net = roodbench.load_model(model, checkpoint=data_root / "weights" / f"{name}.safetensors")
    right = 800 * accuracy(net, bench.id_test) + 200 * accuracy(net, bench.id_val)
    assert right / 1000 == pytest.approx(expected, abs=0.0006)


@pytest.fixture
def state():
    return ResNet(20).state_dict()


def test_torch_state_dicts_load(tmp_path, state):
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}, "epoch": 3}, tmp_path / "a.th")
    torch.save(state, tmp_path / "b.pt")
    save_file(state, tmp_path / "c.safetensors")
    nets = [roodbench.load_model("cifar-resnet20", checkpoint=tmp_path / f) for f in ("a.th", "b.pt", "c.safetensors")]
    assert len({net.fingerprint() for net in nets}) == 1


def test_checkpoints_that_do_not_fit_say_why(tmp_path, state):
    file = tmp_path / "x.pt"
    torch.save({**state, "linear.weight": torch.zeros(100, 64), "extra": torch.zeros(3)}, file)
    with pytest.raises(ValueError, match=r"unexpected extra \(3,\); linear.weight is \(100, 64\), expected \(10, 64\)"):
        roodbench.load_model("cifar-resnet20", checkpoint=file)
    with pytest.raises(
        ValueError, match=r"does not fit cifar-resnet32: missing layer1.3.conv1.weight \(16, 16, 3, 3\)"
    ):
        roodbench.load_model("cifar-resnet32", checkpoint=file)
    torch.save({**state, "conv1.weight": torch.full_like(state["conv1.weight"], torch.nan)}, file)
    with pytest.raises(ValueError, match=r"conv1.weight has non-finite values"):
        roodbench.load_model("cifar-resnet20", checkpoint=file)


class Evil:
    def __reduce__(self):
        return print, ("unpickled",)


def test_files_that_are_no_state_dict(tmp_path, capsys):
    for name, write in {
        "a.pt": lambda f: f.write_text("hello"),
        "b.safetensors": lambda f: f.write_bytes(b"\x00" * 20),
        "c.pt": lambda f: torch.save([1, 2], f),
        "d.th": lambda f: torch.save({"a": "text"}, f),
        "e.pt": lambda f: torch.save(Evil(), f),
        "f.pt": lambda f: f.write_bytes(pickle.dumps(Evil())),
        "g.pt": lambda f: f.write_bytes(b""),
    }.items():
        write(tmp_path / name)
        with pytest.raises(ValueError, match=rf"checkpoint '.*{name}' (is not a|holds more)"):
            roodbench.load_model("cifar-resnet20", checkpoint=tmp_path / name)
    assert "unpickled" not in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"nothing.pt' not found"):
        roodbench.load_model("cifar-resnet20", checkpoint=tmp_path / "nothing.pt")
    with pytest.raises(ValueError, match="needs weights: give --checkpoint"):
        roodbench.load_model("cifar-resnet20")
    with pytest.raises(ValueError, match="did you mean 'digits-cnn'"):
        roodbench.load_model("digits-cn")


def test_real_checkpoint_round_trip(tmp_path, data_root):
    source = data_root / "weights" / "cifar10_resnet20.safetensors"
    torch.save(load_file(source), tmp_path / "same.pth")
    a = roodbench.load_model("cifar-resnet20", checkpoint=source)
    b = roodbench.load_model("cifar-resnet20", checkpoint=tmp_path / "same.pth")
    assert a.fingerprint() == b.fingerprint()


def test_openood_resnet18_has_openoods_weights_and_folds(tmp_path):
    """The state dict's names and shapes are those of OpenOOD's ResNet18_32x32; 20 batch norms fold away."""
    net = ResNet18()
    state = net.state_dict()
    assert state["layer2.0.shortcut.0.weight"].shape == (128, 64, 1, 1)
    assert state["layer4.1.bn2.running_var"].shape == (512,)
    assert state["fc.weight"].shape == (10, 512)
    assert sum(v.numel() for k, v in state.items() if "num_batches" not in k) == 11_183_562
    torch.save(state, tmp_path / "resnet18.pt")
    loaded = roodbench.load_model("openood-resnet18", checkpoint=tmp_path / "resnet18.pt")
    x = torch.rand(2, 3, 32, 32)
    fast = roodbench.prepare(loaded, x, compile="off")
    assert fast.backbone.folds == 20
    torch.testing.assert_close(fast(x), loaded(x), rtol=1e-4, atol=1e-5)


def test_a_network_refuses_what_is_no_tensor(digits, digits_net):
    with pytest.raises(ValueError, match=r"digits-cnn is given ImageSet: expected a tensor of floats \(B, 1, H, W\)"):
        digits_net.outputs(digits.id_test)


@pytest.mark.parametrize(
    "change",
    [lambda x: (255 * x).to(torch.uint8), lambda x: x.permute(0, 2, 3, 1), lambda x: x[0], lambda x: x.double() > 0],
)
def test_a_network_refuses_what_is_no_batch_of_floats(change, digits, digits_net):
    x = digits.id_test.shard(0, 5)
    with pytest.raises(
        ValueError, match=r"network digits-cnn is given torch\.\w+ \(.*\): expected floats \(B, 1, H, W\)"
    ):
        digits_net(change(x))
