"""A page as one file of HTML that needs nothing else: no network, no font, no script of others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from .. import __version__
from ..record.record import Record
from ..record.result import Result
from . import certified, evaluated
from .parts import Facts, Page, Section
from .read import Kept

INSTALL = "report needs jinja2: pip install 'roodbench[report]'"


def page(kept: Kept) -> str:
    """The page of a run or of a certification; ValueError where jinja2 is not installed."""
    record = kept.record
    made = evaluated.evaluated(record) if isinstance(record, Result) else certified.certified(record)
    facts = evaluated.facts(record) if isinstance(record, Result) else certified.facts(record)
    return written(replace(made, sections=[*made.sections, provenance(kept, facts)]))


def written(page: Page) -> str:
    """A page as HTML; ValueError where jinja2 is not installed."""
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError:
        raise ValueError(INSTALL) from None
    places = Environment(
        loader=PackageLoader("roodbench.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = places.get_template("page.html").render(page=page, version=__version__)
    return "\n".join(filter(None, map(str.strip, text.splitlines()))) + "\n"


def provenance(kept: Kept, facts: Mapping[str, Mapping[str, Any]]) -> Section:
    """Configuration, environment and command: what it takes to get the same numbers again."""
    record, said = kept.record, kept.manifest
    timing = asdict(record.timing) if isinstance(record, Record) else record.timing
    command = {"command": kept.command or "not kept: the record lies alone, without the manifest of its run"}
    command |= {name: said[name] for name in ("began", "cwd") if name in said}
    command |= {"record": kept.name, "seconds": f"{timing['seconds']:.0f}"}
    parts = {"Command": command, **facts, "Environment": asdict(record.environment)}
    found = [Facts(title, [(name, words(value)) for name, value in flat(its)]) for title, its in parts.items()]
    return Section("made", "How it was made", "", found)


def flat(found: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    """Names and values, those of a mapping inside as NAME.NAME."""
    entries = []
    for name, value in found.items():
        entries += flat(value, f"{before}{name}.") if isinstance(value, Mapping) and value else [(before + name, value)]
    return entries


def words(value: Any) -> str:
    """A setting as text: lists with commas, None as -, text as it is, the rest as JSON."""
    if isinstance(value, list | tuple):
        return ", ".join(map(words, value)) or "-"
    if value is None or value == {}:
        return "-"
    return value if isinstance(value, str) else json.dumps(value, default=str)
