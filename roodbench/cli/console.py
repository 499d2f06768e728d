"""What the verbs share: notices and progress on stderr."""

from __future__ import annotations

import gc
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..engine.worker import Progress

log = logging.getLogger("roodbench")


def start_logging(quiet: bool) -> None:
    """Notices of the package on stderr, one line each."""
    log.handlers.clear()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("roodbench: %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.WARNING if quiet else logging.INFO)


@contextmanager
def own_logging() -> Iterator[None]:
    """What a verb does to the package's log lasts as long as the verb: a caller in Python may have set it up."""
    before = log.handlers[:], log.level
    try:
        yield
    finally:
        log.handlers[:], level = before
        log.setLevel(level)


def computing() -> None:
    """The imports are over: collect garbage again."""
    gc.enable()


@contextmanager
def progress_bars(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar with the time left for one population, on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(label, total=total)
        yield lambda n: bars.advance(task, n)


@contextmanager
def progress_lines(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """One line per finished population, for logs."""
    start = time.perf_counter()
    yield lambda n: None
    log.info("%s: %d images in %.0f s", label, total, time.perf_counter() - start)


def progress(quiet: bool) -> Progress:
    """Bars on a terminal, lines in a log, or nothing."""
    from ..engine.worker import silent

    return silent if quiet else progress_bars if sys.stderr.isatty() else progress_lines
