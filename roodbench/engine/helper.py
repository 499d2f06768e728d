"""How a helper of a run is started, wherever it is."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def command_of(folder: Path, n: int, of: int, device: str, *, python: str = sys.executable) -> list[str]:
    """What starts helper n of so many processes, the leader being 0; it ends with the process that started it."""
    place = ["--shard", f"{n + 1}/{of}", "--leader", str(os.getpid()), "--device", device]
    return [python, "-m", "roodbench", "work", str(folder), *place]


def path_of() -> str:
    """Where this process finds modules, for a helper's PYTHONPATH."""
    return os.pathsep.join(path or os.getcwd() for path in sys.path)
