"""A denoiser before a network: part of its function, of its hash, of what is attacked and of what is certified."""

import copy
import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import detectors
import roodbench
from roodbench import RunConfig, cli
from roodbench.certify import CertifyConfig, certify, read, verify
from roodbench.certify.certificate import code_in
from roodbench.entry.again import validate
from roodbench.entry.file import read as read_entry
from roodbench.machine.prepare import prepare
from roodbench.models import train_denoiser
from roodbench.models.denoiser import EMBEDDED, ResidualDenoiser, denoised
from roodbench.models.digits import TRAINED
from roodbench.store.files import save_tensors
from roodbench.surroundings import measured

FEW = "--limit 2 --ood unseen-digits --quiet"
MINE = """
from torch import nn
class Half(nn.Module):
    def forward(self, x):
        return x / 2
class Noisy(nn.Module):
    def forward(self, x):
        return x + 0.1 * x.new_empty(x.shape).normal_()
class Flat(nn.Module):
    def forward(self, x):
        return x.flatten(1)
class Lost(nn.Module):
    def forward(self, x):
        return x / 0
class Failing(nn.Module):
    def forward(self, x):
        raise RuntimeError("no images like these")
class Random(nn.Module):
    def forward(self, x):  # images with noise alone
        noisy = (x < -0.3).flatten(1).any(1).view(-1, 1, 1, 1)
        return x + noisy * 0.3 * x.new_empty(x.shape).normal_()
class Tired(nn.Module):
    calls = 0
    def forward(self, x):
        if float((x < -0.3).sum()) > 0:  # cannot be traced
            self.calls += 1
        return x if self.calls < 20 else x / 2
class Later(nn.Module):
    calls, switch = 0, SWITCH
    def forward(self, x):
        self.calls += len(x) > 0  # cannot be traced
        return x if self.calls < self.switch else x / 2
"""


@pytest.fixture(scope="module")
def bench():
    return roodbench.load_benchmark("digits", limit=8, ood=["unseen-digits"])


