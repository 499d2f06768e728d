"""What the verbs share: notices and progress on stderr."""

from __future__ import annotations

import gc
import logging
import sys

log = logging.getLogger("roodbench")


def start_logging(quiet: bool) -> None:
    """Notices of the package on stderr, one line each."""
    log.handlers.clear()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("roodbench: %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.WARNING if quiet else logging.INFO)


def computing() -> None:
    """The imports are over: collect garbage again."""
    gc.enable()
