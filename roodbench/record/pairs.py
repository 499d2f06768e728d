"""Whether per-image scores are those of a record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ..store.cells import checksum
from .record import Record, score_key
from .row import Row, label_of
from .rows import CONDITIONS

ROUNDING = 1e-9
"""Of an AUROC, between machines."""
ID, OOD = "ID test: ", "OOD test: "
"""How the test sets of a record's data are named; the first one of ID is ID test, others are shifted ID."""


def check_scores(record: Record) -> None:
    """ValueError, in one clause, where the scores of a record are not its own: by their hash, which records of before
    did not have, and by the names, shapes and winners that its detectors, data and attacks imply."""
    if is_hashed(record) and (found := checksum(record.scores)) != record.scores_sha256:
        raise ValueError(f"the hash of the scores is {found}, the record's {record.scores_sha256}")
    for line in contradictions(record):
        raise ValueError(line)


def is_hashed(record: Record) -> bool:
    """Whether a record's scores have a hash: those of before had other intervals, and words for their checks."""
    return record.scores_sha256 is not None


def contradictions(record: Record) -> Iterator[str]:
    """What scores have that a record cannot have made; what its rows say of them is for `held.contradictions`."""
    sizes = sizes_of(record)
    expected = {score_key(d.detector, name, "clean", None): n for d in record.detectors for name, n in sizes.items()}
    winners = {}
    for a in record.attacks:
        key = score_key(a.detector, a.population, a.condition, a.eps)
        expected[key], winners[f"{key}/winner"] = sizes.get(a.population), a.winner
    for where, one, other in (
        ("record", {*expected, *winners}, record.scores),
        ("scores", record.scores, {*expected, *winners}),
    ):
        yield from (f"{key} is in the {where} alone" for key in sorted(one) if key not in other)
    for key, n in expected.items():
        shape = tuple(record.scores[key].shape)
        if len(shape) != 2 or shape[1] != n:
            yield f"{key} has shape {shape}: expected (draws, {n})"
    yield from (f"{key} differs" for key, winner in winners.items() if record.scores[key].tolist() != winner)


def sizes_of(record: Record) -> dict[str, Any]:
    """Images per test set by name, that of ID first."""
    return {key.partition(": ")[2]: entry.get("images") for key, entry in evaluation_sets(record).items()}


def evaluation_sets(record: Record) -> dict[str, dict[str, Any]]:
    """What a record says of its test sets, by split and name; a set of another split may be called `mytest`."""
    return {key: entry for key, entry in record.data.items() if key.partition(": ")[0].endswith(" test")}


def oods_of(record: Record) -> dict[str, Any]:
    """Images per OOD test set by name."""
    return {key.removeprefix(OOD): its.get("images") for key, its in record.data.items() if key.startswith(OOD)}


def overlaps_of(record: Record) -> dict[tuple[str, str], int]:
    """How many images two OOD sets share, as `Benchmark.overlaps`; nothing in records of before they said."""
    return {(one, other): len(pairs) for other in oods_of(record) for one, pairs in shared_of(record, other).items()}


def shared_of(record: Record, ood: str) -> dict[str, list[list[int]]]:
    """Which images of an OOD set others before it have too, by their names: [image, image of the other]."""
    its = record.data[OOD + ood].get("shared", {})
    return {one: pairs for one, pairs in its.items() if isinstance(pairs, list)}  # a number, before pairs were kept


def groups_of(record: Record, key: str) -> np.ndarray | None:
    """For each image of a test set the number of its group; None where all differ, or the record does not say.

    Of ID the first that it is a copy of, over the full spectrum also of the corrupted copies of one image; of OOD sets
    `Benchmark.groups_of_ood`.
    """
    its = record.data[key]
    copies = its.get("related", its.get("copies"))
    if not key.startswith(OOD):
        return with_copies(np.arange(its["images"]), copies) if copies else None
    if not copies and not overlaps_of(record):
        return None
    found: dict[str, np.ndarray] = {}
    place = 0
    for name, n in oods_of(record).items():
        own, place = np.arange(place, place + n), place + n
        for one, pairs in shared_of(record, name).items():
            for image, other in pairs:
                own[image] = min(own[image], found[one][other])
        found[name] = with_copies(own, record.data[OOD + name].get("copies", ()))
    return found[key.removeprefix(OOD)]


def with_copies(numbers: np.ndarray, copies: Iterable[Sequence[int]]) -> np.ndarray:
    """The numbers (n,), that of an image at each of its copies, [image, the first that it is a copy of]."""
    for image, original in copies:
        numbers[image] = numbers[original]
    return numbers


def scores_of_row(record: Record, row: Row, own: str) -> tuple[np.ndarray, np.ndarray] | None:
    """The scores (R, n) of ID, the set `own`, and (R, m) of OOD that a row's AUROC is of; None where none are kept."""
    label = label_of(row)
    if row.condition not in CONDITIONS or label not in {entry.detector for entry in record.detectors}:
        return None
    states = zip((own, row.ood), CONDITIONS[row.condition], strict=True)
    id_scores, ood_scores = (reported(record, score_key(label, name, state, row.eps)) for name, state in states)
    return id_scores, ood_scores


def reported(record: Record, key: str) -> np.ndarray:
    """The scores (R, n) of a key that rows speak of: where the adversary knows a draw, of that one."""
    return record.scores[key].double().numpy()[: 1 if knows_seed(record) else None]


def knows_seed(record: Record) -> bool:
    """Whether the adversary of a record, of `run` or of `evaluate`, knows the noise."""
    threat = record.config.get("threat") or record.config.get("plan", {}).get("threat", {}).get("noise")
    return threat == "known-seed"
