"""Networks: the embedded one and its cache, public checkpoints, checkpoints that do not fit."""

import logging
import pickle
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

import roodbench
from roodbench.models.digits import Recipe, digits_cnn
from roodbench.models.resnet import ResNet, ResNet18


def accuracy(net, images):
    return (net(images.shard(0, len(images))).argmax(1) == images.labels).double().mean().item()


def test_digits_cnn_classifies_98_percent(digits, digits_net):
    assert accuracy(digits_net, digits.id_test) >= 0.98


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


SHORT = Recipe(epochs=2)


def test_training_is_reproducible_and_cached(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="roodbench")
    first = digits_cnn(recipe=SHORT, cache=tmp_path)
    assert "training digits-cnn once" in caplog.text
    caplog.clear()
    assert digits_cnn(recipe=SHORT, cache=tmp_path).fingerprint() == first.fingerprint()
    assert not caplog.records
    assert digits_cnn(recipe=SHORT, cache=tmp_path / "elsewhere").fingerprint() == first.fingerprint()
    assert digits_cnn(recipe=Recipe(epochs=2, seed=1), cache=tmp_path).fingerprint() != first.fingerprint()


def test_training_does_not_depend_on_the_number_of_threads(tmp_path):
    code = (
        "import sys, torch; from pathlib import Path; from roodbench.models.digits import Recipe, digits_cnn;"
        "torch.set_num_threads(int(sys.argv[1]));"
        "print(digits_cnn(recipe=Recipe(epochs=2), cache=Path(sys.argv[2])).fingerprint(), torch.get_num_threads())"
    )
    found = [
        subprocess.run(
            [sys.executable, "-c", code, str(n), str(tmp_path / str(n))], capture_output=True, text=True, check=True
        ).stdout.split()
        for n in (1, 2)
    ]
    assert found[0][0] == found[1][0]
    assert [threads for _, threads in found] == ["1", "2"]


def test_a_damaged_cache_is_trained_again_with_a_notice(tmp_path, caplog):
    good = digits_cnn(recipe=SHORT, cache=tmp_path).fingerprint()
    (file,) = tmp_path.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:100])
    assert digits_cnn(recipe=SHORT, cache=tmp_path).fingerprint() == good
    assert "damaged" in caplog.text
    save_file({"conv1.weight": torch.zeros(2)}, file)
    assert digits_cnn(recipe=SHORT, cache=tmp_path).fingerprint() == good
    assert digits_cnn(recipe=SHORT, cache=tmp_path).fingerprint() == good


def test_two_processes_at_once_share_the_cache(tmp_path):
    code = (
        "import sys; from pathlib import Path; from roodbench.models.digits import Recipe, digits_cnn;"
        "print(digits_cnn(recipe=Recipe(epochs=2), cache=Path(sys.argv[1])).fingerprint())"
    )
    runs = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    prints = {run.communicate()[0].strip() for run in runs}
    assert len(prints) == 1
    assert all(run.returncode == 0 for run in runs)
    assert [file.suffix for file in tmp_path.iterdir()] == [".safetensors"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cifar10_resnet20", 0.915),
        ("cifar10_resnet32", 0.928),
        ("cifar10_resnet44", 0.933),
        ("cifar10_resnet56", 0.926),
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
