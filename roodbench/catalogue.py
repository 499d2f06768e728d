"""What `roodbench list` shows: detectors, attacks, models and benchmarks."""

from __future__ import annotations

import io
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from attacks import STRENGTHS
from detectors import BASES, PRO, WRAPPERS, Detector, keywords

from .data import BENCHMARKS
from .models import MODELS
from .protocols import PROTOCOLS

METHODS = {
    "suite": "per image the worst of pgd (then apgd, square) over all its objectives, chosen on noise of its own",
    "pgd": "projected gradient descent on one objective (default exact), best iterate, EOT by noisy copies",
    "apgd": "Auto-PGD: per-image step sizes that halve where progress stalls, and momentum",
    "square": "random search by queries alone, no gradient",
    "noise": "the best of uniform draws in the ball",
    "transfer": "pgd on the base score alone: the published evaluation",
    "torchattacks:NAME": "an attack of torchattacks on the two-logit view of the detector",
    "foolbox:NAME": "an attack of foolbox on it",
    "autoattack:NAME": "APGD or Square of AutoAttack (pyautoattack) on it",
}
ADVERSARIES = {
    "fresh": "knows everything but the noise draws",
    "known-seed": "knows the draws too",
    "resubmit:q": "submits an image q times, the best draw counts",
}


def catalogue() -> dict[str, list[dict[str, Any]]]:
    """Everything that can be named on the command line, with one line each."""
    return {
        "detectors": [entry(cls) for cls in {**BASES, **WRAPPERS}.values()],
        "attacks": [{"name": name, "about": about} for name, about in METHODS.items()],
        "threats": [{"name": name, "about": about} for name, about in ADVERSARIES.items()],
        "protocols": [{"name": name, "settings": settings} for name, settings in PROTOCOLS.items()],
        "strengths": [{"name": name, **vars(strength)} for name, strength in STRENGTHS.items()],
        "models": [{"name": name, "about": about} for name, about in MODELS.items()],
        "benchmarks": [{"name": name, "about": about} for name, about in BENCHMARKS.items()],
    }


def entry(cls: type[Detector]) -> dict[str, Any]:
    needs: frozenset[str] = getattr(cls, "needs", frozenset())
    return {
        "name": cls.name,
        "about": (cls.__doc__ or "").strip().splitlines()[0],
        "needs": ["base score"] if cls.name in WRAPPERS else ["logits", *sorted(needs)],
        "defaults": {k: v for k, v in keywords(cls).items() if k not in ("chunk", "seed")},
        "symbols": dict(cls.symbols),
        "grid": PRO.grid_over("") if cls is PRO else dict(cls.grid),
        "reference": cls.reference,
    }


def as_text(kinds: dict[str, list[dict[str, Any]]]) -> str:
    console = Console(file=io.StringIO(), width=300)
    for kind, entries in kinds.items():
        table = Table(title=kind, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        columns = [c for c in entries[0] if c != "symbols"]
        for column in columns:
            table.add_column(column, max_width=90, overflow="fold")
        for item in entries:
            table.add_row(*(cell(item[c]) for c in columns))
        console.print(table)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines() if line.strip())


def cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {braces(v) if isinstance(v, tuple) else v}" for k, v in value.items())
    return ", ".join(value) if isinstance(value, list) else str(value)


def braces(values: tuple[Any, ...]) -> str:
    return "{" + ", ".join(map(str, values)) + "}"