@pytest.fixture
def mine(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(MINE.replace("SWITCH", "10**9"))
    return f"{file}:"


@pytest.fixture
def weights(tmp_path):
    """A denoiser's file, not trained."""
    torch.manual_seed(0)
    save_tensors(ResidualDenoiser(1, width=4, blocks=1).state_dict(), tmp_path / "small.safetensors")
    return tmp_path / "small.safetensors"


def test_it_comes_first_and_pixels_go_in(digits_net, bench):
    class Half(nn.Module):
        def forward(self, x):
            return x / 2

    both, x = denoised(digits_net, Half()), bench.id_test.shard(0, 4)
    assert torch.allclose(both(x), digits_net(x / 2), atol=1e-5)
    assert both.name == "digits-cnn behind Half"
    fast = prepare(both, x, compile="off")
    assert torch.allclose(fast(x), both(x), atol=1e-4)
    gradient = detectors.create("gen", both).value_and_grad(x)[1]
    assert torch.allclose(gradient, detectors.create("gen", digits_net).value_and_grad(x / 2)[1] / 2, atol=1e-5)


def test_odd_sizes_come_out_as_they_go_in():
    net, x = ResidualDenoiser(3, width=4, blocks=1), torch.rand(2, 3, 7, 5)
    assert net(x).shape == x.shape
    net.last.weight.data.zero_(), net.last.bias.data.zero_()
    assert torch.equal(net(x), x)


def test_its_weights_are_part_of_the_hash(digits_net, weights):
    one = denoised(digits_net, "residual", weights)
    other = copy.deepcopy(one)
    other.backbone.denoiser.first.bias.data += 1e-3
    assert len({digits_net.fingerprint(), one.fingerprint(), other.fingerprint()}) == 3
    assert list(one.files) == ["denoiser/small.safetensors"]


def test_the_embedded_one_cleans_digits(digits_net, bench):
    x, generator = bench.id_val.shard(0, 150), torch.Generator().manual_seed(0)
    noisy = x + 0.25 * torch.randn(x.shape, generator=generator)
    clean = denoised(digits_net, "digits-denoiser").backbone.denoiser(noisy)
    assert F.mse_loss(clean, x) < 0.45 * F.mse_loss(noisy, x)
    assert F.mse_loss(denoised(digits_net, "digits-denoiser").backbone.denoiser(x), x) < 0.01


@pytest.mark.slow
def test_the_recipe_makes_one_as_good_as_the_embedded_one(tmp_path, digits_net, caplog):
    train_denoiser.main([str(tmp_path / "again.safetensors")])
    bench = roodbench.load_benchmark("digits")
    lines = [
        train_denoiser.report(digits_net, file, bench.id_val, train_denoiser.Recipe())
        for file in (tmp_path / "again.safetensors", TRAINED / "digits-denoiser.safetensors")
    ]
    again, embedded = ([float(line.split()[-3]) for line in found] for found in lines)
    assert again == pytest.approx(embedded, abs=0.03)


@pytest.mark.slow
def test_a_short_training_takes_noise_off(digits_net, bench):
    recipe = train_denoiser.Recipe(epochs=30, batch=50, width=8, blocks=1, rate=1e-2, mirror=True)
    found = train_denoiser.train(recipe, digits_net, bench.id_train.at(np.arange(100)))
    x = bench.id_val.shard(0, 100)
    noisy = x + 0.5 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    assert F.mse_loss(found(noisy), x) < 0.8 * F.mse_loss(noisy, x)


def test_a_run_scores_through_it_and_records_it(tmp_path, weights):
    def run(**more):
        settings = {"ood": ("unseen-digits",), "limit": 4, "params": {"copies": 3}, "attack": "none", **more}
        return roodbench.run(RunConfig(detector=("median",), **settings), out=tmp_path, check=False)[0]

    bare, behind = run(), run(denoiser="residual", denoiser_checkpoint=str(weights))
    assert {row.model for row in behind.rows} == {"digits-cnn behind residual"}
    assert behind.config["denoiser"] == "residual"
    assert "denoiser/small.safetensors" in behind.config["checkpoint_sha256"]
    assert behind.config["network_sha256"] != bare.config["network_sha256"]
    scores = [result.scores_of("median(gen)", "digits", "clean") for result in (bare, behind)]
    assert not np.allclose(*scores)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory, private_cache):
    run = RunConfig(
        detector=("median", "ross-q"),
        norm="l2",
        ood=("unseen-digits",),
        limit=4,
        attack="none",
        denoiser="digits-denoiser",
        device="cpu",
    )
    result, folder = certify(CertifyConfig(run, 0.25, (0.1,), samples=500), out=tmp_path_factory.mktemp("runs"))
    assert all(row.gauroc <= row.auroc_clean for row in result.rows)
    return read(folder / "certificate.json")


def test_a_certificate_holds_with_its_denoiser_alone(certificate):
    assert verify(certificate, samples=500, seed=0).failures == []
    for denoiser in (None, "residual"):
        forged = copy.deepcopy(certificate)
        forged["config"]["run"]["denoiser"] = denoiser
        own = {"denoiser_checkpoint": str(TRAINED / "digits-denoiser.safetensors")} if denoiser else {}
        forged["config"]["run"] |= own
        assert any("network" in line for line in verify(forged, samples=500, seed=0, **own).failures)


def test_code_in_a_certificate_is_not_run_unasked(certificate, mine):
    forged = json.loads(json.dumps(certificate))
    forged["config"]["run"]["denoiser"] = f"{mine}Half"
    with pytest.raises(ValueError, match="the certificate's denoiser is code"):
        verify(forged)


@pytest.mark.parametrize(
    ("name", "said"),
    [("Random", "gives an image other logits each time"), ("Tired", "gives an image other logits alone")],
)
def test_a_denoiser_that_is_no_function_of_noisy_images_certifies_nothing(name, said, mine, tmp_path):
    run = RunConfig("median", norm="l2", limit=4, ood="unseen-digits", attack="none", denoiser=f"{mine}{name}")
    with pytest.raises(ValueError, match=said):
        certify(CertifyConfig(run, radius=(0.1,), samples=100), out=tmp_path)


