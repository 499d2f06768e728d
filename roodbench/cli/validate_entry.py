"""The verb `validate-entry`: an entry of a leaderboard against itself, the network and the images."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from ..engine.errors import EvaluationError
from .console import computing, progress_for, start_logging
from .given import one_format, spelt_out
from .options import OUTPUT, Context, argument, changed, option, taking

if TYPE_CHECKING:
    from ..entry.verdict import Verdict

ALONE = ("file", "record_only", "format", "log_format", "quiet")
"""What --record-only honours."""
OWN = ("data_root", "checkpoint", "denoiser_checkpoint", "model_dir", "download", "trust_checkpoint")
CODE = ("detector", "base", "model", "benchmark", "denoiser")
"""Settings of an entry that may be code: given, they say that the assessor trusts it."""


@taking(
    argument("file", "The entry's file, or a run's folder or record."),
    option(
        "record_only",
        bool,
        False,
        "Hold the record against itself alone: no network, no images.",
        OUTPUT,
        "--record-only",
    ),
    option("again", int, 0, "Attack so many random images of every set again too.", "Adversary"),
    changed("detector", default=None, help="Run the code that the entry names as its detector, MODULE:ATTRIBUTE."),
    changed("base", default=None, help="Run the code that the entry names as its base score."),
    changed("model", help="Run the code that the entry names as its network."),
    changed("benchmark", default=None, help="Run the code that the entry names as its benchmark."),
    changed("denoiser", default=None, help="Run the code that the entry names as its denoiser."),
    *OWN,
    "device",
    option("seed", int | None, None, "Draw the images by this seed; default a random one.", "Machine"),
    changed("format", help="Print a table or json."),
    *("log_format", "quiet"),
)
def validate_entry(context: Context, **given: Any) -> None:
    """Check an entry: schema, whether it agrees with itself, and clean scores of random images; exit 1 if it fails."""
    one_format(given["format"], ("table", "json"))
    start_logging(given["quiet"], given["log_format"])
    if given["file"] is None:
        raise ValueError("validate-entry: expected an entry's file, or a run's folder")
    if given["again"] and given["again"] < 2:
        raise ValueError(f"again {given['again']}: expected at least 2 images of every set, or 0 for none")
    if given["record_only"]:
        refuse_more(context, "--record-only takes")
    from ..entry.certified import Certification
    from ..entry.file import NoEntryError, read
    from ..entry.verdict import inner

    computing()
    try:
        entry = read(given["file"])
    except NoEntryError as error:
        raise EvaluationError(f"the entry does not hold: {error}") from None
    if isinstance(entry, Certification):
        refuse_more(context, "of a certification `certify --verify` checks bounds, and validate-entry takes")
    if given["record_only"] or isinstance(entry, Certification):
        verdict = inner(entry)
    else:
        from ..entry.again import validate

        settings = {name: given[name] for name in (*OWN, *CODE, "again", "seed", "device")}
        verdict = validate(entry, progress=progress_for(given), **settings)
    typer.echo(json.dumps(asdict(verdict), indent=1) if given["format"] == "json" else in_words(verdict))
    if verdict.failures:
        more = f" (and {len(verdict.failures) - 1} more)" if len(verdict.failures) > 1 else ""
        raise EvaluationError(f"the entry does not hold: {verdict.failures[0]}{more}")


def refuse_more(context: Context, what: str) -> None:
    """ValueError for an option beyond those that a record alone needs."""
    for name in spelt_out(context):
        if name not in ALONE:
            said = name.replace("_", "-")
            raise ValueError(f"{what} no {said}: leave out --{said}")


def in_words(verdict: Verdict) -> str:
    """What was checked, what does not hold, and what nobody looked at."""
    lines = [f"{verdict.entry}: {'does not hold' if verdict.failures else 'holds, as far as it was checked'}"]
    lines += [f"fails: {failure}" for failure in verdict.failures]
    if verdict.images:
        drawn = ", ".join(f"{k} of {n} {name}" for name, (k, n) in verdict.images.items())
        lines.append(f"scored again (seed {verdict.seed}): {drawn}")
        finds = ", ".join(f"{k} with probability {p:.3g}" for k, p in verdict.finds.items() if p < 1)
        lines += [f"forged clean scores of images of a set, wherever they lie, are found: {finds}"] if finds else []
    if verdict.attacked:
        lines.append(f"attacked again: {verdict.attacked} images of every set")
    if verdict.pictures:
        lines.append(f"kept images scored again: the first {verdict.pictures} of every set")
    return "\n".join([*lines, *(f"not checked: {line}" for line in verdict.unchecked)])
