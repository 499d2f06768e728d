"""Streams as shells hand them over, exit codes that are true, and signals."""

import io
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from roodbench import cli, job
from roodbench.cli.main import INTERRUPTED, is_mistake
from roodbench.store import files

TABLE = ["--detector", "gen", "--attack", "none", "--limit", "8", "--ood", "unseen-digits"]


def shell(line, **environment):
    """A line of sh, in which ROOD is the command."""
    line = line.replace("ROOD", f"{sys.executable} -m roodbench")
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, env={**os.environ, "XDG_CACHE_HOME": ".", **environment}
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1"])
def test_rules_are_plain_where_the_encoding_has_no_others(encoding, tmp_path, monkeypatch):
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding=encoding))
    assert cli.main([*TABLE, "--out", str(tmp_path)]) == 0
    (file,) = tmp_path.glob("*/table.txt")
    kept = file.read_text(encoding="utf-8")
    assert "─────" in kept
    assert out.getvalue().decode("ascii") == kept.replace("─", "-")


def test_names_that_cannot_be_encoded_are_escaped(capsys, monkeypatch):
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(out, encoding="ascii", errors="strict"))
    assert cli.main(["--detector", "détecteur"]) == 2
    assert b"unknown detector 'd\\xe9tecteur': expected" in out.getvalue()


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("closed", [True, False], ids=["closed", "none"])
def test_a_stream_may_be_closed(stream, closed, tmp_path, monkeypatch):
    gone = io.StringIO()
    gone.close()
    monkeypatch.setattr(sys, stream, gone if closed else None)
    assert cli.main([*TABLE, "--out", str(tmp_path)]) == 0
    assert len(list(tmp_path.glob("*/result.json"))) == 1


