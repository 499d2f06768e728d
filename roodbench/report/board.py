"""Entries as boards: one benchmark, network and radius each, where what may be compared is ranked by its worst case."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

import numpy as np

from .. import metrics
from ..entry.certified import Certification
from ..entry.file import Entry
from ..evaluation.attacker import REPORT_DRAWS
from ..metrics.intervals import Estimate
from ..metrics.paired import holm, rank_ranges, worst_of, worst_test
from ..record.pairs import evaluation_sets, sizes_of
from ..record.record import Record
from ..record.row import Row, label_of
from ..record.text import as_fraction
from ..record.verdicts import marking, unjudged
from .bounded import Bounded
from .compare import ALPHA, adversary, entries_of
from .proven import Proof, proofs_of

OURS = {
    **{"method": "suite", "objective": None, "budget": None, "steps": None, "restarts": None},
    **{"protocol": "roodbench", "seed": 0, "quantize": False},
}
"""The attack of a board. Any other may be weaker, or chosen for the detector: what it leaves has no rank."""
NAMELESS, UNKNOWN = "network unknown", "of unknown hash"


@dataclass(frozen=True)
class Line:
    """One detector of an entry at one radius."""

    entry: str
    label: str
    record: Record
    rows: dict[str, Row]
    """By OOD set, with both populations attacked."""
    clean: dict[str, Row]
    worst: Estimate
    """The lowest AUROC over the sets, of the images of the record."""
    areas: list[metrics.Components]
    """Per OOD set by name; empty where the record has no scores."""
    reasons: list[str]
    """Why it has no rank."""
    rank: tuple[int, int, int] | None = None
    """Its place, with the best and the worst that the tests leave it."""

    @property
    def row(self) -> Row:
        """The row of the worst set."""
        return min(self.rows.values(), key=lambda row: row.auroc)

    @property
    def reliable(self) -> bool | None:
        flags = {row.reliable for row in self.rows.values()}
        return False if False in flags else None if None in flags else True


@dataclass(frozen=True)
class Field:
    """The lines of a board that one code and one adversary made, best first: ranks are among them."""

    code: str
    revision: str
    strength: str
    lines: list[Line]


@dataclass(frozen=True)
class Board:
    """All lines of one benchmark, network, set of images and radius."""

    benchmark: str
    model: str
    images: dict[str, int]
    """Per test set, that of ID first."""
    chosen: bool
    """Whether the OOD sets were chosen by hand."""
    norm: str
    eps: float
    space: str
    threat: str
    network: str
    """By hash."""
    fields: list[Field] = field(default_factory=list)
    unranked: list[Line] = field(default_factory=list)
    proofs: list[Proof] = field(default_factory=list)
    """Certified detectors of this network at this radius, on these or other images, the highest bounds first."""

    @property
    def hashes(self) -> list[dict[str, str]]:
        """Of the images of its lines, by split and name: all are the same, but for which are equal."""
        return [{key: its["sha256"] for key, its in evaluation_sets(line.record).items()} for line in self.lines[:1]]

    @property
    def lines(self) -> list[Line]:
        return [*(line for found in self.fields for line in found.lines), *self.unranked]


def boards_of(entries: Sequence[Entry | Certification]) -> list[Board]:
    """The boards of some entries, those with ranks first; each best first. What is proven stands where it belongs."""
    found: dict[str, Board] = {}
    for entry in entries:
        for line in lines_of(entry) if isinstance(entry, Entry) else ():
            board = board_of(line)
            found.setdefault(key_of(line), board).unranked.append(line)
    boards = sorted(map(ranked, found.values()), key=order)
    proofs = proofs_of([entry for entry in entries if isinstance(entry, Certification)])
    for proof in sorted(proofs, key=lambda its: its.entry.network is None):  # they go where a name leads
        add(proof, boards)
    for board in boards:
        board.proofs.sort(key=lambda its: its.order)
    return sorted(boards, key=order)


def add(proof: Proof, boards: list[Board]) -> None:
    """Put a proof on the board of its network, norm and radius, of several on that of its images, else the first.

    A network of a record without hashes is known by its name.
    """
    benchmark, model, network, norm, eps = proof.place
    those = [
        its
        for its in boards
        if (its.benchmark, its.model, its.norm, round(its.eps, 9)) == (benchmark, model or NAMELESS, norm, eps)
        and (its.space, its.threat) == ("pixel", "fresh")
        and network in (None, its.network)
    ]
    those.sort(key=lambda its: proof.entry.images not in its.hashes)
    if not those:
        sizes, chosen = proof.entry.sizes, proof.entry.record["config"]["run"].get("ood") is not None
        names = (benchmark, model or NAMELESS)
        those = [Board(*names, sizes, chosen, norm, proof.claim.radius, "pixel", "fresh", network or UNKNOWN)]
        boards += those
    those[0].proofs.append(proof)


def order(board: Board) -> tuple[Any, ...]:
    """Boards with ranks first, then by benchmark, network and ball, the longest list first."""
    has = max((len(found.lines) for found in board.fields), default=0)
    ball = (board.space != "pixel", board.norm, board.eps)
    return (has < 2, not board.lines, board.benchmark, board.model, *ball, -has, -sum(board.images.values()))


def lines_of(entry: Entry) -> Iterator[Line]:
    """The lines of one entry: of each detector and radius its worst case, and why it may have no rank."""
    record, found = entry.record, entries_of({entry.name: entry.record})
    its = {e.label: e for e in found if not isinstance(e, Bounded)}
    rows: dict[tuple[str, float], dict[str, Row]] = {}
    clean: dict[str, dict[str, Row]] = {}
    for row in sorted(record.rows, key=lambda row: row.ood):
        if row.condition == "both" and row.eps is not None:
            rows.setdefault((label_of(row), row.eps), {})[row.ood] = row
        elif row.condition == "clean":
            clean.setdefault(label_of(row), {})[row.ood] = row
    for (label, _), sets in rows.items():
        areas = [its[label].components(row) for row in sets.values()] if record.scores else []
        least = min(sets.values(), key=lambda row: row.auroc)
        worst = worst_of(areas) if areas else Estimate(least.auroc, *least.auroc_ci)
        yield Line(entry.name, label, record, sets, clean[label], worst, areas, list(reasons_of(record, sets, areas)))


def reasons_of(record: Record, sets: Mapping[str, Row], areas: Sequence[metrics.Components]) -> Iterator[str]:
    """Why a line has no rank: it is an upper bound, nobody knows, or another attack made it."""
    failed = list(dict.fromkeys(i.name for row in sets.values() for i in marking(record, row)))
    if any(row.reliable is False for row in sets.values()):
        yield f"failed {', '.join(failed) or 'a check'}: an upper bound only"
    elif any(row.reliable is None for row in sets.values()):
        yield "not judged: its checks did not run"
    elif missing := list(dict.fromkeys(name for row in sets.values() for name in unjudged(record, row))):
        yield f"not judged: it has no {', '.join(missing)}"
    if not record.scores:
        yield "without scores: its AUROCs cannot be computed again, nor compared"
    draws = {len(its.v_id) for its in areas} - {1, REPORT_DRAWS}
    if draws:
        yield f"scores of {', '.join(map(str, sorted(draws)))} draws: expected 1 or {REPORT_DRAWS}"
    given = {"budget": None, "protocol": "roodbench", "quantize": False, **record.config}
    if other := [f"{name} {given.get(name)}" for name, ours in OURS.items() if given.get(name) != ours]:
        yield f"another attack: {', '.join(other)}"


def key_of(line: Line) -> str:
    """What lines of one board have in common: images by hash and which are equal, network by hash, ball and noise."""
    record, row = line.record, line.row
    sets, said = evaluation_sets(record).items(), ("images", "sha256", "copies", "shared")
    images = {key: [its.get(name) for name in said] for key, its in sets}
    network = record.config.get("network_sha256")
    ball = (row.norm, round(row.eps_pixel or 0.0, 9), row.space, adversary(record)["threat"])
    return json.dumps([row.benchmark, row.model, images, network, ball], sort_keys=True)


def board_of(line: Line) -> Board:
    record, row = line.record, line.row
    own = next(key.removeprefix("ID test: ") for key in record.data if key.startswith("ID test: "))
    images = dict(sorted(sizes_of(record).items(), key=lambda entry: entry[0] != own))
    threat = str(adversary(record)["threat"] or "fresh")
    chosen = record.config.get("ood") is not None
    model, norm = row.model or NAMELESS, row.norm or "linf"
    network = record.config["network_sha256"][:12]
    return Board(row.benchmark, model, images, chosen, norm, row.eps_pixel or 0.0, row.space, threat, network)


def ranked(board: Board) -> Board:
    """The board with its lines apart: fields of one code and adversary, ranked, and lines that have no rank."""
    fields: dict[tuple[str, str], list[Line]] = {}
    unranked: list[Line] = []
    for line in sorted(board.unranked, key=lambda line: line.worst.value):
        its = [] if line.reasons else fields.setdefault(maker_of(line.record), [])
        again = next((other for other in its if is_again(other, line)), None)
        if again is not None:
            line = replace(line, reasons=[f"the same detector again: in {again.entry} less is left of it"])
        (unranked if line.reasons else its).append(line)
    made = [
        Field(code, revision_of(its), its[0].record.config.get("strength", "quick"), with_ranks(its[::-1]))
        for (code, _), its in fields.items()
    ]
    made.sort(key=lambda found: -len(found.lines))
    return replace(board, fields=made, unranked=unranked[::-1])


def maker_of(record: Record) -> tuple[str, str]:
    """The code that made a record, and the adversary: what else must be alike for ranks."""
    return record.environment.code, json.dumps(adversary(record), sort_keys=True, default=str)


def revision_of(lines: Sequence[Line]) -> str:
    return ", ".join(dict.fromkeys(line.record.environment.revision or "no revision" for line in lines))


def is_again(one: Line, other: Line) -> bool:
    """Whether two lines are one detector, handed in twice."""
    return (one.label, one.row.params) == (other.label, other.row.params)


def with_ranks(lines: Sequence[Line]) -> list[Line]:
    """The lines, best first, with the places that tests of all pairs leave them; one alone has none."""
    if len(lines) < 2:
        return list(lines)
    pairs = list(combinations(range(len(lines)), 2))
    corrected = holm([worst_test(lines[i].areas, lines[j].areas) for i, j in pairs])
    differs = np.zeros((len(lines), len(lines)), dtype=bool)
    for (i, j), p in zip(pairs, corrected, strict=True):
        differs[i, j] = differs[j, i] = p <= ALPHA
    ranges = rank_ranges([line.worst.value for line in lines], differs)
    return [replace(line, rank=rank) for line, rank in zip(lines, ranges, strict=True)]


def title_of(board: Board) -> str:
    """The board in a line: digits, digits-cnn, linf 16/255."""
    said = as_fraction(board.eps, board.norm)
    if board.space != "pixel":
        said = (f"{255 * board.eps:.3g}/255" if board.norm == "linf" else said) + f", {board.space} space"
    noise = "" if board.threat == "fresh" else f", {board.threat}"
    return f"{board.benchmark}, {board.model}, {board.norm} {said}{noise}"
