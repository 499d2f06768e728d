"""What goes to stderr: for people, and for machines."""

import json
import os

import pytest

from roodbench.cli import main
from roodbench.cli.console import own_matplotlib
from roodbench.engine import progress


def test_a_log_for_machines(capsys):
    """Notices and errors are JSON, one object a line; the result on stdout stays what it is."""
    words = ["--detector", "ebo", "--attack", "none", "--limit", "8", "--ood", "photos", "--log-format", "json"]
    assert main(words) == 0
    out, err = capsys.readouterr()
    said = [json.loads(line) for line in err.splitlines()]
    assert {tuple(line) for line in said} == {("time", "level", "message")}
    assert "ebo, digits clean: 8 images in 0 s" in [line["message"] for line in said]
    assert "AUROC" in out
    assert main([*words, "--limit", "1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["level"] == "error"
    assert json.loads(line)["message"].startswith("limit 1: expected")
    assert main([*words[:-1], "jsonl"]) == 2
    assert "error: unknown log format 'jsonl': expected one of text, json" in capsys.readouterr().err


def test_a_line_a_minute(caplog, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    with caplog.at_level("INFO", "roodbench"), progress.lines("gen, digits clean", 640) as advance:
        for now[0] in (20.0, 65.0, 70.0, 130.0, 140.0):
            advance(128)
    said = [record.getMessage() for record in caplog.records]
    numbers = {"256 of 640 images": 65, "512 of 640 images": 130, "640 images": 140}
    assert said == [f"gen, digits clean: {images} in {seconds} s" for images, seconds in numbers.items()]


@pytest.mark.parametrize(("verb", "theirs"), [("figure", None), ("certify", None), ("figure", "mine"), ("run", None)])
def test_matplotlib_writes_to_our_cache_while_a_verb_draws(verb, theirs, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("MPLCONFIGDIR", raising=False)
    if theirs is not None:
        monkeypatch.setenv("MPLCONFIGDIR", theirs)
    ours = str(tmp_path / "roodbench" / "matplotlib") if verb != "run" and theirs is None else theirs
    with own_matplotlib(verb):
        assert os.environ.get("MPLCONFIGDIR") == ours
    assert os.environ.get("MPLCONFIGDIR") == theirs
