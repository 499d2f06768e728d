"""The verb `figure`: the papers' figures, from records."""

from __future__ import annotations

from typing import Any

import typer

from .options import DETECTOR, OUTPUT, Context, argument, changed, option, taking
from .records import RUNS, listed, records_of


@taking(
    argument("name", "The figure: bars, scatter, epsilon or scores."),
    RUNS,
    option("file", str | None, None, "Write this .svg, .pdf or .png; default NAME.svg.", OUTPUT, "-o", "--file"),
    option("detector", str | None, None, "Draw these detectors alone, NAME[,NAME], as ross(gen).", DETECTOR),
    changed("ood", help="Draw this OOD set, or near, far, average."),
    option("condition", str | None, None, "Draw clean, min, max or both.", OUTPUT),
    changed("out", help="Look for runs by name in this folder; default in the user's cache."),
)
def figure(context: Context, **given: Any) -> None:
    """Draw a figure of the papers from runs: bars, scatter, epsilon, scores, into an SVG, PDF or PNG."""
    from ..report.figures import FIGURES, check_file, save
    from ..report.figures import figure as drawn

    if given["name"] not in FIGURES:
        from detectors import unknown

        raise ValueError(unknown("figure", given["name"], FIGURES))
    file = given["file"] or f"{given['name']}.svg"
    check_file(file)
    records = records_of(given["runs"], given["out"])
    choice = {"ood": given["ood"], "condition": given["condition"], "detectors": listed(given["detector"])}
    save(drawn(given["name"], records, **choice), file)
    typer.echo(file)
