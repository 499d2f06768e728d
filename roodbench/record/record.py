"""The result record: what one run found, as typed parts and as JSON. It knows nothing of how it is shown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from torch import Tensor

from ..evaluation.indicators import Indicator
from .environment import Environment
from .row import AttackedPopulation, FittedDetector, Row, ShiftedSet, Timing

if TYPE_CHECKING:
    from typing_extensions import Self

SCHEMA_VERSION = 1
Part = TypeVar("Part")


@dataclass(frozen=True)
class Record:
    """What one run found. `rows` hold OOD sets, `averages` the means over the near, far and all OOD sets."""

    config: dict[str, Any]
    environment: Environment
    data: dict[str, dict[str, Any]]
    """Per split: number of images and their hash."""
    rows: list[Row]
    averages: list[Row]
    shifted_id: list[ShiftedSet]
    indicators: list[Indicator]
    attacks: list[AttackedPopulation]
    detectors: list[FittedDetector]
    timing: Timing
    scores: dict[str, Tensor] = field(repr=False, default_factory=dict)
    """Report scores (R, n) per detector, population and condition (`scores_of`), and the winners (n,) of attacks."""
    schema_version: int = SCHEMA_VERSION

    def scores_of(
        self, detector: str, population: str, condition: str = "clean", eps: float | None = None
    ) -> np.ndarray:
        """Report scores (R, n) of a population, `clean` or attacked (`min` of ID, `max` of OOD) at a radius.

        `detector` is its label, as ross(gen). The radius may be left out where the record has one alone. ValueError,
        naming what there is, for scores that the record does not hold.
        """
        tail = f"/{population}/{condition}"
        found = [key for key in self.scores if key.startswith(f"{detector}/") and key.endswith(tail)]
        if eps is not None:
            found = [key for key in found if key == score_key(detector, population, condition, eps)]
        if len(found) != 1:
            known = [key for key in self.scores if not key.endswith("/winner")] or ["none: it was read from JSON alone"]
            what = f"{len(found)} sets of scores of {detector}{tail}" + ("" if eps is None else f" at epsilon {eps:g}")
            raise ValueError(f"{what}: expected one of {', '.join(known)}")
        return self.scores[found[0]].double().numpy()

    def to_dict(self) -> dict[str, Any]:
        """The record without the per-image scores, JSON-like."""
        record = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "scores"}
        return {name: jsonable(value) for name, value in record.items()}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The record that `to_json` wrote, without the per-image scores."""
        record = json.loads(text)
        if record.get("schema_version") != SCHEMA_VERSION:
            raise ValueError(f"schema version {record.get('schema_version')}: expected {SCHEMA_VERSION}")
        parts: dict[str, Any] = {name: [typed(kind, entry) for entry in record[name]] for name, kind in PARTS.items()}
        environment, timing = typed(Environment, record["environment"]), typed(Timing, record["timing"])
        return cls(**{**record, **parts, "environment": environment, "timing": timing})


PARTS: dict[str, type] = {
    "rows": Row,
    "averages": Row,
    "shifted_id": ShiftedSet,
    "indicators": Indicator,
    "attacks": AttackedPopulation,
    "detectors": FittedDetector,
}


def score_key(detector: str, population: str, condition: str, eps: float | None) -> str:
    """The name of a population's scores: DETECTOR/[EPS/]POPULATION/CONDITION."""
    radius = "" if eps is None or condition == "clean" else f"{eps:.6g}/"
    return f"{detector}/{radius}{population}/{condition}"


def typed(kind: type[Part], entry: Mapping[str, Any]) -> Part:
    """A part of the record from its JSON; what this version does not know of is left out."""
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in entry.items() if name in known})


def jsonable(value: Any) -> Any:
    """Parts of the record as dicts, optional ones only where there is something to say."""
    if isinstance(value, list):
        return [jsonable(entry) for entry in value]
    if isinstance(value, FittedDetector | Timing):
        return {name: entry for name, entry in asdict(value).items() if entry is not None}
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value
