"""The verb `figure`: the papers' figures, from records, or from what a run's network says again."""

from __future__ import annotations

from typing import Any, cast

import typer

from .console import computing, progress_for, start_logging
from .given import spelt_out
from .options import DATA, DETECTOR, NETWORK, OUTPUT, Context, argument, changed, option, taking
from .records import RUNS, listed, runs_of

PLACES = ("data_root", "checkpoint", "denoiser_checkpoint", "model_dir", "device")
OPENING = (*PLACES, "trust_code", "eps", "log_format", "quiet")
"""What only figures honour that open a run again."""
OWN = {
    "condition": ("bars", "scatter", "epsilon"),
    "image": ("landscape",),
    "gradient": ("landscape",),
    "eps": ("shift", "landscape"),
}
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
    changed("denoiser_checkpoint", help="Read the denoiser's weights from this file; default the run's."),
    changed("model_dir", help="Look for weights in this folder; default the run's."),
    option("trust_code", bool, False, "Run code that the run names.", NETWORK, "--trust-code"),
    "device",
    changed("out", help="Look for runs by name in this folder; default in the user's cache."),
    "log_format",
    "quiet",
)
def figure(context: Context, **given: Any) -> None:
    """Draw a figure of the papers from runs into an SVG, PDF or PNG; the last three open the run's network again."""
    from ..plotting import plot
    from ..record.record import Record
    from ..report.figures import FIGURES, check_file, save

    name = given["name"]
    if name is None:
        raise ValueError(f"figure: expected its name, one of {', '.join(FIGURES)}, and runs")
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
    runs = runs_of(given["runs"], given["out"])
    records = {key: cast(Record, its.record) for key, its in runs.items()}
    choice = {"ood": given["ood"], "condition": given["condition"], "detectors": listed(given["detector"])}
    if opens:
        choice |= opening(context, given, len(runs))
        choice["configs"] = {key: its.manifest["config"] for key, its in runs.items() if its.manifest}
    save(plot(name, records, **choice), file)
    typer.echo(file)


def opening(context: Context, given: dict[str, Any], runs: int) -> dict[str, Any]:
    """What the options say of how runs are opened again, and of what is measured."""
    from ..setup.values import number

    start_logging(given["quiet"], given["log_format"])
    for key in ("checkpoint", "denoiser_checkpoint"):
        if runs > 1 and given[key] is not None:
            raise ValueError(f"--{key.replace('_', '-')} {given[key]} is of one network: draw one run with it")
    spelt = spelt_out(context)
    asked: dict[str, Any] = {} if given["eps"] is None else {"eps": number("epsilon", given["eps"])}
    if given["name"] == "landscape":
        asked |= {"images": listed(given["image"]), "gradient": given["gradient"]}
    computing()
    return {
        **asked,
        "trust_code": given["trust_code"],
        "progress": progress_for(given),
        "places": {name: given[name] for name in PLACES if name in spelt},
    }
