"""An entry's file: a record and its scores in one JSON text, which people can read and schemas can check."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..certify.certificate import NAME as CERTIFICATE
from ..certify.certificate import no_number, once
from ..record.pairs import check_scores
from ..record.record import score_key
from ..record.result import Result
from ..store import manifest
from ..store.files import load_tensors, read_text
from ..store.runs import RECORD
from . import certified, consistency
from .certified import Certification, certification, kind_of
from .schema import faults

LARGEST = 256 * 2**20
"""Bytes of an entry's file: a thousand times a usual one."""
SCORES, IMAGES = "scores.safetensors", "images.safetensors"
OTHERS = (manifest.NAME, CERTIFICATE)
"""Files of a run's folder that are no entries."""
DTYPES = {"float32": torch.float32, "float64": torch.float64}


class NoEntryError(ValueError):
    """A file whose content is no entry."""


@dataclass(frozen=True)
class Entry:
    """A record that was handed in, with its scores where they were."""

    name: str
    record: Result
    images: dict[str, Tensor] = field(default_factory=dict)
    """Attacked images (k, C, H, W) that lie beside a run's record, named like their scores."""


def text_of(entry: Result | Certification) -> str:
    """The entry of a record or certification; ValueError for a record that was read without its scores."""
    if isinstance(entry, Certification):
        return certified.text_of(entry)
    record = entry
    if not record.scores:
        raise ValueError("the record has no scores: expected a run's folder, with scores.safetensors in it")
    scores = {key: tensor for key, tensor in record.scores.items() if not key.endswith("/winner")}  # in `attacks` too
    whole = {**record.to_dict(), "scores": {key: written(tensor) for key, tensor in scores.items()}}
    return json.dumps(whole, separators=(",", ":"), allow_nan=False) + "\n"


def written(scores: Tensor) -> dict[str, Any]:
    """Scores (R, n) in the fewest digits that their type takes."""
    digits = 9 if scores.dtype == torch.float32 else 17
    values = [[float(f"{v:.{digits}g}") for v in draw] for draw in scores.double().tolist()]
    return {"dtype": str(scores.dtype).removeprefix("torch."), "values": values}


def read(place: Path | str, name: str | None = None) -> Entry | Certification:
    """The entry in a file, or a run's folder or record, whose scores lie beside it, or a certification's.

    The text must keep to the published schema, and scores and certificate must be the record's: ValueError for any
    other file.
    """
    folder = Path(place)
    file = folder / RECORD if folder.is_dir() else folder
    found, name = parsed(file), name or (file.absolute().parent.name if file.name == RECORD else file.stem)
    if kind_of(found) is not None:
        try:
            return certification(found, file, name)
        except ValueError as error:
            raise NoEntryError(str(error)) from None
    for fault in faults(found):
        raise NoEntryError(f"'{file}' breaks the schema of a record: {fault}")
    record, beside = Result.from_json(json.dumps(found)), file.with_name(SCORES)
    if "scores" in found:
        scores = tensors_of(found["scores"], file) | winners_of(record)
    else:
        scores = load_tensors(beside) if file.name == RECORD and beside.is_file() else {}
    record = replace(record, scores=scores)
    if scores:
        try:
            check_scores(record)
        except (KeyError, ValueError) as error:
            raise NoEntryError(f"'{file}': its scores are not those of its record: {error}") from None
    beside = file.with_name(IMAGES)
    images = load_tensors(beside) if file.name == RECORD and beside.is_file() else {}
    return Entry(name, record, images)


def parsed(file: Path) -> Any:
    """What a file's JSON says; ValueError for other text, names that stand twice, NaN, and what is no file of a usual
    size."""
    if not file.is_file():
        raise ValueError(f"entry '{file}': no such file: expected one that `leaderboard --add RUN` wrote, or a run's")
    if file.stat().st_size > LARGEST:
        raise ValueError(f"'{file}' has {file.stat().st_size} bytes: expected an entry of at most {LARGEST}")
    text = read_text(file)
    try:
        found = json.loads(text, object_pairs_hook=once, parse_constant=no_number)
        json.dumps(found, ensure_ascii=False).encode()
        return found
    except (ValueError, RecursionError) as error:  # of encode: halves of a character
        raise NoEntryError(f"'{file}' is not JSON: {error}") from None


def tensors_of(scores: Mapping[str, Any], file: Path) -> dict[str, Tensor]:
    """The scores (R, n) in an entry; ValueError for draws of different numbers of images."""
    found = {}
    for key, entry in scores.items():
        if len({len(draw) for draw in entry["values"]}) > 1:
            raise NoEntryError(f"'{file}': scores, {key}: its draws have different numbers of images")
        found[key] = torch.tensor(entry["values"], dtype=torch.float64).to(DTYPES[entry["dtype"]])
    return found


def winners_of(record: Result) -> dict[str, Tensor]:
    """The winners (n,) of a record's attacks, as they lie among the scores of a run."""
    return {
        f"{score_key(a.detector, a.population, a.condition, a.eps)}/winner": torch.tensor(a.winner)
        for a in record.attacks
    }


def contradictions_of(entry: Entry | Certification, *, resampled: bool = True) -> Iterator[str]:
    """One line for everything in an entry that cannot be true of one run; `resampled` as of the records of `run`."""
    if isinstance(entry, Certification):
        return certified.contradictions_of(entry)
    return consistency.contradictions_of(entry.record, resampled=resampled)


def gathered(folders: Sequence[Path | str]) -> tuple[list[Entry | Certification], dict[str, str]]:
    """The entries, runs' records and certifications below some folders, and the reason for every file that is refused.

    ValueError for a folder that is not there.
    """
    found: dict[Path, Path] = {}
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise ValueError(f"'{folder}' is no folder: expected one with entries")
        files = (file for file in sorted(folder.rglob("*.json")) if file.name not in OTHERS)
        found |= {file: file.parent if file.name == RECORD else file.with_suffix("") for file in files}
    stems = [place.name for place in found.values()]
    entries, refused = list[Entry | Certification](), dict[str, str]()
    for file, place in found.items():
        name = place.name if stems.count(place.name) == 1 else str(place)
        try:
            entry = read(file, name)
            for fault in contradictions_of(entry, resampled=False):
                raise ValueError(fault)
            entries.append(entry)
        except ValueError as error:
            refused[name] = str(error)
    return entries, refused
