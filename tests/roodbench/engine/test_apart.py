"""A copy of the process computes beside it: what it gives, and what becomes of one that gives nothing."""

import os
import sys
import time

import pytest
import torch

from roodbench.engine import apart
from roodbench.engine.apart import Apart
from tests.roodbench.helpers import wait_for

CPU = torch.device("cpu")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="no other system copies a process without harm")


def test_a_copy_meets_nothing_that_comes_later_and_says_nothing(capfd):
    met = []

    def compute():
        sys.stdout.write("in the copy")
        x = torch.rand(8, 3, 16, 16, requires_grad=True)
        torch.nn.functional.conv2d(x, torch.ones(4, 3, 3, 3)).sum().backward()  # many threads, were there any
        met.append("in the copy")
        return met, x.grad.shape[0]

    torch.nn.functional.conv2d(torch.rand(64, 3, 32, 32), torch.ones(8, 3, 3, 3))
    beside = Apart(compute, CPU)
    met.append("here")
    assert beside.found() == (["in the copy"], 8)
    assert met == ["here"]
    assert capfd.readouterr() == ("", "")
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_more_than_a_pipe_holds():
    assert len(Apart(lambda: bytes(300_000), CPU).found()) == 300_000


def test_one_that_fails_or_hangs_gives_nothing_and_it_is_said(monkeypatch, caplog):
    monkeypatch.setattr(apart, "PATIENCE", 0.2)
    start = time.monotonic()
    assert Apart(lambda: 1 / 0, CPU).found() is None
    assert Apart(lambda: time.sleep(60), CPU).found() is None
    assert time.monotonic() - start < 20
    assert caplog.text.count("a copy of this process failed or took too long: what globals remember was not") == 2
    assert Apart(lambda: 1, torch.device("meta")).found() is None
    assert len(caplog.records) == 2


def test_one_that_is_not_asked_ends():
    one = Apart(lambda: time.sleep(60), CPU)
    del one
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_one_whose_process_is_gone_ends():
    """What it cannot write, nobody waits for."""
    one = Apart(lambda: bytes(300_000), CPU)
    _, _, (child, pipe), _ = one._end.detach()
    os.close(pipe)
    wait_for("its end", lambda: os.waitpid(child, os.WNOHANG)[0] == child)
