"""A claim holds while its process lives, is taken over when it does not, and decides no number."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from roodbench.store import claims
from roodbench.store.claims import Claims, create
from roodbench.store.files import save_text, temporary_of
from roodbench.store.process import is_alive, mark_of, me, of_mark
from tests.roodbench.helpers import wait_for


@pytest.fixture
def file(tmp_path):
    return tmp_path / "cell.safetensors"


@pytest.fixture
def other(file):
    """A process that claims the file, and lives until it is killed."""
    claim = str(file.with_suffix(".claim"))
    code = f"import pathlib, roodbench.store.claims as c; c.create(pathlib.Path({claim!r})); print(); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        yield process
        process.kill()


def taken(file):
    """Whether this process, as one that holds nothing yet, may compute the file."""
    with Claims().on(file) as mine:
        return mine


def test_one_at_a_time(file):
    first, second = Claims(), Claims()
    with first.on(file) as mine, second.on(file) as theirs:
        assert (mine, theirs) == (True, False)
        assert not second.is_free(file)
    assert second.is_free(file)
    assert list(file.parent.iterdir()) == []


def test_a_claim_gives_signs_of_life_and_its_thread_ends_with_it(file, monkeypatch):
    """A process that makes many stores, as a notebook or these tests do, is not full of threads at the end."""
    monkeypatch.setattr(claims, "BEAT", 0.01)
    claim, before = file.with_suffix(".claim"), threading.active_count()
    with Claims().on(file):
        os.utime(claim, (1, 1))
        wait_for("a sign of life", lambda: claim.stat().st_mtime > 2)
    wait_for("the end of a thread", lambda: threading.active_count() <= before)


def test_an_error_frees_it(file):
    with pytest.raises(ZeroDivisionError), Claims().on(file):
        raise ZeroDivisionError
    assert taken(file)


def test_what_processes_that_are_gone_left_is_swept(file, other):
    claim, gone = file.with_suffix(".claim"), json.dumps({**me(), "pid": 2**22 + 1})
    Claims().sweep(file.parent / "nowhere")
    ours = file.with_name("ours.safetensors")
    with Claims().on(ours):
        Claims().sweep(file.parent)
        assert {p.name for p in file.parent.iterdir()} == {claim.name, "ours.claim"}
        other.kill()
        other.wait()
        file.write_text("finished")  # and the claim on it not yet ended
        file.with_suffix(".00.stale").write_text(gone)
        for half in (file, claim):
            half_by({**me(), "pid": 2**22 + 1}, half)
        living = [half_by(me(), half) for half in (file, claim)]
        Claims().sweep(file.parent)
        assert {p.name for p in file.parent.iterdir()} == {file.name, "ours.claim", *(p.name for p in living)}


@pytest.mark.skipif(sys.platform != "linux", reason="Linux says when a process began")
def test_a_process_that_the_system_hides_may_live(file, monkeypatch):
    """/proc with `hidepid` shows nobody another user's processes; signals still meet them."""

    def refused(pid, number):
        raise PermissionError

    hidden = {**me(), "pid": 2**22 + 1}
    half = half_by(hidden, file)
    assert is_alive(hidden) is False
    monkeypatch.setattr(os, "kill", refused)
    assert is_alive(hidden) is None
    save_text("", file)
    assert half.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="Linux names processes in bytes")
def test_a_name_that_is_cut_within_a_letter():
    """Linux keeps 15 bytes of it."""
    comm = Path("/proc/self/comm")
    before = comm.read_bytes()
    comm.write_bytes("évaluer-modèle".encode()[:13])
    try:
        assert is_alive(me())
    finally:
        comm.write_bytes(before.strip())


def half_by(process, file, days=0.0):
    """Half a file that a process was writing so many days ago."""
    half = file.with_name(f"{file.name}.{mark_of(process)}.0a1b2c3d.tmp")
    half.write_bytes(b"\xff")
    os.utime(half, (time.time() - days * 86400,) * 2)
    return half


