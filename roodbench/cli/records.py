"""The records that a command line names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .options import arguments

if TYPE_CHECKING:
    from ..record.result import Result
    from ..report.bounded import Claims
    from ..report.read import Certified, Kept

RUNS = arguments("runs", "Runs: folders, records (result.json), or names that `runs` lists.", "RUN...")
SPLIT = ","


def every_run(places: Sequence[str] | None, out: str | None) -> dict[str, Kept]:
    """Every record, and what lies beside it, by its run's name, or by its place where two have one name.

    ValueError where there is none.
    """
    from ..report.read import read

    kept = [read(place, out) for place in given(places)]
    return by_name(given(places), [(its.name, its) for its in kept])


def given(places: Sequence[str] | None) -> Sequence[str]:
    """What the command line names; ValueError where that is nothing."""
    if not places:
        raise ValueError("expected at least one run: a folder, a result.json or a name that `roodbench runs` lists")
    return places


def by_name(places: Sequence[str], found: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """What was found at some places by its name, or by its place where two have one; ValueError for a place twice."""
    names = [name for name, _ in found]
    named = {n if names.count(n) == 1 else place: its for place, (n, its) in zip(places, found, strict=True)}
    if len(named) < len(found):
        raise ValueError(f"run {next(p for p in places if places.count(p) > 1)!r} is given twice")
    return named


def comparable(places: Sequence[str] | None, out: str | None) -> dict[str, Result | Claims]:
    """Runs and certificates by name: of a certification its certificate.json, alone or in its folder."""
    from ..record.result import Result
    from ..report.bounded import Claims, certificate_of
    from ..report.certificate import is_certificate
    from ..report.read import content, interval_rows, is_of_intervals, read, record_file

    found: list[tuple[str, Any]] = []
    for place in given(places):
        if is_certificate(place):
            found.append((Path(place).absolute().parent.name, Claims.read(place)))
            continue
        file = record_file(place, out)
        if is_of_intervals(content(file)):
            name = file.absolute().parent.name
            found.append((name, Claims.read(certificate_of(name, file.parent), interval_rows(file))))
            continue
        kept = read(place, out)
        if isinstance(kept.record, Result):
            found.append((kept.name, kept.record))
        else:
            file = certificate_of(kept.name, kept.folder)
            found.append((kept.name, Claims.read(file, kept.record.rows)))
    return by_name(given(places), found)


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
