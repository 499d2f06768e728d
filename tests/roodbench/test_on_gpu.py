"""On a GPU, here a pretend one: devices never mix, and the numbers are those of the CPU.

Both draw from the same generators here, so that every score must be the same: one that is not was computed elsewhere.
"""

import copy
from dataclasses import replace

import pytest
import torch

import attacks
import detectors
import roodbench
from attacks import METHODS, ThreatModel
from detectors import DETECTORS
from roodbench.certify.config import CertifyConfig
from roodbench.certify.run import certify
from roodbench.certify.verifier import verify
from roodbench.engine.worker import Worker
from roodbench.evaluation.attacker import Attacker
from roodbench.machine.prepare import HalfGradients, prepare
from roodbench.setup.setting import is_smoothed
from tests.roodbench.helpers import small

FEW = {"steps": 1, "restarts": 1, "check": False}
SMALL = {"knn": {"neighbours": 5}, "rankfeat": {"chunk": 2}} | {
    name: {"copies": 2} for name in ("median", "mad", "cov", "ross", "ross-q")
}
FAST = ("ebo", "knn", "react", "median")
METHODS_HERE = [name for name in METHODS if ":" not in name]
PEERS = ["torchattacks:PGD", "torchattacks:Square", "foolbox:LinfPGD", "autoattack:APGD"]


def slowly(names, fast):
    return [name if name in fast else pytest.param(name, marks=pytest.mark.slow) for name in names]


def made(name, net, bench, **params):
    params = {**SMALL.get(name, {}), **params}
    if is_smoothed(name):
        params.setdefault("sigma", bench.sigma)
    return detectors.create(name, net, **params).fit(bench.id_train, bench.id_val)


def on_both(digits_net, gpu, score, bench):
    """What score(network, benchmark) gives on the CPU, and on the device."""
    here = score(digits_net, bench)
    return here, score(copy.deepcopy(digits_net).to("cuda"), bench)


def assert_equal(here, there):
    assert here.scores.keys() == there.scores.keys()
    for name, scores in here.scores.items():
        assert torch.equal(torch.as_tensor(scores), torch.as_tensor(there.scores[name])), name


@pytest.mark.parametrize("name", slowly(DETECTORS, FAST))
def test_every_detector_is_evaluated_where_its_network_is(name, digits_net, gpu):
    """And neither its score nor its gradients wait for the device, but for rankfeat's decomposition."""
    bench, net = small(4), copy.deepcopy(digits_net).to("cuda")
    here, there = (roodbench.evaluate(made(name, one, bench), bench, **FEW) for one in (digits_net, net))
    assert_equal(here, there)
    assert there.environment.device == "a pretend GPU"
    detector, x = made(name, net, bench), bench.id_val.shard(0, 3).to("cuda")
    generator = torch.Generator("cuda").manual_seed(0) if detector.randomized else None
    gpu.waits.clear()
    detector(x, generator=generator)
    for objective in detector.objectives:
        detector.value_and_grad(x, objective=objective, generator=generator)
    assert not gpu.waits or name == "rankfeat", gpu.waits


@pytest.mark.parametrize("method", slowly([*METHODS_HERE, *PEERS], ("apgd", "noise", *PEERS[1:])))
def test_every_method_runs_there(method, digits_net, gpu):
    if ":" in method:
        pytest.importorskip(attacks.external.LIBRARIES[method.partition(":")[0]])

    def score(net, bench):
        return roodbench.evaluate(made("ebo", net, bench), bench, attack="max", method=method, check=False)

    assert_equal(*on_both(digits_net, gpu, score, small(3)))


