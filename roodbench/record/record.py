"""The result record: what one run found, as typed parts and as JSON. It knows nothing of how it is shown."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from torch import Tensor

from detectors import unknown

from ..evaluation.indicators import Indicator
from ..words import counted
from .environment import Environment
from .row import AttackedPopulation, FittedDetector, Row, ShiftedSet, Timing, renamed
from .text import as_fraction

if TYPE_CHECKING:
    from typing_extensions import Self

SCHEMA_VERSION = 1
Part = TypeVar("Part")


@dataclass(frozen=True, repr=False)
class Record:
    """What one run found. `rows` hold OOD sets, `averages` the means over the near, far and all OOD sets."""

    config: dict[str, Any]
    environment: Environment
    data: dict[str, dict[str, Any]]
    """Per split: number of images and their hash; of test sets that repeat images, `copies` [image, first alike]."""
    rows: list[Row]
    averages: list[Row]
    shifted_id: list[ShiftedSet]
    indicators: list[Indicator]
    attacks: list[AttackedPopulation]
    detectors: list[FittedDetector]
    timing: Timing
    scores: dict[str, Tensor] = field(default_factory=dict)
    """Report scores (R, n) per detector, population and condition (`scores_of`), and the winners (n,) of attacks."""
    schema_version: int = SCHEMA_VERSION
    scores_sha256: str | None = None
    """A hash of the scores; None in records of before it was there."""
    images: dict[str, Tensor] = field(default_factory=dict)
    """The first images (k, C, H, W) of test sets, pixels in [0, 1], clean and attacked (`images_of`), where kept."""
    images_sha256: str | None = None
    """A hash of these; None where none are kept."""

    def scores_of(
        self, detector: str, population: str, condition: str = "clean", eps: float | str | None = None
    ) -> np.ndarray:
        """Report scores (R, n) of a population, `clean` or attacked (`min` of ID, `max` of OOD) at a radius.

        `detector` is its label, as ross(gen); `eps` a number or text such as "8/255". It may be left out where the
        record has one radius alone. ValueError, naming what there is, for scores that the record does not hold.
        """
        if not self.scores:
            raise ValueError("no scores, the record was read from JSON alone: Result.load(FOLDER) reads both")
        return self.scores[self._place(detector, population, condition, eps)].double().numpy()

    def images_of(
        self, detector: str, population: str, condition: str = "clean", eps: float | str | None = None
    ) -> Tensor:
        """The first images (k, C, H, W) of a population, float32 pixels in [0, 1], named as in `scores_of`.

        Score i of `scores_of` is that of image i. ValueError where the run kept none (`keep_images`).
        """
        if not self.images:
            asked = "Result.load(FOLDER) reads them" if self.images_sha256 else "run with keep_images=True"
            raise ValueError(f"no images, the run kept none or the record was read from JSON alone: {asked}")
        place = self._place(detector, population, condition, eps)
        key = clean_key(population) if condition == "clean" else place
        if key not in self.images:
            raise ValueError(f"no images of {population} are kept: it was not attacked")
        return self.images[key].clone()

    def _place(self, detector: str, population: str, condition: str, eps: float | str | None) -> str:
        """The key of a population; ValueError, naming what there is, for one that the record has not."""
        check_known("detector", detector, [entry.detector for entry in self.detectors])
        sets = (entry.partition(": ") for entry in self.data)
        check_known("population", population, [name for split, _, name in sets if split.endswith("test")])
        attacks = [a for a in self.attacks if (a.detector, a.population) == (detector, population)]
        check_known(f"condition of {population}", condition, ["clean", *(a.condition for a in attacks)])
        radii = [None] if condition == "clean" else [a.eps for a in attacks if a.condition == condition]
        keys = {score_key(detector, population, condition, radius): radius for radius in radii}
        asked = keys if eps is None else {score_key(detector, population, condition, radius_of(eps))}
        found = [key for key in keys if key in asked]
        if len(found) != 1:
            said = "None" if eps is None else as_fraction(radius_of(eps))
            raise ValueError(f"epsilon {said}: expected one of {', '.join(map(as_fraction, keys.values()))}")
        return found[0]

    def to_dict(self) -> dict[str, Any]:
        """The record without the per-image scores and images, JSON-like."""
        record = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in TENSORS}
        return {name: jsonable(value) for name, value in record.items()}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The record that `to_json` wrote, without the per-image scores, which `Result.load` reads too.

        ValueError for text that is no record of a run.
        """
        record = parsed(text, cls, TENSORS, "a run")
        parts: dict[str, Any] = {name: [typed(kind, entry) for entry in record[name]] for name, kind in PARTS.items()}
        environment, timing = typed(Environment, record["environment"]), typed(Timing, record["timing"])
        return cls(**{**record, **parts, "environment": environment, "timing": timing})

    def __repr__(self) -> str:
        labels = ", ".join(dict.fromkeys(entry.detector for entry in self.detectors))
        conditions = ", ".join(dict.fromkeys(row.condition for row in self.rows))
        rows, means = counted(len(self.rows), "row"), counted(len(self.averages), "average")
        scores = f"{counted(len(self.scores), 'tensor')} of scores"
        return f"{type(self).__name__}({labels}: {conditions}; {rows}, {means}, {scores})"