@pytest.mark.parametrize("switch", [24, 40, 60, 90])
def test_no_number_of_calls_hides_that_a_denoiser_changes(switch, tmp_path):
    """While scores are drawn, from whichever call on: all are looked at again at the end."""
    (file := tmp_path / "later.py").write_text(MINE.replace("SWITCH", str(switch)))
    run = RunConfig("median", norm="l2", limit=4, ood="unseen-digits", attack="none", denoiser=f"{file}:Later")
    with pytest.raises(ValueError, match="expected a function of one image"):
        certify(CertifyConfig(run, radius=(0.1,), samples=1001), out=tmp_path)


def test_a_run_behind_a_denoiser_is_an_entry_and_opens_again(tmp_path):
    """Its record names network and denoiser as they were asked for."""
    settings = {"limit": 8, "ood": "noise", "steps": 1, "restarts": 1, "denoiser": "digits-denoiser"}
    result, folder = roodbench.run(RunConfig("gen", **settings), out=tmp_path)
    assert (result.config["model"], result.rows[0].model) == ("digits-cnn", "digits-cnn behind digits-denoiser")
    assert validate(read_entry(folder)).failures == []
    assert measured("shift", result)[0].network == "digits, digits-cnn behind digits-denoiser"


def test_a_benchmarks_file_that_names_code_is_code(certificate, tmp_path):
    """A TOML file, or that of a folder: to load it runs what it names."""
    (file := tmp_path / "benchmark.toml").write_text('[id]\ntrain = "evil.py:train"\ntest = "photos"\n')
    forged = json.loads(json.dumps(certificate))
    for place in (file, tmp_path):
        forged["config"]["run"]["benchmark"] = str(place)
        with pytest.raises(ValueError, match="the certificate's benchmark is code"):
            verify(forged)
        assert code_in(forged) == {"benchmark": str(place)}
    file.write_text('[id]\ntrain = "torchvision:SVHN/train"\ntest = "photos"\n')
    assert code_in(forged) == {}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Noisy", "gives an image other logits each time"),
        ("Flat", "Flat gives torch.float32 (8, 64): expected images as they come, floats (8, 1, 8, 8)"),
        ("Lost", "Lost gives pixels that are not finite"),
        ("Failing", "cannot take (1, 8, 8) images: RuntimeError: no images like these"),
        ("Halve", "did you mean 'Half'?"),
    ],
)
def test_a_module_that_is_no_denoiser_is_refused(name, said, mine, capsys):
    assert cli.main(f"--detector median --denoiser {mine}{name} {FEW}".split()) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--denoiser residul", "did you mean 'residual'?"),
        ("--denoiser a.safetensors", "its weights go to --denoiser-checkpoint"),
        ("--denoiser residual", "denoiser residual needs weights: give --denoiser-checkpoint FILE"),
        ("--denoiser-checkpoint a.safetensors", "denoiser-checkpoint is said of a denoiser: give --denoiser too"),
        (
            "--denoiser digits-denoiser --denoiser-checkpoint a",
            "comes with its weights: leave out --denoiser-checkpoint",
        ),
        ("--denoiser residual --denoiser-checkpoint no.safetensors", "checkpoint 'no.safetensors' not found"),
        ("--denoiser digits-denoiser --space normalized", "denoiser digits-denoiser takes pixels: leave out --space"),
    ],
)
def test_mistakes_are_one_line(options, said, capsys):
    assert cli.main(f"--detector median {options} {FEW}".split()) == 2
    assert said in capsys.readouterr().err


def test_weights_of_other_images_or_another_network_are_refused(tmp_path, digits_net):
    file = tmp_path / "other.safetensors"
    save_tensors(ResidualDenoiser(3, width=4, blocks=1).state_dict(), file)
    with pytest.raises(ValueError, match="takes images of 3 channels, the network 1"):
        denoised(digits_net, "residual", file)
    with pytest.raises(ValueError, match="does not fit residual: expected weights first"):
        denoised(digits_net, "residual", TRAINED / "digits-cnn.safetensors")


def test_a_damaged_embedded_file_is_said(digits_net, monkeypatch):
    monkeypatch.setitem(EMBEDDED, "digits-denoiser", "0" * 64)
    with pytest.raises(OSError, match="digits-denoiser, a part of RoodBench, is missing or damaged"):
        denoised(digits_net, "digits-denoiser")
