"""A bound on memory: what would pass it is refused, passes are smaller, and no number is another."""

import json
import resource
import subprocess
import sys

import pytest
import torch

import roodbench
from roodbench.engine.crew import sharers
from roodbench.machine import bound
from roodbench.machine.bound import LEAST, bounded, data_held, left_of_gpu
from roodbench.machine.memory import batch_of, free_memory, limit
from roodbench.machine.prepare import Prepared
from roodbench.store.journal import Journal, lines_of
from roodbench.store.runs import Run

CPU = torch.device("cpu")
SLACK = 2**26
"""Bytes by which the heap of a long session may shrink meanwhile."""
SMALL = roodbench.RunConfig(detector="ebo", attack="none", limit=70, ood="noise", device="cpu")
linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone bounds the data of a process")


@linux
def test_what_would_pass_the_bound_is_refused():
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with bounded(2 * LEAST, CPU, among=2):
        assert 0 < free_memory(CPU) <= LEAST + SLACK
        torch.empty(LEAST // 2, dtype=torch.uint8).fill_(1)
        with pytest.raises(RuntimeError, match="can't allocate memory"):
            torch.empty(2 * LEAST, dtype=torch.uint8)
        with pytest.raises(MemoryError):
            bytearray(2 * LEAST)
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
    with pytest.raises(MemoryError, match=r"^memory 256MiB is too little \(.*can't allocate"), bounded(LEAST, CPU):
        torch.empty(2 * LEAST, dtype=torch.uint8)
    with pytest.raises(RuntimeError, match="shapes"), bounded(LEAST, CPU):
        raise RuntimeError("shapes")
    with bounded(None, CPU):
        assert resource.getrlimit(resource.RLIMIT_DATA) == before


@linux
def test_a_bound_of_the_user_holds_within_ours():
    before = resource.getrlimit(resource.RLIMIT_DATA)
    own = data_held() + LEAST // 2
    resource.setrlimit(resource.RLIMIT_DATA, (own, before[1]))
    try:
        with bounded(LEAST, CPU):
            assert resource.getrlimit(resource.RLIMIT_DATA)[0] == own
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def test_a_share_that_is_too_small():
    with pytest.raises(ValueError, match=r"^memory 400MB for 2 processes: expected at least 256MiB for each"):
        next(bounded(4 * 10**8, CPU, among=2).gen)
    assert sharers(None, None, "ray") is None
    assert sharers(2**32, 3, "local") == 3
    with pytest.raises(ValueError, match="--workers N"):
        sharers(2**32, None, "ray")


def test_systems_that_bound_no_process(monkeypatch):
    monkeypatch.setattr(bound.sys, "platform", "darwin")
    with pytest.raises(ValueError, match="Linux alone"):
        next(bounded(LEAST, CPU).gen)


def test_the_bound_of_a_gpu_is_a_share_of_its_memory(monkeypatch):
    """Of 16 GiB, 3 reserved and 1 of them given to tensors."""
    said = {"fraction": 1.0}
    told = {
        "mem_get_info": lambda *_: (8 * 2**30, 16 * 2**30),
        "memory_reserved": lambda *_: 3 * 2**30,
        "memory_allocated": lambda *_: 2**30,
        "empty_cache": lambda: None,
        "get_per_process_memory_fraction": lambda index: said["fraction"],
        "set_per_process_memory_fraction": lambda fraction, index: said.update(fraction=fraction),
    }
    for name, told_ in told.items():
        monkeypatch.setattr(torch.cuda, name, told_, raising=False)
    gpu = torch.device("cuda", 0)
    assert left_of_gpu(gpu) == 8 * 2**30
    with bounded(2**30, gpu):
        assert said["fraction"] == 4 / 16
        assert left_of_gpu(gpu) == 3 * 2**30
    assert said["fraction"] == 1.0


@linux
def test_the_numbers_and_what_is_kept_are_the_same(tmp_path, digits_net):
    plain, _ = roodbench.run(SMALL, out=tmp_path)
    config = roodbench.RunConfig(**{**vars(SMALL), "memory": "2GiB"})
    under, folder = roodbench.run(config, out=tmp_path)
    assert config.memory == 2**31
    assert under.scores_sha256 == plain.scores_sha256
    assert under.timing.reused["cells"] == under.timing.reused["of"] > 0
    assert json.loads((folder / "manifest.json").read_text())["config"]["memory"] == 2**31


def test_a_run_starts_with_the_batch_that_fitted_before(tmp_path, monkeypatch, digits_net, caplog):
    """What ran out of memory once does so once in a run."""
    run = Prepared._run

    def small(self, x):
        if 20 < len(x) < 64 and x.requires_grad:  # not where a whole shard shows that the network is the same
            raise torch.OutOfMemoryError("CUDA out of memory")
        return run(self, x)

    attack = {"attack": "min", "method": "pgd", "steps": 1, "restarts": 1}
    config = roodbench.RunConfig(detector="ebo", limit=24, ood="noise", device="cpu", batch_size=24, **attack)
    monkeypatch.setattr(Prepared, "_run", small)
    _, folder = roodbench.run(config, out=tmp_path, check=False, workers=1)
    assert "going on with 12 images per pass" in caplog.text
    assert Run(folder).batch() == 12
    for cell in (tmp_path / "cells").iterdir():
        cell.unlink()
    caplog.clear()
    roodbench.run(config, out=tmp_path, check=False, workers=1)
    assert "out of memory" not in caplog.text
    assert {line["batch"] for line in lines_of(folder) if "began" in line} == {24, 12}


def test_the_batch_of_a_journal(tmp_path):
    for batch in (64, None, 16, 0, -1, True, "8", 2.5):
        Journal(tmp_path, batch=batch)
    assert Run(tmp_path).batch() == 16
    assert Run(tmp_path).batch(since=2.0**40) is None


def test_what_says_nothing_of_its_batch_is_not_limited(digits_net):
    assert batch_of(torch.nn.Linear(2, 2)) is None
    fast = roodbench.prepare(digits_net, torch.rand(9, 1, 8, 8), compile="off")
    limit(fast, 3)
    assert batch_of(fast) == fast.backbone.batch == 3


MEASURED = """
import json, resource, sys, tempfile
import roodbench
from roodbench import api, certify
from roodbench.machine.bound import LEAST
PAGE = resource.getpagesize()
held = int(open("/proc/self/statm").read().split()[1]) * PAGE
config = roodbench.RunConfig(detector="ross", limit=70, ood="noise", steps=1, attack="min", device="cpu", memory=LEAST)
roodbench.run(config, out=sys.argv[1], check=False)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - held)
"""


@linux
@pytest.mark.slow
def test_the_peak_as_measured_stays_below_the_bound(tmp_path):
    said = subprocess.run([sys.executable, "-c", MEASURED, str(tmp_path)], capture_output=True, text=True, check=True)
    assert 0 < int(said.stdout) < LEAST