PARTS: dict[str, type] = {
    "rows": Row,
    "averages": Row,
    "shifted_id": ShiftedSet,
    "indicators": Indicator,
    "attacks": AttackedPopulation,
    "detectors": FittedDetector,
}


TENSORS = ("scores", "images")
"""Fields that lie in files of their own."""


def clean_key(population: str) -> str:
    """The name of a population's images as they are, which are no detector's."""
    return f"{population}/clean"


def score_key(detector: str, population: str, condition: str, eps: float | None) -> str:
    """The name of a population's scores: DETECTOR/[EPS/]POPULATION/CONDITION."""
    radius = "" if eps is None or condition == "clean" else f"{eps:.6g}/"
    return f"{detector}/{radius}{population}/{condition}"


def check_known(kind: str, value: Any, choices: Iterable[str]) -> None:
    """ValueError for a value that is none of the choices, naming the nearest."""
    choices = list(dict.fromkeys(choices))
    if value not in choices:
        raise ValueError(unknown(kind, value, choices))


def radius_of(given: Any) -> float:
    """A radius given as a number or as text such as 8/255."""
    try:
        return float(Fraction(given) if isinstance(given, str) else given)
    except (TypeError, ValueError, ZeroDivisionError):
        raise ValueError(f"epsilon {given!r}: expected a number such as 8/255 or 0.03") from None


def parsed(text: str, kind: type, apart: Collection[str], what: str) -> dict[str, Any]:
    """The fields of a record in JSON but for those that lie in other files; ValueError, in one sentence, for any
    other text."""
    try:
        record = json.loads(text)
    except ValueError as error:
        raise ValueError(f"no record of {what}: it is not JSON ({error})") from None
    if not isinstance(record, dict):
        raise ValueError(f"no record of {what}: expected an object, not a {type(record).__name__}")
    if "schema" in record:
        raise ValueError(f"no record of {what}: it is a certificate, which roodbench.certify.read reads")
    if record.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(f"schema version {record.get('schema_version')}: expected {SCHEMA_VERSION}")
    wanted = [f for f in fields(kind) if f.name not in apart]
    missing = sorted(f.name for f in wanted if f.default is MISSING and f.name not in record)
    if missing:
        other = "CertifiedResult" if "violations" in record else "Result"
        raise ValueError(f"no record of {what}: it has no {', '.join(missing)}; is it one that {other} reads?")
    return {f.name: record[f.name] for f in wanted if f.name in record}


def typed(kind: type[Part], entry: Mapping[str, Any]) -> Part:
    """A part of the record from its JSON; what this version does not know of is left out."""
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    try:
        entry = renamed(entry) if kind is Row else entry
        return kind(**{name: value for name, value in entry.items() if name in known})
    except (TypeError, AttributeError) as error:
        raise ValueError(f"malformed {kind.__name__} in the record: {error}") from None


def jsonable(value: Any) -> Any:
    """Parts of the record as dicts, optional ones only where there is something to say."""
    if isinstance(value, list):
        return [jsonable(entry) for entry in value]
    if isinstance(value, FittedDetector | Timing):
        return {name: entry for name, entry in asdict(value).items() if entry is not None}
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value
