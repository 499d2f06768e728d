"""The verb `leaderboard`: entries as one page, and a run as an entry."""

from __future__ import annotations

from pathlib import Path

import typer

from .options import OUTPUT, Context, arguments, option, taking
from .records import records_of
from .report import page_file


@taking(
    arguments("folders", "Folders with entries or runs' records.", "DIR..."),
    option("add", str | None, None, "First put this run into DIR as one file: its folder or name.", OUTPUT, "--add"),
    option("output", str, "leaderboard.html", "Write the page into this file.", OUTPUT, "-o", "--output"),
    "out",
)
def leaderboard(context: Context, *, folders: list[str] | None, add: str | None, output: str, out: str | None) -> None:
    """Rank detectors by their worst case, per benchmark, network and radius; exit 1 where a file is refused."""
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
    """Write the entry of a run into a folder; ValueError where there are several, or one of that name."""
    from ..entry.file import text_of
    from ..store.files import save_text

    if len(folders) > 1:
        raise ValueError(f"--add {run}: expected one folder to put it into, not {len(folders)}")
    ((name, record),) = records_of([run], out).items()
    file = Path(folders[0]) / f"{name}.json"
    if file.exists():
        raise ValueError(f"--add {run}: '{file}' exists: an entry is never overwritten")
    save_text(text_of(record), file)
