"""The folders of runs: where they lie and what they are called."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .identity import content_hash
from .trust import check_cache

LONGEST = 40
"""Bytes of a word in the name of a folder, which has at most 255."""


def runs_place(out: Path | str | None) -> Path:
    """Where all runs lie: `out`, or a folder in the user's cache; it may be read-only, or not there yet."""
    from platformdirs import user_cache_path

    if out == "":
        raise ValueError("out '': expected a folder")
    folder = user_cache_path("roodbench") / "runs" if out is None else Path(out)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"out '{folder}' is a file: expected a folder")
    check_cache(folder)
    return folder


def runs_folder(out: Path | str | None) -> Path:
    """`runs_place`, made where it is not there; ValueError where nothing can be written to it."""
    folder = runs_place(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"cannot write to '{folder}': {error.strerror}; --out names another folder") from None
    check_cache(folder)
    return folder


def run_folder(runs: Path, names: Sequence[str], content: Any) -> Path:
    """The folder of one run: a few words for people, of long ones their ends, and a hash of what decides its record.

    >>> run_folder(Path("runs"), ["digits", "/home/me/my.py:Score"], 1).name
    'digits-home.me.my.py.Score-6b86b273ff34'
    """
    words = "-".join(
        name.replace(":", ".").replace("/", ".").strip(".").encode()[-LONGEST:].decode(errors="ignore")
        for name in names
    )
    return runs / f"{words}-{content_hash(content)[:12]}"


def now_in(folder: Path) -> float:
    """Seconds since 1970 by the clock that dates the files of a folder; by ours where it takes none, as when full."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            return os.fstat(file.fileno()).st_mtime
    except OSError:
        return time.time()
