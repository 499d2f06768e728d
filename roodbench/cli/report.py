"""The verb `report`: a run, or a certificate, as one page that a browser shows."""

from __future__ import annotations

from pathlib import Path

import typer

from .given import spelt_out
from .options import OUTPUT, Context, argument, option, taking

PAGES = (".html", ".htm")


@taking(
    argument("run", "The run's folder, its result.json, the name of a run that is kept, or a certificate.json."),
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
def report(context: Context, *, run: str | None, output: str, out: str | None) -> None:
    """Write a run's record, or a certificate, as one HTML page that needs nothing else."""
    if run is None:
        raise ValueError(
            "report: expected a run's folder, its result.json, a name that `roodbench runs` lists or a certificate.json"
        )
    file = page_file(output)
    from ..certify.certificate import PAGE
    from ..report.certificate import certificate_page, is_certificate
    from ..report.html import page
    from ..report.read import read
    from ..store.files import save_text

    signed = is_certificate(run)
    if signed and "output" not in spelt_out(context):
        file = Path(PAGE)
    save_text(certificate_page(run) if signed else page(read(run, out)), file)
    typer.echo(str(file))


def page_file(output: str) -> Path:
    """The file of a page; ValueError for a name that no browser opens, or a folder."""
    file = Path(output)
    if file.suffix.lower() not in PAGES:
        raise ValueError(f"--output '{output}': expected a file that ends in {' or '.join(PAGES)}")
    if file.is_dir():
        raise ValueError(f"--output '{output}' is a folder: expected a file")
    return file
