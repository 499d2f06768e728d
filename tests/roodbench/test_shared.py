"""Processes that share a run's folder share its work, and the record is that of one alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from detectors.care import usual_state
from roodbench import api
from roodbench.certify import CertifyConfig, certify
from roodbench.certify.run import share as share_certification
from roodbench.cli import main
from roodbench.engine.crew import Local, workers_for
from roodbench.setup.config import RunConfig
from roodbench.store.journal import lines_of

SMALL = {"ood": ("photos",), "limit": 10, "device": "cpu"}
RUN = RunConfig(detector=("ebo", "gen"), eps=(0.02, 0.05), steps=2, restarts=1, **SMALL)
WORDS = ["--detector", "ebo,gen", "--eps", "0.02,0.05", "--steps", "2", "--restarts", "1", "--ood", "photos"]
WORDS += ["--limit", "10", "--device", "cpu", "--quiet"]


def untimed(result):
    """A record but for times, and for the revision of a checkout that is being edited."""
    return {name: part for name, part in result.to_dict().items() if name not in ("timing", "environment")}


def made(folder):
    return [line for line in lines_of(folder) if "made" in line]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return untimed(api.run(RUN, out=tmp_path_factory.mktemp("alone"), workers=1)[0])


@pytest.mark.parametrize("turn", [0.0, 0.6])
def test_a_share_is_all_that_nobody_else_does(turn, alone, tmp_path):
    folder = api.share(RUN, turn=turn, out=tmp_path)
    parts = len(made(folder))
    assert not (folder / "result.json").exists()
    result, same = api.run(RUN, out=tmp_path, workers=1)
    assert (same, len(made(folder))) == (folder, parts)
    assert result.timing.reused["cells"] == result.timing.reused["of"] > 0
    assert untimed(result) == alone


def test_shards_of_a_job_array_are_joined_without_the_option(alone, tmp_path, capsys):
    words = [*WORDS, "--out", str(tmp_path)]
    for shard in ("1/2", "2/2"):
        assert main([*words, "--shard", shard]) == 0
    assert capsys.readouterr().out == ""
    assert main([*words, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rows"] == alone["rows"]
    assert found["timing"]["reused"]["cells"] == found["timing"]["reused"]["of"]


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "1/", "a/b", "1/0", "-1/2", "1/4/2"])
def test_shards_that_there_are_not(text, capsys):
    assert main([*WORDS, "--shard", text]) == 2
    assert f"shard '{text}': expected I/N, as 1/4 to 4/4" in capsys.readouterr().err


def test_a_shard_takes_nothing_of_the_record(capsys):
    for option in ("--fresh", "--strict", "--dry-run"):
        assert main([*WORDS, "--shard", "1/2", option]) == 2
        assert f"--shard takes no {option[2:]}" in capsys.readouterr().err


def test_a_fresh_run_is_shared_from_when_it_began(alone, tmp_path):
    _, folder = api.run(RUN, out=tmp_path, workers=1, fresh=True)
    parts, since = len(made(folder)), json.loads((folder / "manifest.json").read_text())["since"]
    api.share(RUN, turn=0.5, out=tmp_path, since=since)
    assert len(made(folder)) == parts
    assert untimed(api.run(RUN, out=tmp_path, workers=1, fresh=True)[0]) == alone
    assert len(made(folder)) == 2 * parts


def test_one_more_process_reads_the_folder(alone, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, folder = api.run(RUN, out="runs", workers=1)
    for cell in Path("runs/cells").iterdir():
        cell.unlink()
    parts = len(made(folder))
    (Path("elsewhere")).mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["work", str(tmp_path / folder), "--quiet"]) == 0
    assert len(made(tmp_path / folder)) > parts
    monkeypatch.chdir(tmp_path)
    result = api.run(RUN, out="runs", workers=1)[0]
    assert (untimed(result), result.timing.reused["cells"]) == (alone, result.timing.reused["of"])
    assert main(["work", str(tmp_path / folder)]) == 0
    assert capsys.readouterr().err.endswith("is kept\n")  # nobody has a record to write


@pytest.mark.parametrize(("text", "said"), [(None, "no folder of a run"), ("{", "not JSON"), ("{}", "no manifest of")])
def test_what_is_no_folder_of_a_run(text, said, tmp_path, capsys):
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
    assert main(["work", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["run", "certify"])
def test_whoever_would_compute_another_run_is_no_help(kind, tmp_path, capsys, monkeypatch):
    """Another checkout, torch or data set on a node: its parts are of no use, and it must not say that they are."""
    if kind == "run":
        _, folder = api.run(RunConfig(detector=("ebo",), attack="none", **SMALL), out=tmp_path, workers=1)
    else:
        run = RunConfig(detector=("median",), norm="l2", attack="none", **{**SMALL, "limit": 4})
        folder = share_certification(CertifyConfig(run=run, samples=200), turn=0.0, out=tmp_path)
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(torch, "__version__", f"{torch.__version__}.other")
    assert main(["work", str(folder), "--quiet"]) == 2
    err = capsys.readouterr().err
    assert f"what '{folder}' asks for is another run here, {folder.name.rpartition('-')[0]}-" in err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"check": None}, "is no manifest of schema 1"),
        ({"command": [1]}, "is no manifest of schema 1"),
        ({"config": {"novel": 1}}, "begun by another version of roodbench: here is no setting novel"),
    ],
)
def test_a_manifest_of_another_version_is_one_line(change, said, tmp_path, capsys):
    whole = {"schema": 1, "kind": "run", "began": "", "command": [], "cwd": str(tmp_path), "config": {}}
    whole |= {"fresh": False, "since": 1.0, "check": True, "thorough": False, **change}
    (tmp_path / "manifest.json").write_text(json.dumps(whole))
    assert main(["work", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err


def test_helpers_start_and_are_gone_at_the_end(alone, tmp_path):
    result, folder = api.run(RUN, out=tmp_path, workers=2)
    assert untimed(result) == alone
    names = {line["made"] for line in made(folder)}
    assert len(names) == len(made(folder))
    with Local(folder, 3, torch.device("cpu")) as crew:
        crew.call()
        crew.call()
        started = [process for process, _ in crew._started]
    assert len(started) == 2
    assert None not in [process.poll() for process in started]


def test_a_helper_that_fails_is_said(tmp_path, caplog):
    with Local(tmp_path, 2, torch.device("cpu")) as crew:
        crew.call()
        crew._started[0][0].wait()
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("a worker of 2 ended early and the others went on: roodbench: error: ")
    assert "no folder of a run" in line


def test_helpers_that_cannot_be_started_cost_their_help_only(tmp_path, caplog):
    """As on a disk that is full, or where memory takes no further process."""
    (tmp_path / "workers").write_text("no folder")
    with Local(tmp_path, 3, torch.device("cpu")) as crew:
        crew.call()
        crew.call()
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("worker 2 of 3 cannot be started, going on without more: ")


def test_cores_are_divided_before_anything_is_computed(tmp_path, monkeypatch):
    """For all detectors: what holds during one of them is put back at its end."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with usual_state():
        torch.set_num_threads(2)
        with Local(tmp_path, 1, torch.device("cpu")):
            assert torch.get_num_threads() == 2
        with Local(tmp_path, 10**4, torch.device("cpu")):
            assert torch.get_num_threads() == 1