@pytest.mark.parametrize(
    "settings",
    [
        {"threat": "known-seed"},
        pytest.param({"threat": "resubmit:3", "norm": "l2"}, marks=pytest.mark.slow),
        pytest.param({"quantize": True}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_every_adversary_attacks_there(settings, digits_net, gpu):
    def score(net, bench):
        return roodbench.evaluate(made("median", net, bench), bench, **FEW, **settings)

    assert_equal(*on_both(digits_net, gpu, score, small(3)))


@pytest.mark.parametrize("name", slowly(["ebo", "median"], ("ebo",)))
def test_the_indicators_say_the_same_there(name, digits_net, gpu):
    def score(net, bench):
        return roodbench.evaluate(made(name, net, bench), bench, attack="min", steps=1, restarts=1, thorough=True)

    here, there = on_both(digits_net, gpu, score, small(3))
    assert_equal(here, there)
    for one, other in zip(here.indicators, there.indicators, strict=True):
        assert one == other


def test_a_run_computes_where_it_is_told_to(gpu, tmp_path, digits_net):
    config = roodbench.RunConfig(
        detector=("react",), device="cuda", search=True, limit=4, steps=1, restarts=1, compile="off"
    )
    there, _ = roodbench.run(config, out=tmp_path / "there", check=False)
    here, _ = roodbench.run(replace(config, device="cpu"), out=tmp_path / "here", check=False)
    assert there.environment.device == "a pretend GPU"
    assert_equal(here, there)


@pytest.mark.slow
def test_a_run_in_bfloat16(gpu, tmp_path, digits_net):
    config = roodbench.RunConfig(
        detector=("ross",), params={"copies": 2}, device="cuda", precision="bfloat16", limit=4, steps=1, restarts=1
    )
    there, _ = roodbench.run(config, out=tmp_path / "there", check=False)
    here, _ = roodbench.run(replace(config, device="cpu"), out=tmp_path / "here", check=False)
    assert_equal(here, there)


def test_a_prepared_network_stays_there(digits, digits_net, gpu):
    x = digits.id_val.shard(0, 4)
    net = copy.deepcopy(digits_net).to("cuda")
    fast = prepare(net, x.to("cuda"), compile="off")
    assert fast is not net
    torch.testing.assert_close(fast(x.to("cuda")).cpu(), digits_net(x))
    fast.backbone.batch = fast.backbone.held = 3  # parts, which are computed again in the backward pass
    half = HalfGradients(detectors.create("msp", fast), fast)
    value, grad = half.value_and_grad(x.to("cuda"))
    assert value.device == grad.device == torch.device("cuda", 0)


@pytest.mark.slow
def test_a_certificate_is_made_and_verified_there(gpu, tmp_path, digits_net):
    run = roodbench.RunConfig(detector=("ross",), params={"copies": 3}, norm="l2", limit=3, steps=2, restarts=1)
    config = CertifyConfig(replace(run, device="cuda", compile="off"), radius=(0.1,), samples=300)
    there, folder = certify(config, out=tmp_path / "there")
    here, _ = certify(replace(config, run=replace(config.run, device="cpu")), out=tmp_path / "here")
    assert [row.gauroc for row in here.rows] == [row.gauroc for row in there.rows]
    assert not verify(roodbench.certify.read(folder), samples=500, seed=0, device="cuda").failures


@pytest.mark.parametrize("name", slowly(["ebo", "ross"], ("ebo",)))
def test_a_shard_waits_once_per_component(name, digits, digits_net, gpu):
    """Of every attack that the strength standard makes, on what the evaluation attacks: checked copies of images."""
    net = copy.deepcopy(digits_net).to("cuda")
    detector = made(name, net, small(4))
    strength = attacks.Strength(steps=2, restarts=2, draws=2, apgd=True, queries=8, compared=2)
    plan = attacks.AttackPlan(ThreatModel(0.05), strength=strength)
    x, reference = digits.id_test.shard(0, 4).to("cuda"), torch.linspace(-50, 50, 9, device="cuda")[None]
    attacker = Attacker(Worker(detector, device="cuda"))
    gpu.waits.clear()
    found = attacker.find(x, "digits", 0, "min", plan, reference, {})
    assert len(found.components) > 4
    assert gpu.waits.total() == len(found.components) + 1, gpu.waits
