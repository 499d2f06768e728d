"""Where a page's record comes from: a run's folder, its result.json, or the name of a run that is kept."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..certify.result import CertifiedResult
from ..record.result import Result
from ..store import manifest
from ..store.files import file_in, read_text
from ..store.folder import runs_folder
from ..store.runs import RECORD, run_in


@dataclass(frozen=True)
class Kept:
    """A record and what its folder says besides."""

    name: str
    record: Result | CertifiedResult
    manifest: dict[str, Any]
    """Empty where the record lies alone."""

    @property
    def command(self) -> str:
        """The command that began the run, as a shell takes it; empty where nothing says it."""
        words = [str(word) for word in self.manifest.get("command", [])]
        if words and Path(words[0]).name in ("__main__.py", "roodbench"):
            words = ["roodbench", *words[1:]]
        return shlex.join(words)


def read(place: Path | str, out: Path | str | None = None) -> Kept:
    """The record at a place, or of the run of that name in the folder `out`; ValueError where there is none.

    Scores and certificates are read where they lie beside it, and must be its own.
    """
    folder = Path(place)
    if not folder.exists() and folder.name == str(place) and place:
        folder = run_in(runs_folder(out), str(place)).folder
    file = file_in(folder, RECORD)
    if not file.exists():
        what = "stopped before its end: the command that began it goes on" if (folder / manifest.NAME).exists() else ""
        raise ValueError(f"'{folder}' has no {RECORD}: " + (what or "expected a run's folder or its record"))
    record = reader(file).load(file)
    said = manifest.read(file.parent) if file.with_name(manifest.NAME).is_file() else {}
    return Kept(file.absolute().parent.name, record, said)


def reader(file: Path) -> type[Result] | type[CertifiedResult]:
    """Whose record a file is; that of a run where it is none at all, which says so."""
    try:
        found = json.loads(read_text(file))
    except json.JSONDecodeError:
        return Result
    return CertifiedResult if isinstance(found, dict) and "violations" in found else Result
