"""What the verbs share: notices and progress on stderr."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

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