def test_who_writes_a_file_anew_clears_what_was_half_written(tmp_path):
    record, dead = tmp_path / "result.json", {**me(), "pid": 2**22 + 1}
    elsewhere = {**me(), "machine": "another one", "pid": os.getpid()}
    half_by(dead, record)
    half_by({**me(), "born": "1"}, record)  # a process of our number, long ago
    half_by(elsewhere, record, days=1.01)
    left = [half_by(me(), record), half_by(elsewhere, record, days=0.99), half_by(dead, tmp_path / "result.csv")]
    for name in ("result.json.tmp", "result.json.1-2.0a1b2c3d.tmp", "result.json.1-2-x.0.tmp"):  # anybody's
        left.append(tmp_path / name)
        left[-1].write_text("mine")
        os.utime(left[-1], (0, 0))
    save_text("whole", record)
    assert sorted(tmp_path.iterdir()) == sorted([record, *left])
    assert record.read_text() == "whole"


def test_a_mark_names_its_process():
    assert of_mark(mark_of(me())) == me()
    assert temporary_of(Path("a.b/c.d")).name.rsplit(".", 3)[:2] == ["c.d", mark_of(me())]
    assert is_alive(of_mark(mark_of({**me(), "machine": "another one"}))) is None
    assert [of_mark(mark) for mark in ("", "1-2", "x-2-00000000", "1-2-0000000")] == [None] * 4


def test_a_claim_that_was_taken_over_is_left_to_its_owner(file):
    """While this process slept, one elsewhere saw no sign of life."""
    claim, theirs = file.with_suffix(".claim"), json.dumps({**me(), "machine": "another one"})
    with Claims().on(file) as mine:
        assert mine
        claim.write_text(theirs)
    assert claim.read_text() == theirs


def test_a_process_that_was_killed_loses_its_claims(file, other):
    assert not taken(file)
    assert not Claims().is_free(file)
    other.kill()
    other.wait()
    assert Claims().is_free(file)
    assert taken(file)
    assert list(file.parent.iterdir()) == []


def test_a_process_of_the_same_number_is_another_one(file):
    file.with_suffix(".claim").write_text(json.dumps({**me(), "born": "1"}))
    assert is_alive(me())
    assert taken(file)


def test_elsewhere_only_signs_of_life_count(file, monkeypatch):
    claim = file.with_suffix(".claim")
    claim.write_text(json.dumps({**me(), "machine": "another one", "born": "1"}))
    now = [0.0]
    monkeypatch.setattr(claims.time, "monotonic", lambda: now[0])
    ours = Claims()
    for now[0], beat in ((1.0, 10), (50.0, 20), (100.0, 20), (111.0, 20)):
        os.utime(claim, (beat, beat))
        with ours.on(file) as mine:
            assert mine == (now[0] == 111.0), now


def test_a_claim_that_was_renewed_meanwhile_is_put_back(file, monkeypatch):
    """Another process takes over the same dead claim between our look and our move."""
    claim = file.with_suffix(".claim")
    claim.write_text(json.dumps({**me(), "pid": 2**22 + 1}))
    ours, rename = Claims(), os.rename

    def late(old, new):
        claim.unlink()
        assert create(claim)
        rename(old, new)

    monkeypatch.setattr(os, "rename", late)
    with ours.on(file) as mine:
        assert not mine
    assert json.loads(claim.read_text()) == me()
    assert [p.name for p in file.parent.iterdir()] == [claim.name]


def test_a_link_that_was_made_twice_is_ours(file, monkeypatch):
    """NFS may lose the answer to a link that was made, ask again, and hear that it exists."""
    link = os.link

    def twice(old, new):
        link(old, new)
        link(old, new)

    monkeypatch.setattr(os, "link", twice)
    assert taken(file)
    assert list(file.parent.iterdir()) == []


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', "{}", '{"machine": 3}', "\x00" * 40])
def test_a_claim_that_says_nothing_is_as_one_from_elsewhere(text, file):
    file.with_suffix(".claim").write_text(text)
    assert not taken(file)


def test_where_nothing_can_be_claimed_everybody_computes(tmp_path):
    (tmp_path / "cells").write_text("no folder")
    assert taken(tmp_path / "cells" / "a.safetensors")
