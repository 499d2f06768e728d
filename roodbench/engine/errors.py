"""What ends a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class EvaluationError(RuntimeError):
    """A run that cannot go on; the message names the detector and the image."""


class BusyError(Exception):
    """What is asked for is being computed by another process."""


class UnsavedError(OSError):
    """A record that could not be written, as on a full disk; `result` is the record."""

    def __init__(self, message: str, result: Any) -> None:
        super().__init__(message)
        self.result = result


@contextmanager
def saving(result: Any, place: Any) -> Iterator[None]:
    """UnsavedError, with the record, for an OSError while it is written to a place."""
    try:
        yield
    except OSError as error:
        raise UnsavedError(f"the record cannot be kept in '{place}': {error.strerror or error}", result) from None
