"""What ends a run, and what a user's own code raises as one of these."""

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


@contextmanager
def users_code(who: str) -> Iterator[None]:
    """Turn what a user's own code raises into an EvaluationError with its file and line; what we raise stays as it is.

    >>> with users_code("mine"):
    ...     exec(compile("1 / 0", "mine.py", "exec"))
    Traceback (most recent call last):
    roodbench.engine.errors.EvaluationError: mine: ZeroDivisionError: division by zero (mine.py:1)
    """
    from ..store.users import described, place_of  # loads torch, which --help does without

    try:
        yield
    except EvaluationError:
        raise
    except Exception as error:
        if place_of(error) is None:
            raise
        raise EvaluationError(f"{who}: {described(error)}") from error
