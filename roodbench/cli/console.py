"""What the verbs share: notices and progress on stderr."""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from typing import Any

from ..engine.progress import Progress, lines

log = logging.getLogger("roodbench")
DRAWING = ("certify", "figure")
"""Verbs that import matplotlib where it is installed."""


class JSONLines(logging.Formatter):
    """A notice as one JSON object: time, level, message."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")
        return json.dumps({"time": time, "level": record.levelname.lower(), "message": record.getMessage()})


FORMATS = {"text": logging.Formatter("roodbench: %(message)s"), "json": JSONLines()}


def start_logging(quiet: bool, format: str) -> None:
    """Notices of the package on stderr, one line each; ValueError for an unknown format."""
    if format not in FORMATS:
        raise ValueError(f"unknown log format {format!r}: expected one of {', '.join(FORMATS)}")
    log.handlers.clear()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(FORMATS[format])
    log.addHandler(handler)
    log.setLevel(logging.WARNING if quiet else logging.INFO)


def progress_for(given: Mapping[str, Any]) -> Progress | bool:
    """Where a verb's progress goes: nowhere, into a log of JSON lines, or where stderr shows it best."""
    return lines if given["log_format"] == "json" and not given["quiet"] else not given["quiet"]


def error_line(message: str, arguments: Sequence[str]) -> str:
    """What ends a verb with these arguments, in one line and in the format that they ask for."""
    text = " ".join(message.split())
    asked = "--log-format=json" in arguments or ("--log-format", "json") in pairwise(arguments)
    record = logging.LogRecord(log.name, logging.ERROR, "", 0, text, None, None)
    return FORMATS["json"].format(record) if asked else f"roodbench: error: {text}"


@contextmanager
def own_logging() -> Iterator[None]:
    """What a verb does to the package's log lasts as long as the verb: a caller in Python may have set it up."""
    before = log.handlers[:], log.level
    try:
        yield
    finally:
        log.handlers[:], level = before
        log.setLevel(level)


@contextmanager
def own_matplotlib(verb: str) -> Iterator[None]:
    """Where a verb draws, matplotlib keeps its list of fonts in our cache and not below the user's home.

    A MPLCONFIGDIR of the user's own stays.
    """
    if verb not in DRAWING or "MPLCONFIGDIR" in os.environ:
        yield
        return
    from platformdirs import user_cache_path

    os.environ["MPLCONFIGDIR"] = str(user_cache_path("roodbench") / "matplotlib")
    try:
        yield
    finally:
        os.environ.pop("MPLCONFIGDIR", None)


def computing() -> None:
    """The imports are over: collect garbage again."""
    gc.enable()
