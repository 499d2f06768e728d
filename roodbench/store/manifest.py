"""What a run's folder says of the run from its first second on: `manifest.json`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from .files import read_text, save_text

NAME, SCHEMA = "manifest.json", 1


def announce(folder: Path, kind: str, facts: Mapping[str, Any], environment: Any) -> None:
    """Say in a folder what is computed for it: its kind (run, certify), settings, hashes, and this process's command.

    A folder that takes no file takes no record either, and that is said then.
    """
    began = datetime.now().astimezone().isoformat(timespec="seconds")
    said = {"schema": SCHEMA, "kind": kind, "began": began, "command": sys.argv, "cwd": os.getcwd()}
    text = json.dumps({**said, **facts, "environment": asdict(environment)}, indent=1, default=str)
    with suppress(OSError):
        save_text(text + "\n", folder / NAME)


def read(folder: Path | str) -> dict[str, Any]:
    """The manifest of a run's folder; ValueError where there is none, or none of this version."""
    file = Path(folder) / NAME
    if not file.is_file():
        raise ValueError(f"'{folder}' is no folder of a run: it has no {NAME}")
    try:
        found = json.loads(read_text(file))
    except json.JSONDecodeError as error:
        raise ValueError(f"'{file}' is not JSON: {error}") from None
    if not isinstance(found, dict) or found.get("schema") != SCHEMA or found.get("kind") not in ("run", "certify"):
        raise ValueError(f"'{file}' is no manifest of schema {SCHEMA}")
    return found
