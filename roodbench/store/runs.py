"""The runs that a folder holds: which there are, how far they came, and what only they need."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from detectors import unknown

from . import manifest
from .claims import STALE
from .folder import now_in
from .journal import journals_of
from .process import is_alive

RECORD = "result.json"


@dataclass(frozen=True)
class Run:
    """One run's folder."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def manifest(self) -> dict[str, Any]:
        return manifest.read(self.folder)

    @cached_property
    def journals(self) -> dict[Path, list[dict[str, Any]]]:
        return journals_of(self.folder)

    @property
    def journal(self) -> list[dict[str, Any]]:
        return [line for lines in self.journals.values() for line in lines]

    @property
    def cells(self) -> set[str]:
        """The names of all kept parts that it made or used."""
        return {line[key] for line in self.journal for key in ("made", "used") if isinstance(line.get(key), str)}

    @property
    def made(self) -> list[dict[str, Any]]:
        """What its processes computed, and how long each part took; the last time, where that was done anew."""
        lines = sorted((line for line in self.journal if isinstance(line.get("made"), str)), key=when)
        return list({line["made"]: line for line in lines}.values())

    def batch(self, since: float = 0.0) -> int | None:
        """The fewest images that one of its processes took in a pass, since a moment: more ran out of memory."""
        lines = (line for line in self.journal if isinstance(at := line.get("at"), int | float) and at >= since)
        sizes = [size for line in lines if type(size := line.get("batch")) is int and size > 0]
        return min(sizes, default=None)

    @property
    def throughput(self) -> dict[str, dict[str, float]]:
        """By detector and part of the work: how many images were computed, in how many seconds of one process."""
        found: dict[str, dict[str, float]] = {}
        for line in self.made:
            part = found.setdefault(f"{line.get('detector')}, {line.get('label')}", {"images": 0, "seconds": 0.0})
            for name in part:
                value = line.get(name)
                part[name] = round(part[name] + (value if isinstance(value, int | float) else 0), 3)
        return found

    @property
    def workers(self) -> list[dict[str, Any]]:
        """Its processes that live: of this machine those that run, of others those with a sign of life in a minute."""
        now, found = now_in(self.folder), list[dict[str, Any]]()
        for file, lines in self.journals.items():
            began = [line["began"] for line in lines if isinstance(line.get("began"), dict)]
            if not began or not isinstance(began[0].get("pid"), int) or any("ended" in line for line in lines):
                continue
            with suppress(OSError):
                alive = is_alive(began[0])
                if now - file.stat().st_mtime < STALE if alive is None else alive:
                    found += [began[0]] if began[0] not in found else []
        return found

    @property
    def state(self) -> str:
        """finished, running or stopped."""
        if self.workers:
            return "running"
        return "finished" if (self.folder / RECORD).is_file() else "stopped"


def runs_in(folder: Path) -> Iterator[Run]:
    """The runs in a folder, the oldest first; what is no run is passed over."""
    found = []
    for file in folder.glob(f"*/{manifest.NAME}"):
        with suppress(OSError):  # removed meanwhile
            found.append((file.stat().st_mtime, file.parent))
    for _, place in sorted(found):
        with suppress(ValueError):
            run = Run(place)
            if run.manifest:
                yield run


def when(line: dict[str, Any]) -> float:
    """When a line of a journal was written."""
    at = line.get("at")
    return float(at) if isinstance(at, int | float) else 0.0


def run_in(folder: Path, name: str) -> Run:
    """A run by its name, or the beginning of it that no other has; ValueError where there is none."""
    runs = {run.name: run for run in runs_in(folder)}
    found = [run for full, run in runs.items() if full == name] or [r for n, r in runs.items() if n.startswith(name)]
    if len(found) > 1:
        raise ValueError(f"run {name!r} is the beginning of {', '.join(run.name for run in found)}: give more of it")
    if not found:
        raise ValueError(f"no runs in '{folder}'" if not runs else unknown("run", name, list(runs)))
    return found[0]


def remove(run: Run) -> tuple[int, int]:
    """Remove a run's folder and the kept parts that no other run in its folder names; returns how many, and bytes.

    ValueError for one that is being computed.
    """
    if run.workers:
        numbers = ", ".join(str(process["pid"]) for process in run.workers)
        raise ValueError(f"run {run.name!r} is being computed (process {numbers}): stop it first")
    runs = run.folder.parent
    others = {cell for other in runs_in(runs) if other.folder != run.folder for cell in other.cells}
    parts = [runs / "cells" / f"{cell}.safetensors" for cell in sorted(run.cells - others) if cell.isalnum()]
    count, size = 0, sum(file.stat().st_size for file in run.folder.rglob("*") if file.is_file())
    for part in parts:
        with suppress(FileNotFoundError):
            size += part.stat().st_size
            part.unlink()
            count += 1
    shutil.rmtree(run.folder)
    return count, size
