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
from roodbench.store import claims
from roodbench.store.folder import now_in, run_folder
from roodbench.store.journal import Journal
from roodbench.store.process import me
from roodbench.store.runs import Run
from tests.roodbench.helpers import wait_for

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


@pytest.mark.parametrize("verb", [["runs"], ["report", "x"], ["compare", "x", "y"]], ids=str)
def test_to_look_at_runs_writes_nothing(verb, tmp_path, capsys):
    main([*verb, "--out", str(tmp_path / "typo")])
    said = capsys.readouterr()
    assert "no runs in" in said.out + said.err
    assert not (tmp_path / "typo").exists()


def test_its_command_may_be_pasted(out, capsys):
    file = out / called(capsys, "--out", out)[1].partition(":")[0] / "manifest.json"
    said = json.loads(file.read_text())
    file.write_text(json.dumps({**said, "command": ["roodbench", "--benchmark", "my pics", "--out", "ü $x"]}))
    _, text, _ = called(capsys, "show", file.parent.name, "--out", out)
    assert "command: roodbench --benchmark 'my pics' --out 'ü $x'\n" in text


def test_a_run_that_goes_on_is_left_alone(out, capsys):
    name = listed(out, capsys)[0]["name"]
    Journal(out / name)
    assert [run["state"] for run in listed(out, capsys)] == ["running", "finished"]
    code, _, err = called(capsys, "remove", name, "--out", out)
    assert code == 2
    assert f"is being computed (process {me()['pid']}): stop it first" in err


def elsewhere(out, name, age):
    """A process on another machine, whose last sign of life is so many seconds old by the folder's clock."""
    folder = out / name / "workers"
    folder.mkdir(exist_ok=True)
    file = folder / "other-7.jsonl"
    file.write_text(json.dumps({"began": {"machine": "other", "pid": 7, "born": "1"}, "at": 0}) + "\n")
    then = now_in(out) - age
    os.utime(file, (then, then))


@pytest.mark.parametrize(("age", "state"), [(5, "running"), (300, "finished")])
@pytest.mark.parametrize("skew", [-1000, 0, 1000])
def test_a_process_elsewhere_counts_by_the_folders_clock(age, state, skew, out, capsys, monkeypatch):
    name = listed(out, capsys)[0]["name"]
    elsewhere(out, name, age)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + skew)
    assert [run["state"] for run in listed(out, capsys)] == [state, "finished"]


def test_a_process_that_began_and_ended_elsewhere_says_nothing_of_another_one(out, capsys):
    """Only a process's own journal is its sign of life."""
    name = listed(out, capsys)[0]["name"]
    elsewhere(out, name, 300)
    (out / name / "workers" / "other-8.jsonl").write_text('{"made": "a"}\n')
    assert listed(out, capsys)[0]["workers"] == []


def test_one_long_part_is_no_end(out, capsys, monkeypatch):
    """A journal's date is renewed while its process lives: a part may take an hour."""
    monkeypatch.setattr(claims, "BEAT", 0.01)
    with Journal(out) as ours:
        os.utime(ours.file, (1, 1))
        wait_for("a sign of life", lambda: ours.file.stat().st_mtime > 2)


def test_a_part_that_was_computed_anew_counts_as_the_last_time(tmp_path):
    """By when, not by the names of journals: process 999 comes after process 1000 there."""
    for pid, seconds, at in ((999, 1.0, 1.0), (1000, 5.0, 2.0)):
        line = {"made": "a", "detector": "d", "label": "l", "images": 4, "seconds": seconds, "at": at}
        (tmp_path / "workers").mkdir(exist_ok=True)
        (tmp_path / "workers" / f"host-{pid}.jsonl").write_text(json.dumps(line) + "\n")
    assert Run(tmp_path).throughput == {"d, l": {"images": 4, "seconds": 5.0}}


def test_words_that_are_long_make_no_name_that_is(tmp_path):
    names = [f"/{'ü' * 90}/{'y' * 200}/b.toml", *(f"/{'x' * 240}/my.py:Score{n}" for n in range(3))]
    place = run_folder(tmp_path, names, 1)
    place.mkdir()
    assert place.name.startswith("yyy")
    assert "y.b.toml-xxx" in place.name


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
    fuzz(out, capsys, range(6))


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
