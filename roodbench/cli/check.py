"""The verb `check`: the indicators of attack failure alone, on a few images."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import typer

from ..setup.threats import THREATS
from .given import one_format
from .options import OPTIONS, Context, changed, taking
from .run import evaluated, warn

OWN = {"limit": changed("limit", default=32), "format": changed("format", help="Print a table, json or csv.")}


@taking(*(OWN.get(name, name) for name in OPTIONS if name != "no_check"))
def check(context: Context, **given: Any) -> None:
    """Run the indicators of attack failure on a few images: can the attack be trusted?"""
    one_format(given["format"], ("table", "json", "csv"))
    if given["threat"] in THREATS:
        raise ValueError(f"threat {given['threat']}: there is no attack to check, expected one of an adversary")
    indicators = (result := evaluated(context, given, check=True, thorough=True)).indicators
    from ..record.table import checks_table
    from ..record.text import checks_csv

    if given["format"] == "json":
        typer.echo(json.dumps([asdict(indicator) for indicator in indicators], indent=1))
    else:
        typer.echo((checks_table if given["format"] == "table" else checks_csv)(indicators))
    warn(result, given)
