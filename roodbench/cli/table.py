"""The verb `table`: the table of the papers, from records."""

from __future__ import annotations

from typing import Any

import typer

from .given import one_format
from .options import OUTPUT, Context, changed, option, taking
from .records import RUNS, listed, records_of


@taking(
    RUNS,
    option("condition", str | None, None, "Show clean, min, max, both, NAME[,NAME]; default all there are.", OUTPUT),
    option("fpr", str, "ood", "Take FPR95 at the threshold of ood (as OpenOOD), or of clean id.", OUTPUT),
    changed("out", help="Look for runs by name in this folder; default in the user's cache."),
    changed("format", help="Print markdown, latex or csv.", default="markdown"),
)
def table(context: Context, **given: Any) -> None:
    """Print the papers' table: FPR95 / AUROC per OOD set, near, far, average; best bold, second underlined."""
    from ..report.tables import FORMATS, FPR, papers_table

    one_format(given["format"], FORMATS)
    if given["fpr"] not in FPR:
        raise ValueError(f"unknown fpr {given['fpr']!r}: expected one of {', '.join(FPR)}")
    records = records_of(given["runs"], given["out"])
    shown = papers_table(records, given["format"], fpr=given["fpr"], conditions=listed(given["condition"]))
    typer.echo(shown.rstrip())
