"""Helpers on the nodes of a Ray cluster, all of which see the run's folder."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from .helper import command_of, path_of

log = logging.getLogger("roodbench")

INSTALL = "engine ray needs ray: pip install 'roodbench[ray]'"


class Cluster:
    """One helper per GPU of a cluster, or per core; Ray places them, and starts those of a lost node again elsewhere.

    What a node had finished lies in the run's folder, and its claims end with it: nothing else is done twice.
    """

    def __init__(self, folder: Path, workers: int | None, device: torch.device, address: str | None) -> None:
        self.ray = library()
        self.folder, self.workers, self.device, self.address = folder, workers, device, address
        self._tasks: list[Any] | None = None

    def call(self) -> None:
        """Start the helpers; a second call does nothing."""
        if self._tasks is not None:
            return
        if not self.ray.is_initialized():
            self.ray.init(address=self.address, log_to_driver=False, configure_logging=False)
        kind = "GPU" if self.device.type == "cuda" else "CPU"
        total = int(self.ray.cluster_resources().get(kind, 0))
        count = total if self.workers is None else self.workers - 1
        needs = {"num_gpus": 1, "num_cpus": 1} if kind == "GPU" else {"num_cpus": 1}
        helper = self.ray.remote(max_retries=-1, **needs)(help_with)
        device = self.device.type
        self._tasks = [helper.remote(str(self.folder), n, count + 1, device, path_of()) for n in range(1, count + 1)]

    def __enter__(self) -> Cluster:
        if self.device.type == "cpu":
            torch.set_num_threads(1)  # as the helpers: with others some networks' last bits are others
        return self

    def __exit__(self, *error: object) -> None:
        tasks = self._tasks or []
        ended = self.ray.wait(tasks, num_returns=len(tasks), timeout=0)[0] if tasks else []
        failed = [why for task in ended if (why := self._failure(task))]
        if failed and error[0] is None:
            log.warning("%d of %d helpers ended early and the others went on: %s", len(failed), len(tasks), failed[0])
        for task in tasks:
            self.ray.cancel(task, force=True)

    def _failure(self, task: Any) -> str:
        """Why a task that has ended did so early, "" where it was done."""
        try:
            self.ray.get(task)
        except self.ray.exceptions.RayError as error:
            return str(error).strip().rpartition("\n")[2]
        return ""


def help_with(folder: str, n: int, of: int, device: str, path: str) -> None:
    """One helper, on the node where Ray runs this; it ends with the process that does."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    command = command_of(Path(folder), n, of, device, python=sys.executable)
    said = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=env)
    if said.returncode:
        raise RuntimeError(said.stderr.strip().rpartition("\n")[2])


def library() -> Any:
    """Ray; ValueError, with the command that installs it, where it is not there."""
    try:
        import ray
    except ImportError:
        raise ValueError(INSTALL) from None
    return ray
