"""Faults of kinds that come back: settings that nobody honours, TF32, magic names, hashes of too much, other rounding."""

import os
import shutil
import stat
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

import detectors
import roodbench
from detectors import Detector
from roodbench.certify.config import IGNORED, CertifyConfig
from roodbench.certify.planner import plan
from roodbench.certify.run import certify
from roodbench.certify.verifier import read, verify
from roodbench.engine.errors import EvaluationError
from roodbench.machine.device import opened
from roodbench.machine.memory import halve
from roodbench.models import Classifier
from roodbench.setup.config import RunConfig
from roodbench.store import identity
from roodbench.store.files import save_tensors, save_text
from tests.roodbench.helpers import fitted, small

TINY = CertifyConfig(
    run=RunConfig(detector=("median",), norm="l2", ood=("noise",), limit=4, compile="off", attack="none"),
    sigma=0.25,
    radius=(0.1,),
    samples=300,
)
NOT_HONOURED = {
    "space": "normalized",
    "search": True,
    "method": "pgd",
    "objective": "exact",
    "eps": (0.1,),
    "threat": "known-seed",
    "quantize": True,
    "precision": "bfloat16",
}


@pytest.mark.parametrize("name", NOT_HONOURED)
def test_certify_refuses_what_it_does_not_honour(name):
    run = replace(TINY.run, attack="both", **{name: NOT_HONOURED[name]})
    with pytest.raises(ValueError, match=f"certify takes no {name}: leave out --{name}"):
        replace(TINY, run=run)


def test_certify_refuses_protocols():
    assert set(NOT_HONOURED) | {"protocol"} == set(IGNORED)
    with pytest.raises(ValueError, match=r"certify takes no (search|protocol)"):
        replace(TINY, run=RunConfig(detector=("median",), protocol="pro-2025"))


def test_a_certificate_in_normalised_space_is_refused(digits_net, tmp_path):
    """It would say pixels, of a radius that is 1 / std too large."""
    _, folder = certify(TINY, out=tmp_path)
    certificate = read(folder / "certificate.json")
    assert verify(certificate, seed=1, samples=500).failures == []
    certificate["config"]["run"]["space"] = "normalized"
    with pytest.raises(ValueError, match="certify takes no space: leave out --space normalized"):
        verify(certificate, seed=1, samples=500)


@pytest.fixture
def tf32():
    """A process that allows TF32, and the flags that the network saw."""
    flags = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [f.allow_tf32 for f in flags]
    for f in flags:
        f.allow_tf32 = True
    yield lambda: [f.allow_tf32 for f in flags]
    for f, value in zip(flags, before, strict=True):
        f.allow_tf32 = value


@pytest.mark.parametrize("way", ["evaluate", "run", "certify", "plan", "verify"])
def test_float32_is_float32_everywhere(way, tf32, digits_net, tmp_path, monkeypatch):
    """TF32 is off while anything is computed, and as it was afterwards."""
    seen, outputs = [], Classifier.outputs
    _, folder = certify(TINY, out=tmp_path) if way == "verify" else (None, tmp_path)
    monkeypatch.setattr("roodbench.certify.planner.REHEARSAL", 0.0)
    monkeypatch.setattr(Classifier, "outputs", lambda self, x: seen.append(tf32()) or outputs(self, x))
    bench = small(4)
    {
        "evaluate": lambda: roodbench.evaluate(fitted("gen", digits_net, bench), bench, attack="none"),
        "run": lambda: roodbench.run(RunConfig(detector=("gen",), attack="none", limit=4), out=tmp_path / "other"),
        "certify": lambda: certify(TINY, out=tmp_path / "other"),
        "plan": lambda: plan(TINY),
        "verify": lambda: verify(read(folder / "certificate.json"), seed=1, samples=500),
    }[way]()
    assert seen
    assert not any(flag for flags in seen for flag in flags)
    assert tf32() == [True, True]


def test_an_open_device_gives_back_threads():
    before = torch.get_num_threads()
    with opened("cpu") as device:
        assert device == torch.device("cpu")
        torch.set_num_threads(1)
    assert torch.get_num_threads() == before


class Cropping(Detector):
    """Its attribute `batch` is part of what it computes, and it is nobody's bound on memory."""

    name = "cropping"

    def __init__(self, net, batch=4):
        super().__init__()
        self.net, self.batch, self.chunk, self.seed = net, batch, 1.0, 3

    def forward(self, x, *, generator=None):
        return self.net(x[..., :8, :8]).logsumexp(1) + self.batch


class Declared(Cropping):
    incidental = frozenset({"batch"})


def test_memory_is_saved_where_a_class_says_so_and_nowhere_else(digits_net):
    assert halve(Cropping(digits_net)) is None
    detector = Declared(digits_net)
    assert halve(detector) == 2
    assert detector.batch == 2
    ross = detectors.create("ross", digits_net, chunk=64)
    assert halve(ross) == 32
    assert (ross.chunk, ross.seed) == (32, 0)


def test_identity_leaves_out_what_is_declared_and_nothing_else(digits_net):
    def state(detector):
        return identity.identity(detector)["state"]

    for name in ("batch", "chunk", "seed"):
        plain, other = Cropping(digits_net), Cropping(digits_net)
        setattr(other, name, 7)
        assert state(plain) != state(other)
    plain, other = Declared(digits_net), Declared(digits_net, batch=9)
    assert state(plain) == state(other)
    a, b, c = (detectors.create("ross", digits_net, **s) for s in ({}, {"chunk": 9}, {"seed": 1}))
    assert state(a) == state(b) != state(c)


