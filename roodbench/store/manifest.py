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

NAME, SCHEMA, KINDS = "manifest.json", 1, ("run", "certify")
FIELDS = {"began": str, "command": list, "cwd": str, "config": dict, "fresh": bool, "since": float}
"""Which every manifest has, and of which type."""
OF_RUN = {"check": bool, "thorough": bool}
"""Which those of the kind `run` have besides."""


def announce(folder: Path, kind: str, facts: Mapping[str, Any], environment: Any, *, joins: bool | Path) -> None:
    """Say in a folder what is computed for it: its kind (run, certify), settings, hashes, and this process's command.

    One that `joins` another process leaves alone what that one said; ValueError where that is another run, whose folder
    `joins` names: nothing that is computed here would be of use to it.

    A folder that takes no file takes no record either, and that is said then.
    """
    if isinstance(joins, Path) and joins.name != folder.name:
        raise ValueError(
            f"what '{joins}' asks for is another run here, {folder.name}: code, torch, network, images or kind of "
            "device are others than where it began, or the folder was renamed"
        )
    if joins and (folder / NAME).exists():
        return
    began = datetime.now().astimezone().isoformat(timespec="seconds")
    said = {"schema": SCHEMA, "kind": kind, "began": began, "command": sys.argv, "cwd": os.getcwd()}
    text = json.dumps({**said, **facts, "environment": asdict(environment)}, indent=1, default=str)
    with suppress(OSError):
        save_text(text + "\n", folder / NAME)


def read(folder: Path | str) -> dict[str, Any]:
    """The manifest of a run's folder; ValueError where there is none of this version."""
    file = Path(folder) / NAME
    if not file.is_file():
        raise ValueError(f"'{folder}' is no folder of a run: it has no {NAME}")
    try:
        found = json.loads(read_text(file))
    except json.JSONDecodeError as error:
        raise ValueError(f"'{file}' is not JSON: {error}") from None
    right = isinstance(found, dict) and found.get("schema") == SCHEMA and found.get("kind") in KINDS
    wanted = {**FIELDS, **(OF_RUN if right and found["kind"] == "run" else {})}
    right = right and all(isinstance(found.get(name), kind) for name, kind in wanted.items())
    if not (right and all(isinstance(word, str) for word in found["command"])):
        raise ValueError(f"'{file}' is no manifest of schema {SCHEMA}")
    return found
