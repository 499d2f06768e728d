"""What is said below a table: what failed, causes before what may follow from them, and each note once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..evaluation.indicators import LAST, Indicator
from .row import Row
from .text import as_fraction

ABOUT = ("data", "network", "detector", "attack")
"""What a check judges: what comes first may be the cause of what follows."""


def failures_of(indicators: Iterable[Indicator]) -> list[str]:
    """One line a failed check, causes first; where a detector's scores failed, one more for its attack's checks.

    An attack on scores that are noise, constant or reversed has nothing to follow: it fails with them. What the
    attack was given or left itself (`is_its_own`) has its line all the same. At several radii each line names its own.
    """
    given = list(indicators)
    failed = sorted((i for i in given if i.passed is False), key=lambda i: ABOUT.index(i.about))
    causes = {i.detector for i in failed if i.about == "detector"}
    lines: dict[str, list[Indicator]] = {}
    follow: dict[str, dict[str, None]] = {}
    for i in failed:
        if i.about == "attack" and i.detector in causes and not is_its_own(i):
            follow.setdefault(i.detector, {})[i.name] = None
        else:
            lines.setdefault(i.message, []).append(i)
    several = len({i.eps for i in given} - {None}) > 1
    return [
        *(message for message, its in lines.items() if its[0].about != "attack"),
        *(
            f"{label}: its attack fails {', '.join(names)}, which may follow from that"
            for label, names in follow.items()
        ),
        *(
            message + (f" (eps {', '.join(dict.fromkeys(as_fraction(i.eps) for i in its))})" if several else "")
            for message, its in lines.items()
            if its[0].about == "attack"
        ),
    ]


def is_its_own(indicator: Indicator) -> bool:
    """Whether a failed check of an attack has its cause in the attack: its images or its steps, not the scores."""
    return indicator.name in ("feasibility", "travel") or indicator.message.endswith(f"use at least {LAST}")


def undecided_of(indicators: Iterable[Indicator]) -> list[str]:
    """One line a detector: the checks whose noise is wider than their limit, and how many images would decide."""
    found: dict[str, list[Indicator]] = {}
    for i in indicators:
        if i.passed is None:
            found.setdefault(i.detector, []).append(i)
    return [
        f"{label}: {', '.join(dict.fromkeys(i.name for i in checks))} inconclusive: noise on "
        f"{checks[0].detail['images']} images a side is wider than the limit, about "
        f"{max(i.detail['needed'] for i in checks)} would decide"
        for label, checks in found.items()
    ]


def notes_of(rows: Iterable[Row], failed: Sequence[Indicator] = ()) -> list[str]:
    """What rows say besides failed checks; what is the same of several detectors or OOD sets, in one line."""
    known = {i.message for i in failed}
    found: dict[tuple[str, str], dict[str, None]] = {}
    for note in (note for row in rows for note in row.warnings if note not in known):
        subject, colon, said = note.partition(": ")
        found.setdefault((colon, said), {})[subject] = None
    return [f"{', '.join(subjects)}{colon}{said}" for (colon, said), subjects in found.items()]


def unjudged_of(rows: Iterable[Row]) -> list[str]:
    """The notes that say why attacks are not judged."""
    return [note for note in notes_of(row for row in rows if row.reliable is None) if ": not judged: " in note]
