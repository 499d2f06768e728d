"""Processes that help with a run: each reads the run's folder and computes what nobody else does."""

from __future__ import annotations

import logging
import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import torch

from detectors import unknown

from ..machine.device import cores
from ..machine.memory import free_memory
from .helper import command_of, path_of

log = logging.getLogger("roodbench")

ENGINES = ("local", "ray")
STARTING = 6.0
"""Seconds of work, on one core, that a further process must find to be worth its start."""
SPEED = 4e9
"""Floating point operations a second that a core does at least, on networks as small as ours."""
ROOM = 2**31
"""Free bytes of memory per process."""


class Crew(Protocol):
    """Who helps: a context at whose end they are gone, and a call that starts them, once."""

    def call(self) -> None: ...
    def __enter__(self) -> Crew: ...
    def __exit__(self, *error: object) -> None: ...


class Local:
    """Processes on this machine; on several GPUs each has its own.

    They divide the cores from the beginning: with another number of threads the last bits of some networks differ, and
    what one process keeps would be of no use to the next.
    """

    def __init__(self, folder: Path, workers: int, device: torch.device) -> None:
        self.folder, self.workers, self.device = folder, workers, device
        self.threads = max(1, cores() // workers)
        self._started: list[tuple[subprocess.Popen[bytes], Path]] = []

    def call(self) -> None:
        """Start the helpers; a second call does nothing."""
        if self._started or self.workers <= 1:
            return
        env = {"OMP_NUM_THREADS": str(self.threads), **os.environ, "PYTHONPATH": path_of()}
        for n in range(1, self.workers):
            said = self.folder / "workers" / f"{os.getpid()}-{n}.log"
            try:
                said.parent.mkdir(parents=True, exist_ok=True)
                with said.open("wb") as file:
                    command = command_of(self.folder, n, self.workers, self._device(n))
                    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=env)
            except OSError as error:  # a disk that is full, no memory for one more
                log.warning("worker %d of %d cannot be started, going on without more: %s", n + 1, self.workers, error)
                self.workers = 1
                return
            self._started.append((process, said))

    def _device(self, n: int) -> str:
        return "cpu" if self.device.type == "cpu" else f"cuda:{n % torch.cuda.device_count()}"

    def __enter__(self) -> Local:
        if self.workers > 1 and self.device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(min(self.threads, torch.get_num_threads()))
        return self

    def __exit__(self, *error: object) -> None:
        for process, said in self._started:
            code = process.poll()
            process.terminate()
            with suppress(OSError):
                if code not in (None, 0) and error[0] is None:
                    last = said.read_text(errors="replace").strip().rpartition("\n")[2]
                    log.warning("a worker of %d ended early and the others went on: %s", self.workers, last)
                elif code in (None, 0):
                    said.unlink()
        for process, _ in self._started:
            try:
                process.wait(2)
            except subprocess.TimeoutExpired:  # deep in one long computation, which nobody needs
                process.kill()
                process.wait()


def workers_for(work: float, device: torch.device, wanted: int | None) -> int:
    """As many as are wanted, or as ROODBENCH_WORKERS says; else one per GPU, or per core where it is worth its start.

    `work` are the run's floating point operations.
    """
    said = asked_for(wanted)
    if said is not None:
        return said
    if device.type == "cuda":
        return torch.cuda.device_count() if device.index is None else 1
    worth = 1 + int(work / SPEED / STARTING)
    return max(1, min(cores(), worth, free_memory(device) // ROOM))


def asked_for(wanted: int | None) -> int | None:
    """The processes that are wanted, or that ROODBENCH_WORKERS asks for; None where nobody says how many."""
    said = os.environ.get("ROODBENCH_WORKERS") if wanted is None else str(wanted)
    if not said:
        return None
    if not (said.isdecimal() and int(said) > 0):
        raise ValueError(f"workers {said}: expected a number of processes, at least 1")
    return int(said)


def sharers(memory: int | None, workers: int | None, engine: str) -> int | None:
    """The processes that have equal shares of a bound on memory: one unless more are wanted; `workers` without a bound.

    ValueError where a cluster would say how many.
    """
    if memory is None:
        return workers
    if engine == "ray" and workers is None:
        raise ValueError("memory is shared by the workers of engine ray: say how many, --workers N")
    return asked_for(workers) or 1


def crew_of(
    folder: Path,
    work: float,
    device: torch.device,
    *,
    workers: int | None = None,
    engine: str = "local",
    address: str | None = None,
) -> Crew:
    """The helpers with a run in a folder, of so many floating point operations; `workers` counts this process too.

    ValueError for an unknown engine.
    """
    if engine not in ENGINES:
        raise ValueError(unknown("engine", engine, ENGINES))
    if engine == "ray":
        from .ray import Cluster

        return Cluster(folder, None if workers is None else workers_for(work, device, workers), device, address)
    if address is not None:
        raise ValueError(f"engine local takes no address: leave out --address {address}, or give --engine ray")
    return Local(folder, workers_for(work, device, workers), device)
