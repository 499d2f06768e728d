"""The prepared network: the same scores, no recompilation, bounded memory, bfloat16 for gradients only."""

import logging
import shutil

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import attacks
import detectors
import roodbench
from detectors import BASES
from roodbench.evaluation.precision import has_bfloat16, precision_of
from roodbench.machine.prepare import HalfGradients, Prepared, operations, prepare
from roodbench.models import Classifier
from roodbench.models.resnet import ATResNet, ResNet
from roodbench.setup.setting import plan_of


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def resnet(depth=8):
    """A ResNet whose batch norms have statistics and scales of their own."""
    net = ResNet(depth)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.weight, 0.5, 1.5),
                (module.bias, -0.5, 0.5),
                (module.running_mean, -0.3, 0.3),
                (module.running_var, 0.5, 2.0),
            ):
                tensor.data.uniform_(low, high, generator=generator(tensor.numel()))
    return Classifier(net, [0.5] * 3, [0.25] * 3, name="resnet")


@pytest.fixture
def x():
    return torch.rand(9, 3, 32, 32, generator=generator())


def test_every_batch_norm_is_folded_and_the_function_stays(x):
    net = resnet()
    fast = prepare(net, x, compile="off")
    assert fast.backbone.folds == sum(isinstance(m, nn.BatchNorm2d) for m in net.modules()) == 7
    assert not any(isinstance(m, nn.BatchNorm2d) for m in fast.modules())
    torch.testing.assert_close(fast.outputs(x).logits, net.outputs(x).logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(fast.outputs(x).features, net.outputs(x).features, rtol=1e-4, atol=1e-5)
    assert any(isinstance(m, nn.BatchNorm2d) for m in net.modules())  # the plain network is left as it was
    assert prepare(fast, x) is fast


def test_a_convolution_that_two_paths_read_keeps_its_batch_norm(x):
    class Forked(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.bn, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 3)
            self.bn.running_mean.fill_(0.7)

        def features(self, x):
            y = self.conv(x)
            return (self.bn(y) + y).mean((2, 3))

    net = Classifier(Forked(), [0.5] * 3, [0.25] * 3, name="forked")
    fast = prepare(net, x, compile="off")
    assert fast.backbone.folds == 0
    torch.testing.assert_close(fast(x), net(x))


def test_a_network_that_cannot_be_traced_runs_as_it_is(x):
    class Branching(ATResNet):
        def features(self, x):
            return super().features(x) if x.mean() > -99 else x

    net = Classifier(Branching(2), [0.5] * 3, [0.25] * 3, name="branching")
    fast = prepare(net, x, compile="off")
    assert isinstance(fast.backbone, Prepared)
    assert fast.backbone.folds == 0
    torch.testing.assert_close(fast(x), net(x))


def test_a_prepared_network_that_differs_is_not_used(x, monkeypatch, caplog):
    monkeypatch.setattr(Prepared, "features", lambda self, x: F.relu(self.body(x) + 0.1))
    net = resnet()
    with caplog.at_level(logging.WARNING, "roodbench"):
        assert prepare(net, x, compile="off") is net
    assert "resnet, folded, differs by" in caplog.text


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on the CPU")
def test_compiled_for_one_shape_whatever_the_batch(x):
    """Batches of 9, 64, 100 and 130 run as 64s and an eager rest: one compiled graph with gradients, one without."""
    net = resnet()
    fast = prepare(net, x, compile="on")
    assert fast.backbone.sizes == (64,)
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    images = torch.rand(130, 3, 32, 32, generator=generator(1))
    for n in (9, 64, 100, 130):
        part = images[:n].clone().requires_grad_()
        wanted = images[:n].clone().requires_grad_()
        torch.testing.assert_close(fast(images[:n]), net(images[:n]), rtol=1e-4, atol=1e-5)
        (grad,) = torch.autograd.grad(fast(part).logsumexp(1).sum(), part)
        (expected,) = torch.autograd.grad(net(wanted).logsumexp(1).sum(), wanted)
        assert cosine(grad, expected).min() > 0.9999
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == before


@pytest.fixture(scope="module")
def texture(data_root):
    return roodbench.load_benchmark("cifar10", root=data_root, ood=["texture"], limit=64)


def cosine(a, b):
    return F.cosine_similarity(a.flatten(1), b.flatten(1))


@pytest.mark.parametrize("held", [4, 64], ids=["recomputed", "kept"])
def test_gradients_in_parts_are_the_gradients(held, x):
    fast = prepare(resnet(), x, compile="off")
    gen = detectors.create("gen", fast)
    value, grad = gen.value_and_grad(x)
    fast.backbone.batch, fast.backbone.held = 4, held
    in_parts = gen.value_and_grad(x)
    torch.testing.assert_close(in_parts[0], value)
    torch.testing.assert_close(in_parts[1], grad)


def test_bfloat16_is_for_gradients_only(x):
    fast = prepare(resnet(), x, compile="off")
    gen = detectors.create("gen", fast)
    half = HalfGradients(gen, fast)
    _, grad = gen.value_and_grad(x)
    half_value, half_grad = half.value_and_grad(x)
    assert half_grad.dtype == half_value.dtype == torch.float32
    assert not torch.equal(half_grad, grad)  # it did run in bfloat16
    assert cosine(half_grad, grad).min() > 0.98
    assert torch.equal(half(x), gen(x))
    assert torch.equal(gen.value_and_grad(x)[1], grad)  # and float32 is back
    with pytest.raises(ValueError, match="prepared network"):
        HalfGradients(gen, resnet())


def test_float32_is_back_after_an_error(x):
    fast = prepare(resnet(), x, compile="off")
    half = HalfGradients(detectors.create("gen", fast), fast)
    with pytest.raises(ValueError, match="unknown objective"):
        half.value_and_grad(x, objective="nonsense")
    assert not fast.backbone.halved


def test_operations_of_a_convolution():
    """2 * 9 * 3 * 16 * 32 * 32 for the first convolution of ResNet-8, and so on: counted by hand."""
    first = 2 * 9 * 3 * 16 * 1024
    stages = sum(2 * 9 * (a * b + b * b) * p for a, b, p in ((16, 16, 1024), (16, 32, 256), (32, 64, 64)))
    assert operations(resnet(), torch.zeros(1, 3, 32, 32)) == first + stages + 2 * 64 * 10


@pytest.mark.parametrize("compile", ["yes", ""])
def test_unknown_compile(x, compile):
    with pytest.raises(ValueError, match="expected auto, on or off"):
        prepare(resnet(), x, compile=compile)


NOW = ("gen", "odin", "react", "gradnorm", "rankfeat")
"""Scores of logits, through a step, of changed features, of a gradient, and of feature maps."""


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in NOW else [pytest.mark.slow]) for n in BASES])
def test_prepared_base_scores_are_the_plain_ones(name, texture, resnet20):
    """Every base score on real images of both populations, within 1e-4 of its range."""
    plain = detectors.create(name, resnet20).fit(texture.id_train, texture.id_val)
    fast_net = prepare(resnet20, texture.id_val.shard(0, 64), compile="off")
    fast = detectors.create(name, fast_net).fit(texture.id_train, texture.id_val)
    x = torch.cat([texture.id_test.shard(0, 32), texture.ood["texture"].shard(0, 32)])
    with torch.no_grad():
        a, b = plain(x), fast(x)
    assert (a - b).abs().max() <= 1e-4 * a.abs().max()


