"""The verb `report`: a run as one page that a browser shows."""

from __future__ import annotations

from pathlib import Path

import typer

from .options import OUTPUT, Context, argument, option, taking

PAGES = (".html", ".htm")


@taking(
    argument("run", "The run's folder, its result.json, or the name of a run that is kept."),
    option("output", str, "report.html", "Write the page into this file.", OUTPUT, "-o", "--output"),
    "out",
)
def report(context: Context, *, run: str | None, output: str, out: str | None) -> None:
    """Write a run's record as one HTML page that needs nothing else."""
    if run is None:
        raise ValueError("report: expected a run's folder, its result.json, or a name that `roodbench runs` lists")
    file = page_file(output)
    from ..report.html import page
    from ..report.read import read
    from ..store.files import save_text

    save_text(page(read(run, out)), file)
    typer.echo(str(file))


def page_file(output: str) -> Path:
    """The file of a page; ValueError for a name that no browser opens, or a folder."""
    file = Path(output)
    if file.suffix.lower() not in PAGES:
        raise ValueError(f"--output '{output}': expected a file that ends in {' or '.join(PAGES)}")
    if file.is_dir():
        raise ValueError(f"--output '{output}' is a folder: expected a file")
    return file
