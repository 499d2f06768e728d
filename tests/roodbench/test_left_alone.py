"""Public calls leave the global state of torch, numpy and Python alone, and their numbers do not depend on it."""

import contextlib
import json
from dataclasses import asdict, replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch

import attacks
import detectors
import roodbench
from attacks import AttackPlan, Strength, ThreatModel
from roodbench import cli, metrics
from roodbench.certify import CertifyConfig, certify, plan, read, verify
from roodbench.machine.device import opened
from roodbench.setup.config import RunConfig
from tests.roodbench.helpers import small
from tests.roodbench.surroundings import Trained, classifier, images, noise, surroundings

TINY = RunConfig(detector=("gen",), attack="none", limit=4, ood=("noise",), compile="off")
CERTIFIED = CertifyConfig(replace(TINY, detector=("median",), norm="l2"), sigma=0.25, radius=(0.1,), samples=300)
PLUGIN = """
import torch

class Mine(torch.nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x).amax(1)
"""


def certificate(folder):
    return read(certify(CERTIFIED, out=folder)[1] / "certificate.json")


def plugin(folder):
    (folder / "plugin_left_alone.py").write_text(PLUGIN)
    config = replace(TINY, detector=("plugin_left_alone:Mine",))
    return roodbench.run(config, out=folder / "runs")


def gen():
    return detectors.create("gen", roodbench.load_model("digits-cnn"))


def ross():
    bench = small(4)
    return detectors.create("ross", gen().net, sigma=0.05).fit(bench.id_train, bench.id_val)


def given():
    x, y = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1), dtype=np.uint8), np.arange(60) % 3
    return roodbench.benchmark_from(id_train=(x[:20], y[:20]), id_test=(x[20:30], y[20:30]), far={"a": x[30:]})


def drawn(folder):
    """A figure where matplotlib is there; where it is not, a line says so."""
    with (
        contextlib.nullcontext()
        if find_spec("matplotlib")
        else pytest.raises(ValueError, match="matplotlib is not installed")
    ):
        roodbench.plot("bars", {"gen": roodbench.evaluate(gen(), small(4), attack="none")})


def every():
    bench, net = small(4), gen().net
    return [detectors.create(name, net).fit(bench.id_train, bench.id_val) for name in detectors.DETECTORS]


BALL = ThreatModel(0.1)
QUICK = AttackPlan(BALL, strength=Strength(steps=2, restarts=1, draws=2))
FEW = ["--limit", "4", "--steps", "2", "--restarts", "1"]
SCORES = np.random.default_rng(0).random((2, 3, 9))
CALLS = {
    "load_benchmark": lambda folder: roodbench.load_benchmark("digits", limit=4),
    "benchmark_from": lambda folder: given().check(),
    "Benchmark": lambda folder: small(4).normalized(torch.tensor([0.5]), torch.tensor([0.5])).description(),
    "load_model": lambda folder: roodbench.load_model("digits-cnn-at"),
    "Classifier": lambda folder: classifier(gen().net.backbone)(images()),
    "prepare": lambda folder: roodbench.prepare(roodbench.load_model("digits-cnn"), images(), compile="off"),
    "evaluate": lambda folder: roodbench.evaluate(ross(), small(4), steps=2),
    "RunConfig": lambda folder: replace(TINY, detector=("plugin_left_alone:Mine",)),
    "run": plugin,
    "run several": lambda folder: roodbench.run(replace(TINY, detector=("gen", "vim", "ross")), out=folder),
    "search": lambda folder: roodbench.run(replace(TINY, detector=("gen",), search=True), out=folder),
    "Store": lambda folder: roodbench.evaluate(gen(), small(4), attack="none", store=roodbench.Store(folder)),
    "Result": lambda folder: str(roodbench.Result.from_json(plugin(folder)[0].to_json()).to_markdown()),
    "Row": lambda folder: asdict(plugin(folder)[0].rows[0]),
    "EvaluationError": lambda folder: roodbench.EvaluationError("a message"),
    "plot": drawn,
    "certify": certificate,
    "plan": lambda folder: plan(CERTIFIED),
    "verify": lambda folder: verify(certificate(folder), seed=1, samples=500),
    "metrics": lambda folder: [
        metrics.auroc(*SCORES[:, 0]),
        metrics.fpr95_id(*SCORES[:, 0]),
        metrics.resample(metrics.fpr95_id, *SCORES).interval(),
        metrics.aupr_in(*SCORES),
        metrics.components(*SCORES).interval(),
    ],
    "cli run": lambda folder: cli.main(["--detector", "gen", *FEW, "--out", str(folder)]),
    "cli list": lambda folder: cli.main(["list"]),
    "cli help": lambda folder: cli.main(["run", "--help"]),
    "cli version": lambda folder: cli.main(["--version"]),
    "cli mistake": lambda folder: cli.main(["--detector", "rosss"]),
    "cli plugin": lambda folder: cli.main(["--detector", "nothing_of_this_name:Mine"]),
    "cli check": lambda folder: cli.main(["check", "--detector", "gen", *FEW, "--out", str(folder)]),
    "cli certify": lambda folder: cli.main(
        ["certify", "--limit", "2", "--samples", "100", "--attack", "none", "--radius", "0.1", "--out", str(folder)]
    ),
    "create": lambda folder: [detectors.create(name, gen().net) for name in detectors.DETECTORS],
    "fit": lambda folder: every(),
    "pgd": lambda folder: attacks.pgd(ross(), images(), BALL, sign=1, steps=2, draws=2, generator=noise()),
    "apgd": lambda folder: attacks.apgd(gen(), images(), BALL, sign=1, steps=3, generator=noise()),
    "square": lambda folder: attacks.square(gen(), images(), BALL, sign=1, queries=5, generator=noise()),
    "noise": lambda folder: attacks.noise(gen(), images(), BALL, sign=1, queries=5, generator=noise()),
    "draws_needed": lambda folder: attacks.draws_needed(ross(), images(), BALL, objective="mean", generator=noise()),
    "suite": lambda folder: attacks.suite(gen(), images(), QUICK, "min", streams=lambda name: noise()),
    "TwoLogits": lambda folder: attacks.TwoLogits.of(gen(), images()),
}