@pytest.mark.parametrize("name", ["rankfeat", "approximate-mass", "relation"])
def test_scores_that_look_into_the_network_are_the_same_of_one_that_runs_in_parts(name, digits_net, digits):
    """Also their gradients, for which its passes are computed again, and those of their other objectives."""
    x = digits.id_test.shard(0, 10)
    fast_net = prepare(digits_net, x, compile="off")
    fast_net.backbone.batch = fast_net.backbone.held = 4
    plain, fast = (detectors.create(name, net).fit(digits.id_train, digits.id_val) for net in (digits_net, fast_net))
    for objective in plain.objectives:
        for ours, theirs in zip(*(d.value_and_grad(x, objective=objective) for d in (fast, plain)), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3 * float(theirs.abs().max()))


bfloat16 = pytest.mark.skipif(
    not has_bfloat16(torch.device("cpu")), reason="this CPU has no bfloat16 instructions: minutes in software"
)


@pytest.mark.slow
@bfloat16
def test_bfloat16_gradients_cost_an_attack_on_ross_nothing(texture, resnet20):
    """AUROC of an attack on both populations, paired: within a point of float32's, or stronger.

    Of 64 + 64 images it was lower by 0.1 with AVX2, higher by 0.4 with AVX-512's own bfloat16.
    """
    net = prepare(resnet20, texture.id_val.shard(0, 64), compile="off")
    ross = detectors.create("ross", net, base="gen").fit(texture.id_train, texture.id_val)
    threat, areas = attacks.ThreatModel(1 / 255), []
    settings = {"objective": "mean", "steps": 8, "draws": 8, "momentum": attacks.MOMENTUM, "keep": "last"}
    for target in (ross, HalfGradients(ross, net)):
        scores = []
        for images, sign in ((texture.id_test, -1), (texture.ood["texture"], 1)):
            x = images.shard(0, 48)
            found = attacks.pgd(target, x, threat, sign=sign, generator=generator(7), **settings)
            with torch.no_grad():
                scores.append(ross(found.images, generator=generator(9)).double().numpy())
        areas.append(roodbench.metrics.auroc(*scores))
    assert areas[1] <= areas[0] + 0.01


@pytest.mark.slow
@bfloat16
def test_auto_takes_bfloat16_where_a_probe_shows_it_harmless(texture, resnet20):
    """GEN at 0.5/255 loses about 1% of each image's change with bfloat16 gradients; ROSS averages that away."""
    net = prepare(resnet20, texture.id_val.shard(0, 64), compile="off")
    chosen = {}
    for name, eps, work in (("gen", 0.5 / 255, 1e15), ("ross", 1 / 255, 1e15), ("ross", 1 / 255, 1e9)):
        detector = detectors.create(name, net, **({"base": "gen"} if name == "ross" else {}))
        detector.fit(texture.id_train, texture.id_val)
        plan = plan_of(texture, eps=eps)
        chosen[name, work] = precision_of(detector, net, texture, plan, work, "auto", 0)
        assert precision_of(detector, net, texture, plan, work, "bfloat16", 0) == "bfloat16"
    assert chosen == {("gen", 1e15): "float32", ("ross", 1e15): "bfloat16", ("ross", 1e9): "float32"}
