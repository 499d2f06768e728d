"""A claim holds while its process lives, is taken over when it does not, and decides no number."""

import json
import os
import subprocess
import sys

import pytest

from roodbench.store import claims
from roodbench.store.claims import Claims, create, is_alive, me


@pytest.fixture
def file(tmp_path):
    return tmp_path / "cell.safetensors"


@pytest.fixture
def other(file):
    """A process that claims the file, and lives until it is killed."""
    code = f"from roodbench.store.claims import *; create(Path({str(file)!r}).with_suffix('.claim')); print(); input()"
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
        file.with_suffix(".01.tmp").write_text(gone)
        half = file.with_name("x.safetensors.02.tmp")
        half.write_bytes(b"\xff")
        Claims().sweep(file.parent)
        assert {p.name for p in file.parent.iterdir()} == {file.name, "ours.claim", half.name}


def test_what_the_next_owner_writes_is_not_swept(file, monkeypatch):
    """A third process claims and begins to write between our move of a dead claim and our look at what it left."""
    claim, rename = file.with_suffix(".claim"), os.rename
    claim.write_text(json.dumps({**me(), "pid": 2**22 + 1}))
    dead, living = (file.with_name(f"{file.name}.{n}.tmp") for n in ("00", "01"))
    dead.write_text("half")

    def moved(old, new):
        rename(old, new)
        assert create(claim)
        living.write_text("half")

    monkeypatch.setattr(os, "rename", moved)
    Claims().sweep(file.parent)
    assert {p.name for p in file.parent.iterdir()} == {claim.name, living.name}
    assert json.loads(claim.read_text()) == me()


def test_a_cell_that_is_being_written_is_no_half_claim(file, monkeypatch):
    """Bytes that are text too (zeros, or none yet), a minute old."""
    now, ours = [0.0], Claims()
    monkeypatch.setattr(claims.time, "monotonic", lambda: now[0])
    parts = [file.with_name(f"{file.name}.{n}.tmp") for n in ("00", "01")]
    for part, content in zip(parts, (b"", bytes(64)), strict=True):
        part.write_bytes(content)
    for now[0] in (0.0, 100.0):
        ours.sweep(file.parent)
    assert sorted(file.parent.iterdir()) == parts


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
    file.with_suffix(".safetensors.0a1b.tmp").write_text("half")
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
