"""The records that a command line names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .options import arguments

if TYPE_CHECKING:
    from ..record.result import Result
    from ..report.read import Certified, Kept

RUNS = arguments("runs", "Runs: folders, records (result.json), or names that `runs` lists.", "RUN...")
SPLIT = ","


def every_run(places: Sequence[str] | None, out: str | None) -> dict[str, Kept]:
    """Every record, and what lies beside it, by its run's name, or by its place where two have one name.

    ValueError where there is none.
    """
    from ..report.read import read

    if not places:
        raise ValueError("expected at least one run: a folder, a result.json or a name that `roodbench runs` lists")
    kept = [read(place, out) for place in places]
    names = [its.name for its in kept]
    found = {its.name if names.count(its.name) == 1 else p: its for p, its in zip(places, kept, strict=True)}
    if len(found) < len(kept):
        raise ValueError(f"run {next(p for p in places if places.count(p) > 1)!r} is given twice")
    return found


def every_record(places: Sequence[str] | None, out: str | None) -> dict[str, Result | Certified]:
    """The records of `every_run`."""
    return {name: its.record for name, its in every_run(places, out).items()}


def runs_of(places: Sequence[str] | None, out: str | None) -> dict[str, Kept]:
    """`every_run`; ValueError for one of `certify`, whose rows are others."""
    from ..record.result import Result

    found = every_run(places, out)
    for name, its in found.items():
        if not isinstance(its.record, Result):
            raise ValueError(f"'{name}' is a certification: expected a record of `run`")
    return found


def records_of(places: Sequence[str] | None, out: str | None) -> dict[str, Result]:
    """The records of `runs_of`."""
    return {name: its.record for name, its in runs_of(places, out).items()}  # type: ignore[misc]


def listed(text: str | None) -> list[str] | None:
    """The parts of A,B; None of nothing."""
    return None if text is None else [part.strip() for part in text.split(SPLIT) if part.strip()]
