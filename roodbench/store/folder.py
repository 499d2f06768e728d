"""The folders of runs: where they lie and what they are called."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .identity import content_hash


def runs_folder(out: Path | None) -> Path:
    """The folder of all runs: `out`, or one in the user's cache."""
    from platformdirs import user_cache_path

    return out or user_cache_path("roodbench") / "runs"


def run_folder(runs: Path, names: Sequence[str], content: Any) -> Path:
    """The folder of one run: a few words for people and a hash of everything that decides its record."""
    words = "-".join(name.replace(":", ".").replace("/", ".") for name in names)
    return runs / f"{words}-{content_hash(content)[:12]}"
