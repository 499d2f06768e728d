"""What a record's checks say, against their numbers and what those follow from; and the rows that they mark."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import torch

from .. import metrics
from ..evaluation.checks import CHECKS
from ..evaluation.indicators import LAST, Indicator, concerned, holds, too_short, verdict_of
from ..evaluation.plausibility import tied, worst
from ..evaluation.populations import above_chance
from ..evaluation.sweep import rise_of
from .pairs import ID, OOD, groups_of, is_hashed, knows_seed, oods_of, reported, sizes_of
from .record import Record, score_key
from .row import Row, label_of
from .rows import unjudged as said_of_unjudged

NEEDED = ("feasibility", "black-box", "random")
"""Checks without which an attack was not judged: that its images lie in the ball, and two attacks without gradients."""
OF_DATA, OF_SCORES = ("few-images", "duplicates", "dark"), ("randomness", "constant", "reversed")
"""Checks that every run makes."""
AREAS = ("black-box", "convergence", "restarts", "own-gradient")
"""Checks whose number is an AUROC that other images lower: of a randomised detector they have a margin of noise."""
SHARES = ("random", "silent-success")
"""Checks whose number is a share of the probe's images, of which one is granted."""
PROBED = ("random", "black-box")
"""One of them is there where the indicators' own attacks ran."""
SLACK = 1e-9


def of_verdicts(record: Record, *, exact: bool = True) -> Iterator[str]:
    """Checks whose number, margin or verdict is not what it follows from, and rows that say otherwise than they do.

    Not `exact`, each check is held against its own threshold alone: other code may have had others, and other words.
    """
    labels, radii = {entry.detector for entry in record.detectors}, {row.eps for row in record.rows}
    for i in record.indicators:
        where = f"{i.detector or 'data and network'}: {i.name}"
        known = i.detector in {"", *labels} and i.eps in radii | {None} and (i.eps is None or i.about == "attack")
        if not exact:
            if i.passed and not is_within(i):
                yield beyond(i, where)
            continue
        if is_hashed(record) and not (i.name in CHECKS and known):
            yield f"{where}{'' if i.eps is None else f' at eps {i.eps:.6g}'} is no check of this run"
        if i.name not in CHECKS:
            continue
        check = CHECKS[i.name]
        if (check.least, check.threshold) != (i.least, i.threshold):
            yield f"{where} has threshold {i.threshold:g}: expected {check.threshold:g}"
            continue
        try:
            checks = (of_number, of_margin, of_verdict) if is_hashed(record) else (of_verdict,)
            yield from list(chain.from_iterable(check(record, i, where) for check in checks))[:1]
        except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError):
            yield f"{where} has detail {i.detail}: expected that of this check"
    if exact and is_hashed(record):
        yield from of_missing(record)
    yield from of_marks(record)


def of_missing(record: Record) -> Iterator[str]:
    """Checks that every run makes, of its data, of each detector and of each attack, and that a record has not."""
    have = {("" if i.name in OF_DATA else i.detector, i.eps, i.name) for i in record.indicators}
    labels = [entry.detector for entry in record.detectors]
    wanted: list[tuple[str, float | None, str]] = [("", None, name) for name in OF_DATA]
    wanted += [(label, None, name) for label in labels for name in OF_SCORES]
    wanted += [(a.detector, a.eps, NEEDED[0]) for a in record.attacks]
    for label, eps, name in dict.fromkeys(wanted):
        if (label, eps, name) not in have:
            yield f"{label or 'data and network'}: it has no {name}{'' if eps is None else f' at eps {eps:.6g}'}"


def is_within(i: Indicator) -> bool:
    """Whether a check's number is what its own threshold and margin let pass."""
    return i.number >= i.threshold if i.least else i.number <= i.threshold + i.detail.get("margin", 0.0)


def beyond(i: Indicator, where: str) -> str:
    return f"{where} passed: its number is {i.number:.6g}, its threshold {i.threshold:g}"


def of_marks(record: Record) -> Iterator[str]:
    """Rows and averages that are called what the checks do not say."""
    for row in [*record.rows, *record.averages]:
        sets = sets_of(record, row)
        where, said = f"{label_of(row)} on {row.ood}, {row.condition},", called(record, row, sets)
        if row.reliable is not False and said is False:
            yield f"{where} is called reliable, though {marking(record, row, sets)[0].name} failed"
        elif row.reliable is not said and is_hashed(record):
            yield f"{where} is called reliable: {row.reliable}, its checks say {said}"
    for entry in record.shifted_id:
        mine = [i for i in record.indicators if i.detector in ("", entry.detector)]
        if is_hashed(record) and entry.reliable is any(i.marks("clean", [entry.name]) for i in mine):
            yield f"{entry.detector} on shifted ID {entry.name} is called reliable: {entry.reliable}, its checks differ"


