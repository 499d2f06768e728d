"""benchmarks/gpu.sh on a pretend GPU, with tiny sizes: its commands run, and a wrong number stops it."""

import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import agreement, waits

ROOT = Path(__file__).parents[2]
PARTS = ["agreement", "waits", "loops", "throughput", "scaling", "studies"]
PRETENDS = """
from tests.pretend import Pretend, pretending
kept = pretending()
kept.__enter__()
"""
WRONG = """
right = Pretend.__torch_dispatch__
def wrong(cls, func, types, args=(), kwargs=None):
    found = right(func, types, args, kwargs)
    if "logsumexp" in str(func):
        found.held.mul_(1 + 1e-2 * found.held.abs())
    return found
Pretend.__torch_dispatch__ = classmethod(wrong)
"""


@pytest.fixture
def dry_run(tmp_path):
    """gpu.sh's exit code and output, on a machine where every Python that starts has a pretend GPU."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash")

    def run(*parts, start=PRETENDS):
        (tmp_path / "bin").mkdir()
        python = tmp_path / "bin" / "python"
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        python.chmod(0o755)
        (tmp_path / "sitecustomize.py").write_text(start)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "ROODBENCH"))}
        places = {
            "PATH": f"{tmp_path / 'bin'}{os.pathsep}{kept['PATH']}",
            "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]),
        }
        command = [bash, "benchmarks/gpu.sh", str(tmp_path / "out"), *parts]
        done = subprocess.run(
            command, cwd=ROOT, env={**kept, **places, "ROODBENCH_TINY": "1"}, capture_output=True, text=True
        )
        return done.returncode, done.stdout + done.stderr

    return run


def test_a_wrong_number_stops_it_before_anything_is_timed(dry_run, tmp_path):
    code, said = dry_run("agreement", "throughput", start=PRETENDS + WRONG)
    assert code == 1, said
    assert "| msp: scores apart | 0 | 0.05 |" in said
    assert re.search(r"^WRONG: msp: gradients of log-odds turned: (0\.\d+|1), at most 0\.1$", said, re.MULTILINE), said
    assert "== throughput" not in said
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["gpu-agreement.md"]


@pytest.mark.slow
def test_all_of_it_runs(dry_run, tmp_path):
    timed = importlib.util.find_spec("pytest_benchmark") is not None
    code, said = dry_run(*(part for part in PARTS if timed or part != "loops"))
    assert code == 0, said
    assert "| ross: AUROC under attack apart | 0 | 0.03 |" in said
    assert said.count("| ebo | 2 | 1 | 1 | 1 | 1 | 1 | 1 |") == 1
    assert "projection: CIFAR-10" in said
    assert "no ROODBENCH_DATA: left out" in said
    made = {file.name for file in (tmp_path / "out").iterdir()}
    assert made >= {f"gpu-{part}.md" for part in PARTS if part not in ("loops", "studies")}


def test_a_part_that_does_not_exist_is_named(dry_run):
    code, said = dry_run("aggreement")
    assert code == 2
    assert "unknown part aggreement" in said


def test_its_studies_have_the_options_that_it_gives(capsys):
    """They take hours, so that they are not run here."""
    script = (ROOT / "benchmarks" / "gpu.sh").read_text().replace("\\\n", " ")
    calls = re.findall(r"python -m (studies\.\w+)(.*)", script)
    assert len(calls) == 2
    for module, options in calls:
        with pytest.raises(SystemExit):
            importlib.import_module(module).main(["--help"])
        said = capsys.readouterr().out
        for option in {*re.findall(r"--[\w-]+", options), "--data-root", "--weights"}:
            assert f"{option} " in said, f"{module} {option}"


@pytest.mark.parametrize("module", [agreement, waits])
def test_without_a_gpu_there_is_nothing_to_compare(module, capsys):
    with pytest.raises(SystemExit) as stopped:
        module.main([])
    assert stopped.value.code == 2
    assert "this machine has no CUDA device" in capsys.readouterr().err
