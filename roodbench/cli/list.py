"""The verb `list`: detectors, attacks, threats, protocols, models, denoisers and benchmarks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

from ..setup.config import one_of
from .given import one_format
from .options import Context, argument, changed, taking

if TYPE_CHECKING:
    from detectors import Detector


NAME = argument("name", "Show this detector, attack, threat, protocol, strength, model, denoiser or benchmark alone.")


@taking(NAME, changed("format", help="Print a table or json."))
def list_names(context: Context, *, name: str | None, format: str) -> None:
    """Show detectors, attacks, models and benchmarks: needs, default parameters, search grids, papers."""
    one_format(format, ("table", "json"))
    kinds = catalogue()
    if name is not None:
        one_of("name", name, dict.fromkeys(entry["name"] for entries in kinds.values() for entry in entries))
        found = {kind: [entry for entry in entries if entry["name"] == name] for kind, entries in kinds.items()}
        kinds = {kind: entries for kind, entries in found.items() if entries}
    shown = as_text if name is None else in_full
    typer.echo(shown(kinds) if format == "table" else json.dumps(kinds, indent=1))


def catalogue() -> dict[str, list[dict[str, Any]]]:
    """Everything that can be named on the command line, with one line each."""
    from attacks import METHODS, NOISE, STRENGTHS
    from detectors import KNOWN

    from ..data.load import BENCHMARKS
    from ..models.denoiser import DENOISERS
    from ..models.load import CATALOGUE
    from ..setup.protocols import PROTOCOLS
    from ..setup.threats import THREATS

    return {
        "detectors": [entry(cls) for cls in KNOWN.values()],
        "attacks": [{"name": name, "about": about} for name, about in METHODS.items()],
        "threats": [{"name": name, "about": about} for name, about in {**NOISE, **THREATS}.items()],
        "protocols": [{"name": name, "settings": settings} for name, settings in PROTOCOLS.items()],
        "strengths": [{"name": name, **vars(strength)} for name, strength in STRENGTHS.items()],
        "models": [{"name": name, "about": about} for name, about in CATALOGUE.items()],
        "denoisers": [{"name": name, "about": about} for name, about in DENOISERS.items()],
        "benchmarks": [{"name": name, "about": about} for name, about in BENCHMARKS.items()],
    }


def entry(cls: type[Detector]) -> dict[str, Any]:
    """What the list says of a detector."""
    needs: frozenset[str] | None = getattr(cls, "needs", None)
    return {
        "name": cls.name,
        "about": (cls.__doc__ or "").strip().partition("\n")[0],  # python -OO keeps none
        "needs": ["base score"] if needs is None else ["logits", *sorted(needs)],
        "defaults": cls.defaults(),
        "symbols": dict(cls.symbols),
        "grid": cls.grid_over(""),
        "reference": cls.reference,
    }


def as_text(kinds: dict[str, list[dict[str, Any]]]) -> str:
    """One table per kind."""
    from rich import box
    from rich.table import Table

    from ..record.text import printed

    tables = []
    for kind, entries in kinds.items():
        table = Table(title=kind, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        columns = [c for c in entries[0] if c != "symbols"]
        for column in columns:
            table.add_column(column, max_width=90, overflow="fold")
        for item in entries:
            table.add_row(*(cell(item[c]) for c in columns))
        tables.append(table)
    return printed(*tables)


def in_full(kinds: dict[str, list[dict[str, Any]]]) -> str:
    """Everything that is known of a few entries, one thing a line."""
    lines = []
    for kind, entries in kinds.items():
        for item in entries:
            lines.append(f"{item['name']} ({kind})")
            lines += [
                f"  {key}: {cell(value)}" for key, value in item.items() if key != "name" and value not in ({}, "")
            ]
    return "\n".join(lines)


def cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {braces(v) if isinstance(v, tuple) else v}" for k, v in value.items())
    return ", ".join(value) if isinstance(value, list) else str(value)


def braces(values: tuple[Any, ...]) -> str:
    return "{" + ", ".join(map(str, values)) + "}"
