"""The verb `figure`: the papers' figures, from records, or from what a run's network says again."""

from __future__ import annotations

from typing import Any, cast

import typer

from .console import computing, progress_for, start_logging
from .given import spelt_out
from .options import DATA, DETECTOR, NETWORK, OUTPUT, Context, argument, changed, option, taking
from .records import RUNS, listed, records_of, runs_of

PLACES = ("data_root", "checkpoint", "model_dir", "device")
OPENING = (*PLACES, "trust_code", "eps", "log_format", "quiet")
"""What only figures honour that open a run again."""
OWN = {"condition": ("bars", "scatter", "epsilon"), "image": ("landscape",), "gradient": ("landscape",)}
"""What these figures alone honour."""


@taking(
    argument("name", "The figure: bars, scatter, epsilon, scores; shift, landscape, smoothing (these open the run)."),
    RUNS,
    option("file", str | None, None, "Write this .svg, .pdf or .png; default NAME.svg.", OUTPUT, "-o", "--file"),
    option("detector", str | None, None, "Draw these detectors alone, NAME[,NAME], as ross(gen).", DETECTOR),
    changed("ood", help="Draw this OOD set, or near, far, average."),
    option("condition", str | None, None, "Draw clean, min, max or both.", OUTPUT),
    option("eps", str | None, None, "Step of shift, radius of landscape, such as 1/255.", OUTPUT),
    option("image", str | None, None, "Draw landscapes around SET:INDEX[,SET:INDEX].", DATA),
    option(
        "gradient", bool, False, "Take the gradient's signs for a landscape's first direction.", OUTPUT, "--gradient"
    ),
    changed("data_root", help="Read images from this folder; default the run's."),
    changed("checkpoint", help="Read the network's weights from this file; default the run's."),
    changed("model_dir", help="Look for weights in this folder; default the run's."),
    option("trust_code", bool, False, "Run code that the run names.", NETWORK, "--trust-code"),
    "device",
    changed("out", help="Look for runs by name in this folder; default in the user's cache."),
    "log_format",
    "quiet",
)
def figure(context: Context, **given: Any) -> None:
    """Draw a figure of the papers from runs into an SVG, PDF or PNG; the last three open the run's network again."""
    from ..report.figures import FIGURES, check_file, save
    from ..report.figures import figure as drawn

    name = given["name"]
    if name not in FIGURES:
        from detectors import unknown

        raise ValueError(unknown("figure", name, FIGURES))
    opens = FIGURES[name].opens
    for key, value in spelt_out(context).items():
        if (key in OPENING and not opens) or name not in OWN.get(key, FIGURES):
            said = key.replace("_", "-")
            raise ValueError(f"figure {name} takes no {said}: leave out --{said}{'' if value is True else f' {value}'}")
    file = given["file"] or f"{name}.svg"
    check_file(file)
    found: Any = measured(context, given) if opens else records_of(given["runs"], given["out"])
    choice = {"ood": given["ood"], "condition": given["condition"], "detectors": listed(given["detector"])}
    save(drawn(name, found, **choice), file)
    typer.echo(file)


def measured(context: Context, given: dict[str, Any]) -> list[Any]:
    """What the networks of some runs say again."""
    start_logging(given["quiet"], given["log_format"])
    runs = runs_of(given["runs"], given["out"])
    if len(runs) > 1 and given["checkpoint"] is not None:
        raise ValueError(f"--checkpoint {given['checkpoint']} is of one network: draw one run with it")
    from .. import surroundings
    from ..record.record import Record
    from ..setup.values import number

    computing()
    spelt = spelt_out(context)
    asked = {
        "detectors": listed(given["detector"]),
        "ood": given["ood"],
        "trust_code": given["trust_code"],
        "progress": progress_for(given),
        "places": {name: given[name] for name in PLACES if name in spelt},
        "eps": None if given["eps"] is None else number("epsilon", given["eps"]),
        "images": listed(given["image"]),
        "gradient": given["gradient"],
    }
    found: list[Any] = []
    for its in runs.values():
        record = cast(Record, its.record)
        found += surroundings.measured(given["name"], record, config=its.manifest.get("config"), **asked)
    return found
