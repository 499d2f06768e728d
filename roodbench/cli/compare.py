"""The verb `compare`: detectors on the same images, of runs and certificates, or two runs of one configuration."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from .given import one_format, spelt_out
from .options import OUTPUT, Context, arguments, changed, option, taking
from .records import comparable, every_record, listed

if TYPE_CHECKING:
    from ..report.changes import Changes


RUNS = "Runs: folders, records (result.json), names that `runs` lists; and certificates (certificate.json)."


@taking(
    arguments("runs", RUNS, "RUN..."),
    changed("ood", help="Compare on the mean of these OOD sets, NAME[,NAME]; default all."),
    option("changes", bool, False, "Show what differs between two runs, and what moved.", OUTPUT, "--changes"),
    changed("out", help="Look for runs by name in this folder; default in the user's cache."),
    changed("format", help="Print a table, json or csv (the pairs)."),
)
def compare(context: Context, **given: Any) -> None:
    """Compare detectors on the same images, of runs and certificates (paired DeLong, Holm, ranks), or two runs: what
    changed, and what moved."""
    if given["changes"]:
        one_format(given["format"], ("table", "json"))
        if "ood" in spelt_out(context):
            raise ValueError(f"--changes takes no ood: leave out --ood {given['ood']}")
        found: Any = changes(given)
    else:
        one_format(given["format"], ("table", "json", "csv"))
        from ..report.compare import compare as compared

        found = compared(comparable(given["runs"], given["out"]), listed(given["ood"]))
    shown = {"table": lambda: found.to_table(), "json": lambda: found.to_json(), "csv": lambda: found.to_csv().rstrip()}
    typer.echo(shown[given["format"]]())
    if not given["changes"] and found.contradictions:
        from ..engine.errors import EvaluationError

        raise EvaluationError(found.contradictions[0])


def changes(given: dict[str, Any]) -> Changes:
    """What differs between two runs of one kind."""
    from ..record.result import Result
    from ..report.changes import what_changed, with_scores

    records = list(every_record(given["runs"], given["out"]).values())
    if len(records) != 2:
        raise ValueError(f"--changes compares two runs: expected two, not {len(records)}")
    before, after = records
    if isinstance(before, Result) and isinstance(after, Result):
        return with_scores(before, after)
    if isinstance(before, Result) or isinstance(after, Result):
        raise ValueError("--changes compares two runs of one kind: one of these is a certification")
    return what_changed(asdict(before), asdict(after))
