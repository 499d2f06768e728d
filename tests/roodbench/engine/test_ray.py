"""A run on the nodes of a Ray cluster, and one of them lost on the way; all on this machine."""

import os
import threading
import time

import pytest
import torch

from detectors.care import usual_state
from roodbench import api
from roodbench.engine.crew import crew_of
from roodbench.setup.config import RunConfig
from roodbench.store.journal import lines_of

SMALL = {"ood": ("photos",), "device": "cpu"}


def test_an_engine_that_there_is_not(tmp_path):
    with pytest.raises(ValueError, match=r"unknown engine 'rai': did you mean 'ray'\? expected one of local, ray"):
        api.run(RunConfig(detector=("ebo",), attack="none", limit=8, **SMALL), out=tmp_path, engine="rai")
    with pytest.raises(ValueError, match="engine local takes no address: leave out --address x"):
        crew_of(tmp_path, 0.0, None, address="x")


def test_ray_is_installed_by_one_command(tmp_path):
    try:
        import ray
    except ImportError:
        with pytest.raises(ValueError, match=r"pip install 'roodbench\[ray\]'"):
            crew_of(tmp_path, 0.0, None, engine="ray")
    else:
        assert ray.__version__


class Failing:
    """As much of ray as a cluster asks of tasks that have ended, one of them early."""

    class exceptions:  # noqa: N801 - as ray names it
        RayError = RuntimeError

    def wait(self, tasks, num_returns, timeout):
        return tasks[:num_returns], []

    def get(self, task):
        if task == 1:
            raise RuntimeError("a traceback\nRuntimeError: '/runs/x' is no folder of a run")

    def cancel(self, task, force):
        pass


def test_a_helper_that_fails_is_said(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("roodbench.engine.ray.library", Failing)
    with usual_state():
        torch.set_num_threads(2)
        with crew_of(tmp_path, 0.0, torch.device("cpu"), engine="ray") as crew:
            assert torch.get_num_threads() == 1
            crew._tasks = [0, 1]
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("1 of 2 helpers ended early and the others went on: RuntimeError: '/runs/x' is no folder")


@pytest.fixture
def cluster():
    pytest.importorskip("ray", reason="pip install 'roodbench[ray]'")
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    nodes = [made.add_node(num_cpus=1) for _ in range(2)]
    made.wait_for_nodes()
    yield made, nodes
    import ray

    ray.shutdown()
    made.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("lost", [False, True])
def test_the_record_is_that_of_one_process(cluster, tmp_path, lost):
    """A lost node costs its own shards, and no other is computed twice."""
    made, nodes = cluster
    config = RunConfig(detector=("ross", "pro"), eps=(0.02, 0.05), limit=130, steps=4, restarts=2, **SMALL)
    alone, _ = api.run(config, out=tmp_path / "alone", workers=1)
    folder = []

    def lose():
        """Once both nodes are at work."""
        while (
            not (folder := list((tmp_path / "runs").glob("digits-*")))
            or sum("made" in line for line in lines_of(folder[0])) < 14
            or len({line["began"]["pid"] for line in lines_of(folder[0]) if "began" in line}) < 3
        ):
            time.sleep(0.2)
        made.remove_node(nodes[0], allow_graceful=False)

    if lost:
        threading.Thread(target=lose, daemon=True).start()
    result, folder = api.run(config, out=tmp_path / "runs", engine="ray", address=made.address)
    parts = [result.to_dict(), alone.to_dict()]
    for part in parts:
        del part["timing"], part["environment"]
    assert parts[0] == parts[1]
    names = [line["made"] for line in lines_of(folder) if "made" in line]
    assert len(names) == len(set(names))
    workers = {line["began"]["pid"] for line in lines_of(folder) if "began" in line}
    assert os.getpid() in workers
    assert len(workers) >= 3
