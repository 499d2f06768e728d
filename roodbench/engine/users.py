"""What a user's own code raises ends a run, with the file and line where it began."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..store.users import described, place_of
from .errors import EvaluationError


@contextmanager
def users_code(who: str) -> Iterator[None]:
    """What a user's own code raises inside is an EvaluationError with its file and line; what we raise stays as it is.

    >>> with users_code("mine"):
    ...     exec(compile("1 / 0", "mine.py", "exec"))
    Traceback (most recent call last):
    roodbench.engine.errors.EvaluationError: mine: ZeroDivisionError: division by zero (mine.py:1)
    """
    try:
        yield
    except EvaluationError:
        raise
    except Exception as error:
        if place_of(error) is None:
            raise
        raise EvaluationError(f"{who}: {described(error)}") from error