class Leaving(io.StringIO):
    """A reader that has left, or a disk that is full."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def write(self, text):
        raise self.error


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"], ["list"], TABLE])
def test_a_reader_that_left_is_no_failure(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", Leaving(BrokenPipeError(32, "Broken pipe")))
    out = ["--out", str(tmp_path)] if arguments is TABLE else []
    assert cli.main([*arguments, *out]) == 0
    assert "rror" not in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], ["list"], TABLE])
def test_output_that_is_lost_exits_1(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", Leaving(OSError(28, "No space left on device")))
    out = ["--out", str(tmp_path)] if arguments is TABLE else []
    assert cli.main([*arguments, *out]) == 1
    error = "roodbench: error: cannot write to stdout: No space left on device"
    assert capsys.readouterr().err.splitlines()[-1] == error


def test_a_real_pipe_and_closed_descriptors():
    line = "ROOD --help | true; echo ${PIPESTATUS[0]}; ROOD --version >&- 2>&- <&-; echo $?; ROOD --foo 2>&-; echo $?"
    code, out, err = shell(line)
    assert (code, out, err) == (0, "0\n0\n2\n", "")


def test_detectors_without_docstrings_are_listed(monkeypatch, capsys):
    import detectors

    monkeypatch.setattr(detectors.MSP, "__doc__", None)
    assert cli.main(["list", "--format", "json"]) == 0
    first = json.loads(capsys.readouterr().out)["detectors"][0]
    assert (first["name"], first["about"]) == ("msp", "")


@pytest.mark.slow
def test_without_docstrings_and_assertions(tmp_path):
    """Half a minute where python cannot keep what it compiles of torch with -OO."""
    commands = [["run", "--help"], ["list"], [*TABLE, "--out", str(tmp_path)]]
    code = f"import sys; from roodbench.cli import main; sys.exit(any([main(a) for a in {commands!r}]))"
    done = subprocess.run([sys.executable, "-OO", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for text in ("--detector", "arXiv:2503.18784", "unseen-digits (near)"):
        assert text in done.stdout


@pytest.mark.parametrize("columns", ["20", "1"])
def test_narrow_terminals_without_colours_cut_no_number(columns, tmp_path, monkeypatch, capsys):
    for name, value in {"COLUMNS": columns, "TERM": "dumb", "NO_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    assert cli.main([*TABLE, "--out", str(tmp_path)]) == 0
    narrow = capsys.readouterr().out
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert cli.main([*TABLE, "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out == narrow
    assert "100.0 [" in narrow


def fell_out(*rest, **settings):
    return np.zeros(3).reshape(2, 2)


def sums_up(*rest, **settings):
    return int("three")


def called_exit(*rest, **settings):
    raise SystemExit(0)


@pytest.mark.parametrize(
    ("name", "fault", "said"),
    [
        ("roodbench.job.Setting", fell_out, "internal error: ValueError: cannot reshape array"),
        ("roodbench.job.Setting", sums_up, "internal error: ValueError: invalid literal for int()"),
        ("roodbench.job.Setting", called_exit, "a module that was imported called sys.exit(0)"),
    ],
)
def test_faults_of_the_program_are_no_usage_errors(name, fault, said, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(name, fault)
    assert cli.main([*TABLE, "--out", str(tmp_path)]) == 1
    err = capsys.readouterr().err
    assert f"roodbench: error: {said}" in err
    assert err.count("\n") == 1
    assert ("ROODBENCH_TRACEBACK=1 shows where" in err) == (fault is not called_exit)


@pytest.mark.parametrize(
    ("module", "body", "mistake"),
    [
        ("roodbench.data.x", "raise ValueError('limit 1: expected 2')", True),
        ("detectors.x", "raise ValueError('sigma')", True),
        ("roodbench.data.x", "int('three')", False),
        ("roodbench.data.x", "max([])", False),
        ("numpy.x", "raise ValueError('shapes')", False),
        ("roodbenches", "raise ValueError('mine')", False),
    ],
)
def test_what_a_statement_of_ours_raises_is_the_users_mistake(module, body, mistake):
    space = {"__name__": module}
    exec(f"def f():\n    try:\n        {body}\n    finally:\n        str()", space)
    with pytest.raises(ValueError) as caught:
        space["f"]()
    assert is_mistake(caught.value) is mistake


def full(*rest, **settings):
    raise OSError(28, "No space left on device")


def test_a_full_disk_loses_no_table(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(files.os, "replace", full)
    assert cli.main([*TABLE, "--out", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert "unseen-digits (near)" in out
    assert err.count("cannot keep") == 1
    assert f"error: the record cannot be kept in '{tmp_path}" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("kind", ["empty", "file", "below a file", "read-only"])
@pytest.mark.parametrize("verb", [[], ["certify"]])
def test_a_folder_that_takes_nothing_is_found_at_once(kind, verb, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    place = {"empty": "", "file": tmp_path / "file", "below a file": tmp_path / "file" / "runs"}.get(kind, tmp_path)
    if kind == "read-only":
        monkeypatch.setattr("tempfile.TemporaryFile", full)  # who is root may write everywhere
    for name in ("roodbench.job.Setting", "roodbench.certify.run.Setting"):
        monkeypatch.setattr(name, None)
    assert cli.main([*verb, "--limit", "4", "--out", str(place)]) == 2
    err = capsys.readouterr().err
    said = {"empty": "out '': expected a folder", "file": f"out '{place}' is a file: expected a folder"}
    assert said.get(kind, f"cannot write to '{place}': ") in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_signals_end_a_run_with_one_line(name, monkeypatch, capsys, tmp_path):
    """Whatever started the tests: a shell's background job ignores SIGINT."""
    number = getattr(signal, name)
    usual = signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL
    before = signal.signal(number, usual)

    def stopped(*rest, **settings):
        os.kill(os.getpid(), number)
        time.sleep(5)

    monkeypatch.setattr("roodbench.job.Setting", stopped)
    try:
        assert cli.main([*TABLE, "--out", str(tmp_path)]) == 128 + number
        assert capsys.readouterr().err == f"roodbench: error: {INTERRUPTED}\n"
        assert signal.getsignal(number) is usual
    finally:
        signal.signal(number, before)


def test_a_signal_that_is_ignored_stays_ignored(monkeypatch, tmp_path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        find = job.Setting
        monkeypatch.setattr(
            "roodbench.job.Setting",
            lambda *rest, **settings: os.kill(os.getpid(), signal.SIGHUP) or find(*rest, **settings),
        )
        assert cli.main([*TABLE, "--out", str(tmp_path)]) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("terminal", "term", "bars"), [(True, "xterm", True), (True, "dumb", False), (False, "xterm", False)]
)
def test_bars_are_drawn_where_they_can_be(terminal, term, bars, monkeypatch, caplog):
    from roodbench.engine.progress import progress_of

    err = io.StringIO()
    err.isatty = lambda: terminal
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setenv("TERM", term)
    caplog.set_level("INFO", "roodbench")
    with progress_of(True)("gen, digits [clean]", 4) as advance:
        advance(4)
    assert ("gen, digits [clean]" in err.getvalue()) is bars
    assert (caplog.messages == []) is bars