@pytest.mark.parametrize(
    ("file", "same"),
    [
        ("roodbench/cli/main.py", True),
        ("roodbench/record/table.py", True),
        ("roodbench/setup/config.py", True),
        ("attacks/pgd.py", False),
        ("detectors/logits.py", False),
        ("roodbench/evaluation/probe.py", False),
        ("roodbench/metrics/auroc.py", False),
    ],
)
def test_only_code_that_decides_a_score_is_hashed(file, same, tmp_path, monkeypatch):
    for package in identity.PACKAGES:
        shutil.copytree(identity.ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(identity, "ROOT", tmp_path)
    identity.code_version.cache_clear()
    before, everything = identity.code_version(), identity.code_version(*identity.PACKAGES)
    with (tmp_path / file).open("a") as f:
        f.write("# a comment\n")
    identity.code_version.cache_clear()
    try:
        assert (identity.code_version() == before) == same
        assert identity.code_version(*identity.PACKAGES) != everything
    finally:
        identity.code_version.cache_clear()


CONFIG = RunConfig(detector=("ross", "pro", "knn"), ood=("noise",), limit=70, steps=3, compile="off")


@pytest.fixture(scope="module")
def scores(digits_net, tmp_path_factory):
    result, _ = roodbench.run(CONFIG, out=tmp_path_factory.mktemp("runs"), check=False)
    return result.scores


def alike(found, wanted):
    """Up to the last bits: 1e-5 of a population's range (measured: 1.3e-7, one or two images; 0 for batches)."""
    assert found.keys() == wanted.keys()
    for key, tensor in wanted.items():
        if not key.endswith("/winner"):
            spread = float(tensor.max() - tensor.min())
            torch.testing.assert_close(found[key], tensor, rtol=0, atol=1e-5 * spread)


def test_another_batch_size_gives_the_same_scores(scores, tmp_path):
    found, _ = roodbench.run(replace(CONFIG, batch_size=16), out=tmp_path, check=False)
    alike(found.scores, scores)


def test_other_threads_give_the_same_scores(scores, tmp_path, monkeypatch):
    threads = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "as it is")  # a run leaves the number alone then
    try:
        torch.set_num_threads(1 if threads > 1 else 2)
        found, _ = roodbench.run(CONFIG, out=tmp_path, check=False)
    finally:
        torch.set_num_threads(threads)
    alike(found.scores, scores)


def test_a_resumed_run_gives_the_same_scores(scores, tmp_path, monkeypatch):
    """Stopped after the first shard of the third population under attack, and run again."""
    from roodbench.evaluation.attacker import Attacker

    find, left = Attacker.find, iter(range(3))

    def stopping(self, *rest, **settings):
        if next(left, None) is None:
            raise EvaluationError("stopped")
        return find(self, *rest, **settings)

    monkeypatch.setattr(Attacker, "find", stopping)
    with pytest.raises(EvaluationError, match="stopped"):
        roodbench.run(CONFIG, out=tmp_path, check=False)
    monkeypatch.undo()
    kept = len(list(tmp_path.glob("cells/*")))
    found, _ = roodbench.run(CONFIG, out=tmp_path, check=False)
    assert kept > 3
    assert [key for key, tensor in scores.items() if not torch.equal(found.scores[key], tensor)] == []


def test_files_follow_the_users_umask(tmp_path):
    before = os.umask(0o027)
    try:
        save_text("a", tmp_path / "text")
        save_tensors({"a": torch.zeros(1)}, tmp_path / "tensors")
    finally:
        os.umask(before)
    for name in ("text", "tensors"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o640
    assert sorted(f.name for f in tmp_path.iterdir()) == ["tensors", "text"]


def test_without_indicators_a_row_is_neither_reliable_nor_not(tmp_path, capsys):
    from roodbench import cli

    arguments = ["--detector", "gen", "--limit", "20", "--ood", "noise", "--quiet", "--out", str(tmp_path)]
    for flags, verdict in (([], True), (["--no-check"], None), (["--no-check", "--eps", "4/255,16/255"], None)):
        assert cli.main([*arguments, *flags, "--format", "json"]) == 0
        record = __import__("json").loads(capsys.readouterr().out)
        assert {row["reliable"] for row in record["rows"] if row["condition"] != "clean"} == {verdict}
        assert {row["reliable"] for row in record["rows"] if row["condition"] == "clean"} == {True}


def test_help_and_version_need_no_torch():
    code = (
        "import sys; from roodbench.cli import main; codes = [main([*a]) for a in (['--version'], ['--help'], "
        "['run', '--help'], ['certify', '--help'], ['list', '--help'], ['--format', 'xml'])]; "
        "sys.exit(codes != [0, 0, 0, 0, 0, 2] or 'torch' in sys.modules or 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_kept_run_imports_neither_scipy_nor_scikit_learn(tmp_path):
    command = ["--detector", "ross", "--limit", "8", "--steps", "2", "--quiet", "--out", str(tmp_path)]
    code = (
        f"import sys; from roodbench.cli import main; code = main({command!r}); "
        "sys.exit(code or 10 * ('scipy' in sys.modules) + 20 * ('sklearn' in sys.modules) + "
        "40 * ('torch._dynamo' in sys.modules))"
    )
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, (done.returncode, done.stderr)
