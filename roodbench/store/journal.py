"""What each process that worked on a run did for it, line by line."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from .claims import beating
from .process import machine, me


class Journal:
    """A file of JSON lines in a run's folder, one file per process: who it is, `facts` of it, each cell that it made or
    used.

    It is written as the run goes, so that the folder says what a process that was killed had done; in a `with` block
    its date is a sign of life.
    """

    def __init__(self, folder: Path, **facts: Any) -> None:
        self.file = folder / "workers" / f"{machine().partition(' ')[0]}-{me()['pid']}-{time.time_ns():x}.jsonl"
        self._life = beating(self.file)
        self._write({"began": me(), **facts, "at": time.time()})

    def made(self, cell: Path, **facts: Any) -> None:
        """Note a cell that was computed, and what is known of it: detector, label, images, seconds."""
        self._write({"made": cell.stem, **facts, "at": time.time()})

    def used(self, cell: Path) -> None:
        """Note a cell that was there."""
        self._write({"used": cell.stem})

    def __enter__(self) -> Journal:
        self._life.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._life.__exit__(None, None, None)
        self._write({"ended": me(), "at": time.time()})

    def _write(self, line: Mapping[str, Any]) -> None:
        with suppress(OSError):  # a disk that is full: the cells say so
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


def journals_of(folder: Path) -> dict[Path, list[dict[str, Any]]]:
    """What each journal of a run says; a line that was cut off is left out."""
    found = dict[Path, list[dict[str, Any]]]()
    for file in sorted((folder / "workers").glob("*.jsonl")):
        found[file] = []
        with suppress(OSError):
            for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
                with suppress(ValueError):
                    said = json.loads(line)
                    found[file] += [said] if isinstance(said, dict) else []
    return found


def lines_of(folder: Path) -> Iterator[dict[str, Any]]:
    """Everything that the journals of a run say."""
    for lines in journals_of(folder).values():
        yield from lines