def test_how_many_help(monkeypatch):
    cpu = torch.device("cpu")
    assert workers_for(0.0, cpu, 5) == 5
    assert workers_for(1e18, cpu, None) == 1  # the tests' own wish
    monkeypatch.delenv("ROODBENCH_WORKERS")
    assert workers_for(1e6, cpu, None) == 1
    with pytest.raises(ValueError, match="workers 0: expected a number of processes, at least 1"):
        workers_for(0.0, cpu, 0)


@pytest.mark.slow
def test_a_certification_is_shared_too(tmp_path):
    run = RunConfig(detector=("median",), norm="l2", steps=1, restarts=1, **{**SMALL, "limit": 8})
    config = CertifyConfig(run=run, samples=1500)
    alone, _ = certify(config, out=tmp_path / "alone", workers=1)
    folder = share_certification(config, turn=0.5, out=tmp_path)
    parts = len(made(folder))
    assert main(["work", str(folder), "--quiet"]) == 0
    result, same = certify(config, out=tmp_path, workers=1)
    assert (same, len(made(folder))) == (folder, parts)
    assert result.certificates_sha256 == alone.certificates_sha256
    assert result.rows == alone.rows


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["run", "run-2", "certify", "certify-2"])
def test_killed_runs_end_as_others(kind):
    """200 kills at random moments, also of two that share the work, in turn."""
    ended = subprocess.run([sys.executable, "-m", "tests.roodbench.store.kills", kind, "200", "0"], text=True)
    assert ended.returncode == 0