def sets_of(record: Record, row: Row) -> list[str]:
    """The OOD sets of a row or an average, and the corrupted ID sets that stand in the place of ID there."""
    group = (its.ood for its in record.rows if row.group in ("all", its.group))
    return [*([row.ood] if row.ood != "average" else dict.fromkeys(group)), *corrupted_of(record, row)]


def corrupted_of(record: Record, row: Row) -> list[str]:
    """The corrupted sets that a row is of: all, or the worst."""
    names = [its.name for its in record.shifted_id if its.corruption and its.detector == label_of(row)]
    return {"corrupted": names, "worst": [str(row.attack)]}.get(row.condition, [])


def marking(record: Record, row: Row, sets: Collection[str] | None = None) -> list[Indicator]:
    """The failed checks that make a row unreliable, in their order; `sets` are those of an average."""
    concerned, radii, label = ([row.ood] if sets is None else sets), (None, row.eps), label_of(row)
    failed = [i for i in record.indicators if i.passed is False]
    mine = [i for i in failed if i.detector in ("", label) and i.eps in radii and i.marks(row.condition, concerned)]
    names = list(CHECKS)
    return sorted(mine, key=lambda i: names.index(i.name) if i.name in CHECKS else len(names))


def called(record: Record, row: Row, sets: Collection[str]) -> bool | None:
    """Whether a row is reliable; None under an attack whose indicators' own attacks did not run."""
    return False if marking(record, row, sets) else None if row.eps and not is_probed(record, row) else True


def is_probed(record: Record, row: Row) -> bool:
    """Whether the indicators' own attacks ran on a row's detector at its radius."""
    its = (label_of(row), row.eps)
    return any(i.name in PROBED and (i.detector, i.eps) == its for i in record.indicators)


def warned(record: Record, row: Row, sets: Collection[str], notes: Sequence[str] = ()) -> list[str]:
    """The warnings of a row: what failed checks say, or why it is not judged, and notes."""
    failed = [i.message for i in marking(record, row, sets)]
    if not failed and row.eps and not is_probed(record, row):
        texts = [said_of_unjudged(label_of(row), asked=asked) for asked in (True, False)]
        failed = [next((text for text in texts if text in row.warnings), texts[0])]
    return [*failed, *notes]


def unjudged(record: Record, row: Row) -> list[str]:
    """The checks that a row under attack must have and has not."""
    names = {i.name for i in record.indicators if i.detector == label_of(row) and i.eps == row.eps}
    return [name for name in NEEDED if name not in names]


def of_verdict(record: Record, i: Indicator, where: str) -> Iterator[str]:
    """A check whose verdict, message or populations do not follow from its number."""
    own = next(iter(sizes_of(record)))
    if i.passed and not holds(i.name, i.number, i.detail):
        yield beyond(i, where)
    if not is_hashed(record):
        return
    passed, message = verdict_of(i.detector, i.name, i.number, i.detail)
    if i.name == "convergence" and i.message in [too_short(i.detector, steps) for steps in range(LAST)]:
        passed, message = False, i.message
    if (i.passed, i.message) != (passed, message):
        yield f"{where} is {i.verdict}, {i.message!r}: its number {i.number:.6g} says {passed}, {message!r}"
    if sorted(i.concerns) != sorted(concerned(i.name, i.detail, own)) or i.about != CHECKS[i.name].about:
        yield f"{where} is of {i.about}, concerns {', '.join(i.concerns) or 'every set'}: its numbers say otherwise"


def of_margin(record: Record, i: Indicator, where: str) -> Iterator[str]:
    """A margin that no noise of this check grants, or that hides that the check cannot decide."""
    margin = i.detail.get("margin", 0.0)
    draws = len(record.scores.get(score_key(i.detector, next(iter(sizes_of(record))), "clean", None), [()]))
    noisy = draws > 1 and not knows_seed(record)
    if i.name in SHARES and "margin" in i.detail:
        least = 1 / probed(record, i)
        if abs(margin - least) > SLACK:
            yield f"{where} has a margin of {margin:g}: one image of its probe is {least:g}"
    elif not (i.name in AREAS and noisy) and record.scores:
        if margin != 0:
            yield f"{where} has a margin of {margin:g}: expected none"
    elif not 0 <= margin <= 2:
        yield f"{where} has a margin of {margin:g}: expected two standard errors of an AUROC"
    elif margin > max(i.threshold, i.threshold - i.number) or "needed" in i.detail:
        needed = math.ceil(int(i.detail["images"]) * (margin / i.threshold) ** 2)
        if i.detail.get("needed") != needed:
            yield f"{where} has a margin of {margin:g}, wider than its threshold: {needed} images would decide"


