"""The verb `report`: a run, several on the same images, or a certificate, as one page that a browser shows."""

from __future__ import annotations

from pathlib import Path

import typer

from .given import spelt_out
from .options import OUTPUT, Context, arguments, option, taking
from .records import every_run

PAGES = (".html", ".htm")


@taking(
    arguments("runs", "Runs: folders, records, or names of runs that are kept; or a certificate.json.", "RUN..."),
    option(
        "output",
        str,
        "report.html",
        "Write the page into this file; default of a certificate certificate.html.",
        OUTPUT,
        "-o",
        "--output",
    ),
    "out",
)
def report(context: Context, *, runs: list[str] | None, output: str, out: str | None) -> None:
    """Write a run's record, several of the same images, or a certificate as one HTML page that needs nothing else; of
    interval bounds always the certificate."""
    if not runs:
        raise ValueError(
            "report: expected a run's folder, its result.json, a name that `roodbench runs` lists or a certificate.json"
        )
    file = page_file(output)
    from ..certify.certificate import PAGE
    from ..report.certificate import certificate_page, is_certificate
    from ..report.html import page
    from ..report.joined import joined
    from ..report.read import interval_certificate
    from ..store.files import save_text

    alone = runs[0] if len(runs) == 1 else None
    signed = alone if alone is None or is_certificate(alone) else interval_certificate(alone, out)
    if signed is not None and "output" not in spelt_out(context):
        file = Path(PAGE)
    text = page(joined(list(every_run(runs, out).values()))) if signed is None else certificate_page(signed)
    save_text(text, file)
    typer.echo(str(file))


def page_file(output: str) -> Path:
    """The file of a page; ValueError for a name that no browser opens, or a folder."""
    file = Path(output)
    if file.suffix.lower() not in PAGES:
        raise ValueError(f"--output '{output}': expected a file that ends in {' or '.join(PAGES)}")
    if file.is_dir():
        raise ValueError(f"--output '{output}' is a folder: expected a file")
    return file
