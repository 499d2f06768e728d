"""Where a page's record comes from: a run's folder, its result.json, or the name of a run that is kept."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..certify.certificate import NAME as CERTIFICATE
from ..certify.interval.row import IntervalRow
from ..certify.result import CertifiedResult
from ..certify.row import CertifiedRow
from ..entry.file import Entry, contradictions_of
from ..entry.file import read as entry
from ..record.environment import Environment
from ..record.held import check
from ..record.record import parsed, typed
from ..record.result import Result
from ..store import manifest
from ..store.files import file_in, read_text
from ..store.folder import runs_place
from ..store.runs import RECORD, run_in


@dataclass(frozen=True)
class Certified:
    """What a page shows of a certification's record, of any version."""

    config: dict[str, Any]
    environment: Environment
    network: dict[str, Any]
    data: dict[str, Any]
    rows: list[CertifiedRow]
    violations: list[str]
    timing: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The record, JSON-like."""
        return asdict(self)


@dataclass(frozen=True)
class Kept:
    """A record and what its folder says besides."""

    name: str
    record: Result | Certified
    manifest: dict[str, Any]
    """Empty where the record lies alone."""
    folder: Path | None = None
    """Where it lies; None of a record that was never a file."""

    @property
    def command(self) -> str:
        """The command that began the run, as a shell takes it; empty where nothing says it."""
        words = [str(word) for word in self.manifest.get("command", [])]
        if words and Path(words[0]).name in ("__main__.py", "roodbench"):
            words = ["roodbench", *words[1:]]
        return shlex.join(words)


def read(place: Path | str, out: Path | str | None = None) -> Kept:
    """The record at a place, or of the run of that name in the folder `out`; ValueError where there is none.

    Scores and certificates are read where they lie beside it, and must be its own, and it theirs.
    """
    file = record_file(place, out)
    found = content(file)
    if is_of_intervals(found):
        name = file.absolute().parent.name
        raise ValueError(f"'{name}' is of interval bounds: expected a record of `run`, or of `certify` by noise")
    if "scores" in found:  # an entry of a leaderboard, which holds them itself
        its = entry(file)
        if isinstance(its, Entry):
            check(its.record, file)
            return Kept(its.name, its.record, {}, file.parent)
    record = certified(file) if "violations" in found else Result.load(file)
    said = manifest.read(file.parent) if file.with_name(manifest.NAME).is_file() else {}
    return Kept(file.absolute().parent.name, record, said, file.parent)


def record_file(place: Path | str, out: Path | str | None) -> Path:
    """The file of the record at a place, or of the run of that name in the folder `out`; ValueError for none."""
    folder = Path(place)
    if not folder.exists() and folder.name == str(place) and place:
        folder = run_in(runs_place(out), str(place)).folder
    file = file_in(folder, RECORD)
    if not file.exists():
        what = "stopped before its end: the command that began it goes on" if (folder / manifest.NAME).exists() else ""
        raise ValueError(f"'{folder}' has no {RECORD}: " + (what or "expected a run's folder or its record"))
    return file


def is_of_intervals(found: Mapping[str, Any]) -> bool:
    """Whether a record is of a certification by interval bounds."""
    return str(found.get("method")).startswith("interval")


def interval_certificate(place: Path | str, out: Path | str | None) -> Path | None:
    """The certificate beside the record of a certification by interval bounds; None of another record."""
    file = record_file(place, out)
    return file.with_name(CERTIFICATE) if is_of_intervals(content(file)) else None


def interval_rows(file: Path) -> list[IntervalRow]:
    """The rows of such a record, which must be one of a certification (`check_certification`)."""
    check_certification(file)
    return [typed(IntervalRow, row) for row in content(file)["rows"]]


def content(file: Path) -> dict[str, Any]:
    """What a file of JSON says; nothing of another one."""
    try:
        found = json.loads(read_text(file))
    except json.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def check_certification(file: Path) -> None:
    """ValueError for a record that says what cannot be of one certification, or not what the certificate beside it
    gives, which must agree with itself."""
    for line in contradictions_of(entry(file)):
        raise ValueError(f"'{file}' is not as a run wrote it: {line}")


def certified(file: Path) -> Certified:
    """A certification's record; a certificate beside it must be its own, and agree with itself."""
    check_certification(file)
    found = parsed(read_text(file), CertifiedResult, ("certificates",), "certify")
    rows = [typed(CertifiedRow, entry) for entry in found["rows"]]
    parts = {name: found[name] for name in ("config", "network", "data", "violations", "timing")}
    return Certified(rows=rows, environment=typed(Environment, found["environment"]), **parts)