def probed(record: Record, i: Indicator) -> int:
    """How many images a check's probe has, of ID and OOD where they are attacked as many a side as it says."""
    size, sets = int(i.detail["images"]), list(oods_of(record).values())
    sides = {
        "min": min(size, next(iter(sizes_of(record).values()))),
        "max": min(size, sum(min(-(-size // len(sets)), n) for n in sets)),
    }
    return sum(sides[side] for side in {a.condition for a in record.attacks})


def of_number(record: Record, i: Indicator, where: str) -> Iterator[str]:
    """A number that does not follow from the scores, the images or its own details."""
    own, sizes, oods = next(iter(sizes_of(record))), sizes_of(record), oods_of(record)
    if not math.isfinite(i.number):
        yield f"{where} has number {i.number}"
    sets, expected = i.detail.get("sets"), dict[str, float]()
    if i.name in ("few-images", "duplicates"):
        distinct = {name: n - len(data_of(record, name).get("copies", ())) for name, n in sizes.items()}
        expected = {k: float(d) if i.name == "few-images" else 1 - d / sizes[k] for k, d in distinct.items()}
    elif i.name == "constant" and record.scores:
        for name in oods:
            pair = (torch.as_tensor(record.scores[score_key(i.detector, n, "clean", None)])[0] for n in (own, name))
            expected[name] = tied(*pair)
    if expected and not same_numbers(sets, expected):
        yield f"{where} says {sets} of its sets: expected {expected}"
    if sets is not None:
        found = worst(i.name, sets)
        if found is None or abs(found[0] - i.number) > SLACK:
            yield f"{where} has number {i.number:g}: the worst of its sets is {found and found[0]:g}"
    value: float | None = None
    if i.name == "reversed" and record.scores:
        area = strongest(record, i.detector, None, "clean")
        value = area.interval().ci[1]
        if abs(area.value - i.detail["auroc"]) > SLACK:
            yield f"{where} says an AUROC of {i.detail['auroc']:g}: it is {area.value:g}"
    elif i.name == "epsilon-monotone" and record.scores:
        radii = sorted({row.eps for row in record.rows if row.eps is not None and label_of(row) == i.detector})
        value = rise_of([strongest(record, i.detector, eps, "attacked") for eps in radii])
    elif i.name == "id-accuracy":
        accuracy, chance = float(i.detail["accuracy"]), float(i.detail["chance"])
        said = {row.id_accuracy for row in record.rows} - {None}
        value = above_chance(accuracy, chance, sizes[own])
        if not 0 <= chance <= 1 or accuracy not in said | ({accuracy} if not said else set()):
            yield f"{where} says an ID accuracy of {accuracy:g}: its rows say {', '.join(map(str, said))}"
    elif i.name == "eot":
        cosines = [its["cosine"] for its in i.detail.values() if isinstance(its, Mapping)]
        value = i.number if i.number in cosines else max(cosines)
    if value is not None and abs(value - i.number) > SLACK:
        yield f"{where} has number {i.number:.9g}: it follows that it is {value:.9g}"


def strongest(record: Record, label: str, eps: float | None, condition: str) -> metrics.Components:
    """AUROC averaged over OOD sets, clean or with all attacked that the record attacks."""
    own, attacked = next(iter(sizes_of(record))), {a.condition for a in record.attacks if condition != "clean"}
    states = [state if state in attacked else "clean" for state in ("min", "max")]
    mine = reported(record, score_key(label, own, states[0], eps))
    grouped = groups_of(record, ID + own)
    return metrics.average(
        [
            metrics.components(
                mine, reported(record, score_key(label, name, states[1], eps)), (grouped, groups_of(record, OOD + name))
            )
            for name in oods_of(record)
        ]
    )


def data_of(record: Record, name: str) -> dict[str, Any]:
    """What data says of a test set."""
    return next(its for key, its in record.data.items() if key in (ID + name, OOD + name))


def same_numbers(sets: Any, expected: Mapping[str, float]) -> bool:
    """Whether the numbers of some sets are those expected of them."""
    return sets.keys() == expected.keys() and all(abs(sets[k] - v) <= SLACK for k, v in expected.items())


def said_of(record: Record, row: Row, sets: Collection[str], notes: Sequence[str] = ()) -> dict[str, Any]:
    """The warnings of a row or an average over some sets, in the words of this code; nothing of a record of before."""
    return {"warnings": warned(record, row, sets, notes)} if is_hashed(record) else {}