@contextlib.contextmanager
def usual():
    yield


@contextlib.contextmanager
def changed():
    """Nothing as torch starts."""
    torch.set_default_dtype(torch.float64)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_float32_matmul_precision("medium")
    torch.backends.cudnn.benchmark = torch.backends.cudnn.deterministic = True
    try:
        with torch.no_grad(), torch.autograd.set_detect_anomaly(True):
            yield
    finally:
        torch.backends.cudnn.benchmark = torch.backends.cudnn.deterministic = False
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = True
        torch.use_deterministic_algorithms(False)
        torch.set_default_dtype(torch.float32)


def test_every_public_name_is_called():
    assert set(roodbench.__all__) <= set(CALLS)


LONG = {"cli run", "cli check", "cli certify", "run several", "search", "certify", "verify", "plan", "fit", "suite"}
STATES = [(call, changed) for call in CALLS]
STATES += [pytest.param(call, usual, marks=[pytest.mark.slow] if call in LONG else []) for call in CALLS]


@pytest.mark.parametrize(("call", "state"), STATES, ids=lambda part: getattr(part, "__name__", part))
def test_a_public_call_leaves_the_global_state_alone(call, state, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plugin_left_alone.py").write_text(PLUGIN)
    monkeypatch.setattr("roodbench.certify.planner.REHEARSAL", 0.0)
    with state():
        before = surroundings()
        CALLS[call](tmp_path)
        assert surroundings() == before


def test_convolutions_of_a_gpu_repeat_themselves_inside():
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    with opened("cpu"):
        assert (cudnn.deterministic, cudnn.benchmark) == (True, False)
    assert (cudnn.deterministic, cudnn.benchmark) == before


ODD = {
    "float64 by default": lambda: setting(torch.set_default_dtype, torch.float64, torch.float32),
    "another device by default": lambda: setting(torch.set_default_device, "meta", None),
    "another device around": lambda: torch.device("meta"),
    "no grad": torch.no_grad,
    "inference mode": torch.inference_mode,
    "anomaly detection": lambda: torch.autograd.set_detect_anomaly(True),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "deterministic algorithms": lambda: setting(torch.use_deterministic_algorithms, True, False),
    "less than float32": lambda: setting(torch.set_float32_matmul_precision, "medium", "highest"),
}


@contextlib.contextmanager
def setting(use, odd, usual):
    use(odd)
    try:
        yield
    finally:
        use(usual)
        torch.backends.cudnn.allow_tf32 = True


def numbers():
    """Rows of detectors of several kinds, everything from loading to attack."""
    bench, net = small(4), roodbench.load_model("digits-cnn")
    found = []
    for name, params in {"gen": {}, "knn": {}, "odin": {}, "pro": {}, "ross": {"copies": 3}}.items():
        detector = detectors.create(name, net, **params).fit(bench.id_train, bench.id_val)
        method = "suite" if name in ("gen", "ross") else "pgd"  # the others' suites do what gen's does
        result = roodbench.evaluate(detector, bench, method=method, steps=1, restarts=1, check=False)
        found += [result.to_json().split('"timing"')[0], {k: v.tolist() for k, v in result.scores.items()}]
    return found


@pytest.fixture(scope="module")
def usual_numbers():
    return numbers()


@pytest.mark.parametrize("odd", ODD)
def test_numbers_do_not_depend_on_the_callers_state(odd, usual_numbers):
    with ODD[odd]():
        found = numbers()
    assert found == usual_numbers


def test_an_attack_in_inference_mode_follows_the_gradient():
    """It had found none there, without a word."""
    detector = gen()
    wanted = attacks.pgd(detector, images(), BALL, sign=1, steps=3, generator=noise())
    with torch.inference_mode():
        found = attacks.pgd(detector, images(), BALL, sign=1, steps=3, generator=noise())
    assert torch.equal(found.values, wanted.values)
    assert (found.values > detector(images())).all()


def test_tensors_of_inference_mode_are_refused_in_one_line():
    with torch.inference_mode():
        module = Trained().eval()
    with pytest.raises(ValueError, match=r"the tensors of Trained were made in torch\.inference_mode"):
        roodbench.evaluate(module, small(4))


@pytest.mark.skipif(not hasattr(torch.backends, "fp32_precision"), reason="torch says it in the older way alone")
@pytest.mark.parametrize("place", ["", "cuda.matmul", "cudnn", "mkldnn"])
def test_precision_said_in_the_newer_way_is_honoured_and_put_back(place, tmp_path):
    target = torch.backends
    for name in filter(None, place.split(".")):
        target = getattr(target, name)
    before, usual = target.fp32_precision, [torch.backends.cudnn.conv, torch.backends.cudnn.rnn]
    values = [p.fp32_precision for p in usual]
    target.fp32_precision = "ieee" if place == "cuda.matmul" else "tf32"
    try:
        around = surroundings()
        with opened("cpu"):
            assert torch.backends.cuda.matmul.fp32_precision == "ieee"
            assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"
            result = roodbench.evaluate(gen(), small(4), attack="none", store=roodbench.Store(tmp_path))
        assert surroundings() == around
        assert json.loads(result.to_json())["environment"]["tf32"] is False
    finally:
        target.fp32_precision = before
        for p, value in zip(usual, values, strict=True):
            p.fp32_precision = value
