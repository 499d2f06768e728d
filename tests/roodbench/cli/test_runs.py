"""What is kept, how far each run came, and the end of what nobody needs."""

import json
import os
import random
import shutil
import time

import pytest

from roodbench import api
from roodbench.cli import main
from roodbench.setup.config import RunConfig
from roodbench.store.claims import me
from roodbench.store.journal import Journal
from roodbench.store.runs import Run

SMALL = {"ood": ("photos",), "limit": 6, "device": "cpu", "attack": "none"}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Two runs that share some of what they need."""
    out = tmp_path_factory.mktemp("runs")
    for names in (("ebo",), ("ebo", "gen")):
        api.run(RunConfig(detector=names, **SMALL), out=out, workers=1)
    return out


@pytest.fixture
def out(kept, tmp_path):
    return shutil.copytree(kept, tmp_path / "runs")


def called(capsys, *words):
    """Exit code, stdout and stderr of `roodbench runs`."""
    code = main(["runs", *map(str, words)])
    return code, *capsys.readouterr()


def listed(out, capsys):
    return json.loads(called(capsys, "--out", out, "--format", "json")[1])


def test_they_are_listed(out, capsys):
    found = listed(out, capsys)
    assert [run["name"].rpartition("-")[0] for run in found] == ["digits-ebo", "digits-ebo-gen"]
    assert [run["state"] for run in found] == ["finished", "finished"]
    assert 0 < found[1]["computed"] < found[1]["parts"] == len(list((out / "cells").iterdir()))
    _, text, _ = called(capsys, "--out", out)
    assert [line.partition(":")[0] for line in text.splitlines()] == [run["name"] for run in found]


def test_one_is_shown(out, capsys):
    _, text, _ = called(capsys, "show", "digits-ebo-gen", "--out", out)
    assert "workers: none" in text
    assert "gen, digits clean: 6 images in" in text
    assert "ebo" not in text.partition("parts:")[2]  # the first run had computed that


def test_a_run_that_goes_on_is_left_alone(out, capsys):
    name = listed(out, capsys)[0]["name"]
    Journal(out / name)
    assert [run["state"] for run in listed(out, capsys)] == ["running", "finished"]
    code, _, err = called(capsys, "remove", name, "--out", out)
    assert code == 2
    assert f"is being computed (process {me()['pid']}): stop it first" in err


def test_one_that_was_stopped(out, capsys):
    name = listed(out, capsys)[0]["name"]
    (out / name / "result.json").unlink()
    assert [run["state"] for run in listed(out, capsys)] == ["stopped", "finished"]


def test_what_another_run_needs_stays(out, capsys):
    before = {run["name"]: run["parts"] for run in listed(out, capsys)}
    small, large = before
    assert called(capsys, "remove", small, "--out", out)[0] == 0
    assert len(list((out / "cells").iterdir())) == before[large]
    _, text, _ = called(capsys, "remove", large, "--out", out)
    assert f"and {before[large]} kept parts" in text
    assert list((out / "cells").iterdir()) == []
    assert called(capsys, "--out", out)[1] == f"no runs in {out}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show"], "runs show: expected the name of a run"),
        (["list", "x"], "runs list: takes no name"),
        (["forget", "x"], "unknown action 'forget': expected one of"),
        (["show", "digits-ebo"], "is the beginning of digits-ebo-"),
        (["remove", "cells"], "unknown run 'cells'"),
        (["remove", "../x"], "unknown run '../x'"),
    ],
)
def test_mistakes(words, said, out, capsys):
    code, _, err = called(capsys, *words, "--out", out)
    assert code == 2
    assert said in err


def spoilt(text, draw):
    """A file's bytes, cut, edited, doubled, or made another's."""
    data = bytearray(text)
    kind = draw.randrange(5)
    if kind == 0:
        return bytes(data[: draw.randrange(len(data) + 1)])
    if kind == 1:
        for _ in range(draw.randrange(1, 9)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        return bytes(data)
    if kind == 2:
        return bytes(data + data)
    if kind == 3:
        return draw.choice([b"", b"[]", b"null", b'{"schema": 1}', b'{"made": 3}\n{"used": {}}\n', b"\x00" * 64])
    return bytes(reversed(data))


def fuzz(out, capsys, seeds):
    right = api.run(RunConfig(detector=("ebo", "gen"), **SMALL), out=out, workers=1)[0]
    files = [p for p in sorted(out.rglob("*")) if p.is_file() and not p.name.startswith("vm")]
    files += sorted(out.rglob("*.jsonl"))
    whole = {file: file.read_bytes() for file in files}
    for seed in seeds:
        draw = random.Random(seed)
        for file in draw.sample(files, draw.randrange(1, 5)):
            file.write_bytes(spoilt(whole[draw.choice([file, *files])] or b" ", draw))
        for words in (["--out", out], ["show", "digits-ebo-gen", "--out", out]):
            code, _, err = called(capsys, *words)
            assert code in (0, 1, 2), (seed, err)
            assert "internal error" not in err, (seed, err)
        found = api.run(RunConfig(detector=("ebo", "gen"), **SMALL), out=out, workers=1)[0]
        assert [row.auroc for row in found.rows] == [row.auroc for row in right.rows], seed
        assert found.scores_sha256 == right.scores_sha256, seed
        for file in files:
            file.write_bytes(whole[file])


def test_spoilt_folders_cost_no_right_number(out, capsys):
    fuzz(out, capsys, range(12))


@pytest.mark.slow
def test_a_thousand_spoilt_folders(out, capsys):
    fuzz(out, capsys, range(1000, 2000))


def test_a_journal_of_a_machine_elsewhere_counts_while_it_is_young(out, capsys):
    name = listed(out, capsys)[0]["name"]
    file = out / name / "workers" / "elsewhere.jsonl"
    file.write_text(json.dumps({"began": {"machine": "another", "pid": 1, "born": "1"}}) + "\n")
    assert Run(out / name).state == "running"
    for path in (out / name / "workers").iterdir():
        os.utime(path, (time.time() - 100,) * 2)
    assert Run(out / name).state == "finished"
