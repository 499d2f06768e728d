"""The verb `leaderboard`: entries as one page, and a run as an entry."""

from __future__ import annotations

from pathlib import Path

import typer

from .options import OUTPUT, Context, arguments, option, taking
from .report import page_file


@taking(
    arguments("folders", "Folders with entries or runs' records.", "DIR..."),
    option("add", str | None, None, "First put this run, or certification, into DIR as one file.", OUTPUT, "--add"),
    option("output", str, "leaderboard.html", "Write the page into this file.", OUTPUT, "-o", "--output"),
    "out",
)
def leaderboard(context: Context, *, folders: list[str] | None, add: str | None, output: str, out: str | None) -> None:
    """Rank detectors by their worst case, per benchmark, network and radius, and show what is certified beside it."""
    if not folders:
        raise ValueError("leaderboard: expected a folder of entries")
    file = page_file(output)
    if add is not None:
        put(add, folders, out)
    from ..entry.file import gathered
    from ..report.html import written
    from ..report.leaderboard import leaderboard as page_of
    from ..store.files import save_text

    entries, refused = gathered(folders)
    if not entries and not refused:
        raise ValueError(f"no entries in '{', '.join(folders)}': `leaderboard DIR --add RUN` makes one of a run")
    save_text(written(page_of(entries, refused)), file)
    typer.echo(str(file))
    for name, reason in refused.items():
        typer.echo(f"roodbench: refused: {name}: {reason}", err=True)
    if refused:
        raise typer.Exit(1)


def put(run: str, folders: list[str], out: str | None) -> None:
    """Write the entry of a run or certification into a folder.

    ValueError for several folders, for a file of that name, and for what no board takes.
    """
    from ..entry.certified import Certification
    from ..entry.file import contradictions_of, read, text_of
    from ..report.read import record_file
    from ..store.files import save_text

    if len(folders) > 1:
        raise ValueError(f"--add {run}: expected one folder to put it into, not {len(folders)}")
    place = record_file(run, out)
    found = read(place, place.absolute().parent.name)
    file = Path(folders[0]) / f"{found.name}.json"
    if file.exists():
        raise ValueError(f"--add {run}: '{file}' exists: an entry is never overwritten")
    for fault in contradictions_of(found):
        raise ValueError(f"--add {run}: {fault}")
    save_text(text_of(found if isinstance(found, Certification) else found.record), file)
