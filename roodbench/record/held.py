"""A record that is read is held against itself: what follows from its scores, images and checks is computed again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..store.identity import PACKAGES, code_version
from .pairs import is_hashed, sizes_of
from .recomputed import of_numbers, of_places
from .recomputed_shifted import of_shifted
from .record import Record
from .verdicts import of_verdicts

MALFORMED = (AttributeError, ArithmeticError, IndexError, KeyError, RuntimeError, TypeError)


def check(record: Record, file: Path) -> None:
    """ValueError, in one line, where the record in a file says what its scores, data, attacks and checks do not give.

    Metrics, the intervals of AUROC, means, flags and counts are computed again; other intervals, which take many times
    as long, must hold their number: `validate-entry --record-only` computes them again too. Of a record without scores
    what its rows and checks decide is held.
    """
    try:
        for line in contradictions(record):
            raise ValueError(line)
    except MALFORMED as error:
        raise ValueError(f"'{file}' is malformed: {type(error).__name__} {error}") from None
    except ValueError as error:
        raise ValueError(f"'{file}' is not as a run wrote it: {error}") from None


def contradictions(record: Record) -> Iterator[str]:
    """One line for everything that a record says otherwise than it follows.

    The thresholds and the words of its checks are held where this code made it.
    """
    exact = is_hashed(record) and record.environment.code == code_version(*PACKAGES)
    places = list(of_places(record))
    yield from places
    if not places:  # what follows rests on them
        yield from of_numbers(record, resampled=False, exact=exact)
        yield from of_shifted(record, exact=exact)
        yield from of_verdicts(record, exact=exact)
        yield from of_attacks(record)


def of_attacks(record: Record) -> Iterator[str]:
    """Attacks whose winners are not counted right."""
    sizes = sizes_of(record)
    for a in record.attacks:
        where = f"{a.detector} on {a.population}, {a.condition}, at eps {a.eps:.6g}"
        counted = {c: a.winner.count(i) for i, c in enumerate(a.components)}
        if a.wins != counted or sum(counted.values()) != len(a.winner) or len(a.winner) != sizes.get(a.population):
            yield f"{where}: wins are not the winners counted"
