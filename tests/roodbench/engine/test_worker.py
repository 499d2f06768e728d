"""What another process computes is left to it; the rest goes first."""

import time
from contextlib import ExitStack
from types import SimpleNamespace

import pytest
import torch

from roodbench.engine import worker as module
from roodbench.engine.errors import BusyError
from roodbench.engine.worker import Worker
from roodbench.store.cells import Store
from tests.roodbench.helpers import fitted, small


@pytest.fixture
def bench():
    return small(70)


@pytest.fixture
def workers(tmp_path, digits_net, bench):
    """Two workers on one folder, as in two processes."""
    gen = fitted("gen", digits_net, bench)
    return [Worker(gen, store=Store(tmp_path), key={"who": "gen"}) for _ in range(2)]


def count(made, meanwhile=lambda: None):
    """What computes a shard, notes it, and lets another process do something `meanwhile`."""

    def compute(shard, x):
        made.append(shard)
        meanwhile()
        return {"sum": x.flatten(1).sum(1)}, {}

    return compute


WHAT = {"condition": "sum"}


def claimed(worker, images, shard):
    """A context in which this worker computes a shard, and the function that finishes it."""
    key = worker._key(images, images.shard_digest(shard), WHAT, shard=shard)
    x = images.shard(64 * shard, min(64 * shard + 64, len(images)))
    return worker.store.claims.on(worker.store.file(key)), lambda: worker.store.save(key, count([])(shard, x))


def test_two_share_the_shards(workers, bench):
    ours, theirs = workers
    claim, finish = claimed(theirs, bench.id_test, 0)
    made = []
    with claim:
        found = ours.map(bench.id_test, WHAT, "", count(made, finish))
    assert made == [1]
    assert torch.equal(found[0][0]["sum"], bench.id_test.shard(0, 64).flatten(1).sum(1))


def test_one_that_fails_leaves_its_shard_to_others(workers, bench):
    ours, theirs = workers
    claim, _ = claimed(theirs, bench.id_test, 0)
    made = []
    with ExitStack() as failing:
        failing.enter_context(claim)
        ours.map(bench.id_test, WHAT, "", count(made, failing.close))
    assert made == [1, 0]


def test_what_must_wait_goes_last(workers, bench, monkeypatch):
    ours, theirs = workers
    claim, finish = claimed(theirs, bench.id_test, 0)
    order, slept = [], []
    tasks = [
        lambda: order.append("first") or ours.map(bench.id_test, WHAT, "", count([])),
        lambda: order.append("second"),
    ]

    def sleep(seconds):
        slept.append(seconds)
        finish()

    monkeypatch.setattr(module, "time", SimpleNamespace(sleep=sleep, perf_counter=time.perf_counter))
    with claim:
        found = ours.each(tasks)
    assert order == ["first", "second", "first", "first"]
    assert slept == [module.WAIT]
    assert [len(tensors["sum"]) for tensors, _ in found[0]] == [64, 6]


def test_tasks_within_tasks_wait_outside(workers, bench):
    ours, theirs = workers
    claim, finish = claimed(theirs, bench.id_test, 0)
    order = []
    inner = [lambda: ours.map(bench.id_test, WHAT, "", count([]))]

    def last():
        order.append("last")
        finish()

    with claim:
        ours.each([lambda: ours.each(inner), last])
    assert order == ["last"]


def test_a_task_that_must_wait_says_so(workers, bench):
    ours, theirs = workers
    said = []

    def task():
        try:
            return ours.map(bench.id_test, WHAT, "", count([]))
        except BusyError:
            said.append("busy")
            finish()
            raise

    claim, finish = claimed(theirs, bench.id_test, 1)
    with claim:
        ours.each([task])
    assert said == ["busy"]


def test_turns(workers, bench):
    ours, _ = workers
    order = []
    ours.turn = 0.5
    assert ours.each([lambda n=n: order.append(n) or n for n in range(4)]) == [0, 1, 2, 3]
    assert order == [2, 3, 0, 1]


def test_a_folder_that_takes_nothing_costs_no_second_computation(workers, bench, tmp_path, caplog):
    ours, _ = workers
    (tmp_path / "cells").write_text("no folder")
    made = []
    for _ in range(2):
        ours.map(bench.id_test, WHAT, "", count(made))
    assert made == [0, 1]
    assert len(caplog.records) == 1
