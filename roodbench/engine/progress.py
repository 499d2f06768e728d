"""Where progress goes: nowhere, bars on a terminal, or lines in the log. Importing it imports no torch."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

log = logging.getLogger("roodbench")

MINUTE, TENTH = 60.0, 0.1
"""Seconds between lines, and between two states of one."""
WIDTH = 24
"""Characters of a bar."""


class Progress(Protocol):
    """Where progress goes: a context that gives a function to call with the number of images just finished."""

    def __call__(self, label: str, total: int) -> AbstractContextManager[Callable[[int], None]]: ...


def silent(label: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
    return nullcontext(lambda n: None)


@contextmanager
def bars(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar with the time left for one population on stderr; lines where that shows none, as a file or TERM=dumb."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console, terminal = Console(stderr=True), sys.stderr is not None and sys.stderr.isatty()
    if console.is_jupyter:
        with one_line(label, total) as advance:
            yield advance
        return
    if not (terminal and console.is_interactive):
        with lines(label, total) as advance:
            yield advance
        return
    with Bars(*columns, console=console, transient=True) as shown:
        task = shown.add_task(label, total=total)
        yield lambda n: shown.advance(task, n)


@contextmanager
def one_line(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """For notebooks: one line on stderr that is written over as it grows, and stays with its time at the end."""
    start, shown, done = time.perf_counter(), -TENTH, 0

    def show(now: float) -> None:
        part = WIDTH * done // max(1, total)
        bar = "#" * part + "." * (WIDTH - part)
        left = f", {(now - start) * (total - done) / done:.0f} s left" if 0 < done < total else ""
        print(f"\r{label} [{bar}] {done}/{total} in {now - start:.0f} s{left}".ljust(100), end="", file=sys.stderr)  # noqa: T201

    def advance(n: int) -> None:
        nonlocal done, shown
        done, now = done + n, time.perf_counter()
        if now - shown >= TENTH or done >= total:
            shown = now
            show(now)

    try:
        yield advance
    finally:
        print(file=sys.stderr, flush=True)  # noqa: T201


@contextmanager
def lines(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """For logs: one line per finished population, and one a minute on the way."""
    start = shown = time.perf_counter()
    done = 0

    def advance(n: int) -> None:
        nonlocal done, shown
        done, now = done + n, time.perf_counter()
        if now - shown >= MINUTE and done < total:
            shown = now
            log.info("%s: %d of %d images in %.0f s", label, done, total, now - start)

    yield advance
    log.info("%s: %d images in %.0f s", label, total, time.perf_counter() - start)


def progress_of(given: Progress | bool) -> Progress:
    """`bars` for True, `silent` for False, else what was given; ValueError where that cannot be called."""
    if isinstance(given, bool):
        return bars if given else silent
    if not callable(given):
        raise ValueError(f"progress {given!r}: expected True, False or a function of a label and a number of images")
    return given
