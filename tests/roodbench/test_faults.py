"""Faults of kinds that come back: settings nobody honours, TF32, magic names, hashes of too much, other rounding."""

import os
import stat
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

import roodbench
from roodbench import cli
from roodbench.certify.certificate import read
from roodbench.certify.config import IGNORED, CertifyConfig
from roodbench.certify.planner import plan
from roodbench.certify.run import certify
from roodbench.certify.verifier import verify
from roodbench.engine.errors import EvaluationError
from roodbench.machine.device import opened
from roodbench.models import Classifier
from roodbench.setup.config import RunConfig
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
    "keep_images": True,
}


@pytest.mark.parametrize("name", NOT_HONOURED)
def test_certify_refuses_what_it_does_not_honour(name):
    run, option = replace(TINY.run, attack="both", **{name: NOT_HONOURED[name]}), name.replace("_", "-")
    with pytest.raises(ValueError, match=f"certify takes no {option}: leave out --{option}"):
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


@pytest.mark.parametrize("descriptor", [1, 2])
def test_a_closed_stream_is_no_traceback(descriptor):
    command = f"exec {sys.executable} -m roodbench --version {descriptor}>&-"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 1)


@pytest.mark.parametrize("setting", [{"eps": 0.5}, {"steps": 3}, {"norm": "l2"}, {"threat": "known-seed"}])
def test_evaluate_without_an_attack_takes_no_adversary(setting, digits_net):
    with pytest.raises(ValueError, match=f"attack none takes no {next(iter(setting))}: leave out"):
        roodbench.evaluate(fitted("gen", digits_net, small(4)), small(4), attack="none", **setting)


@pytest.mark.parametrize(
    ("method", "setting"),
    [("noise", {"strength": "strong"}), ("noise", {"precision": "float32"}), ("square", {"steps": 9})],
)
def test_a_method_takes_no_setting_that_changes_nothing(method, setting):
    with pytest.raises(ValueError, match=f"method {method} takes no {next(iter(setting))}: leave out"):
        RunConfig(detector=("gen",), method=method, **setting)
    if "precision" not in setting:
        with pytest.raises(ValueError, match=f"method {method} takes no {next(iter(setting))}: leave out"):
            roodbench.evaluate(torch.nn.Identity(), small(4), method=method, **setting)


CONFIG = RunConfig(
    detector=("ross", "pro", "knn"), ood=("noise",), limit=66, steps=2, restarts=1, params={"copies": 5}, compile="off"
)


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


@pytest.mark.slow
def test_another_batch_size_gives_the_same_scores(scores, tmp_path):
    found, _ = roodbench.run(replace(CONFIG, batch_size=16), out=tmp_path, check=False)
    alike(found.scores, scores)


@pytest.mark.slow
def test_other_threads_give_the_same_scores(scores, tmp_path, monkeypatch):
    threads = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "as it is")  # a run leaves the number alone then
    try:
        torch.set_num_threads(1 if threads > 1 else 2)
        found, _ = roodbench.run(CONFIG, out=tmp_path, check=False)
    finally:
        torch.set_num_threads(threads)
    alike(found.scores, scores)


def test_a_resumed_run_gives_the_same_scores(digits_net, tmp_path, monkeypatch):
    """Stopped after the first shard of the second population under attack, and run again."""
    config = replace(CONFIG, detector=("ross", "knn"), method="pgd")
    scores = roodbench.run(config, out=tmp_path / "whole", check=False)[0].scores
    from roodbench.evaluation.attacker import Attacker

    find, left = Attacker.find, iter(range(3))

    def stopping(self, *rest, **settings):
        if next(left, None) is None:
            raise EvaluationError("stopped")
        return find(self, *rest, **settings)

    monkeypatch.setattr(Attacker, "find", stopping)
    with pytest.raises(EvaluationError, match="stopped"):
        roodbench.run(config, out=tmp_path, check=False)
    monkeypatch.undo()
    kept = len(list(tmp_path.glob("cells/*")))
    found, _ = roodbench.run(config, out=tmp_path, check=False)
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
    arguments = ["--detector", "gen", "--attack", "min", "--ood", "noise", "--quiet", "--out", str(tmp_path)]
    whole = ["--limit", "120"]
    for flags, verdict in (
        (whole, True),
        ([*whole, "--no-check"], None),
        (["--limit", "10", "--no-check", "--eps", "4/255,16/255"], None),
    ):
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


def test_a_kept_run_imports_no_scikit_learn(tmp_path):
    """Nor a compiler. scipy.special it may: Student's quantile of fewer than 4 degrees of freedom."""
    command = ["--detector", "ross", "--param", "copies=3", "--limit", "4", "--steps", "2", "--restarts", "1"]
    command += ["--ood", "noise", "--quiet", "--out", str(tmp_path)]
    code = (
        f"import sys; from roodbench.cli import main; code = main({command!r}); "
        "sys.exit(code or 10 * ('scipy.stats' in sys.modules) + 20 * ('sklearn' in sys.modules) + "
        "40 * ('torch._dynamo' in sys.modules))"
    )
    assert cli.main(command) == 0
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, (done.returncode, done.stderr)
