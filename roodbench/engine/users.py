"""What a user's own code raises, and the file and line where it began."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import EvaluationError

OURS = tuple(Path(__file__).parents[2] / package for package in ("attacks", "detectors", "roodbench"))
LIBRARY = Path(os.__file__).parent
"""Python's own modules."""
INSTALLED = {"site-packages", "dist-packages"}


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


def described(error: BaseException) -> str:
    """Type and message of an exception and, where it began in a user's own code, the file and line there."""
    place = place_of(error)
    said = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}{f': {said}' if said else ''}{f' ({place})' if place else ''}"


def place_of(error: BaseException) -> str | None:
    """`mine.py:12`, the innermost line of a user's own code below which an exception was raised; None without one."""
    if isinstance(error, SyntaxError) and error.filename:
        return written(error.filename, error.lineno or 1)
    frames = [(Path(f.filename), f.lineno or 1) for f in traceback.extract_tb(error.__traceback__)]
    own = [(file, line) for file, line in frames if is_users(file)]
    return written(str(own[-1][0]), own[-1][1]) if own else None


def is_users(file: Path) -> bool:
    """Whether a source file is a user's own: not ours, Python's, made up (`<string>`) or installed."""
    if str(file).startswith("<") or INSTALLED & set(file.parts):
        return False
    return not any(place in file.parents for place in (*OURS, LIBRARY))


def written(file: str, line: int) -> str:
    """A file, from the current folder where it lies below it, and a line."""
    relative = os.path.relpath(file)
    return f"{file if relative.startswith('..') else relative}:{line}"
