"""The JSON Schemas of a run's record and of a certification's, from their own types: `python -m tests.docs.tables`
writes them.

They lie in the package (roodbench/entry/*.schema.json) and in docs/.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from torch import Tensor

from roodbench.certify.interval.evidence import METHOD
from roodbench.certify.interval.run import IntervalRow
from roodbench.certify.row import CertifiedRow
from roodbench.entry.schema import CERTIFICATION, FILE
from roodbench.record.environment import Environment
from roodbench.record.record import PARTS, SCHEMA_VERSION, Record
from roodbench.record.table import ORDER

NAMES: dict[Any, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    type(None): "null",
}
SHARE, CHANGE, COUNT, SOME = {"minimum": 0, "maximum": 1}, {"minimum": -1, "maximum": 1}, {"minimum": 0}, {"minimum": 1}
SHARE_OR_NONE = {"type": ["number", "null"], **SHARE}
PAIR = {"minItems": 2, "maxItems": 2}
NARROWER: dict[str, dict[str, dict[str, Any]]] = {
    "Record": {"schema_version": {"enum": [SCHEMA_VERSION]}, "rows": {"minItems": 1}},
    "Row": {
        **dict.fromkeys(("auroc", "fpr95_id", "fpr95_id_refit", "fpr95_ood", "aupr_in", "aupr_out"), SHARE),
        **dict.fromkeys(("id_accuracy", "auroc_transfer", "auroc_equal"), SHARE),
        **dict.fromkeys(("auroc_drop", "adaptive_gap", "adaptive_gap_steps"), CHANGE),
        **dict.fromkeys(("eps", "eps_pixel"), COUNT),
        **dict.fromkeys(("n_id", "n_ood"), SOME),
        "condition": {"enum": list(ORDER)},
        "norm": {"enum": ["linf", "l2", None]},
    },
    "CertifiedRow": {
        **dict.fromkeys(("auroc_clean", "auroc_attacked", "gauroc", "gfpr95", "says_id", "says_ood"), SHARE),
        **dict.fromkeys(("sigma", "alpha", "radius", "radius_l2"), COUNT),
        **dict.fromkeys(("n_id", "n_ood", "samples", "copies"), SOME),
        "deployed": {"required": ["clean", "attacked", "certified"], "additionalProperties": {**SHARE_OR_NONE}},
        "condition": {"enum": ["min", "max", "both"]},
        "norm": {"enum": ["linf", "l2"]},
    },
    "IntervalRow": {
        **dict.fromkeys(("auroc_clean", "auroc_attacked", "gauroc", "gfpr95"), SHARE),
        **dict.fromkeys(("n_id", "n_ood"), SOME),
        "radius": COUNT,
        "condition": {"enum": ["min", "max", "both"]},
        "norm": {"enum": ["linf"]},
    },
    "Indicator": {"about": {"enum": ["data", "network", "detector", "attack"]}},
    "Timing": {"seconds": COUNT},
}
"""What the types do not say: bounds and choices."""
SCORES = {
    "description": "Of an entry of a leaderboard: per DETECTOR/[EPS/]POPULATION/CONDITION the report scores, a list of "
    "images for each draw.",
    "type": "object",
    "additionalProperties": {
        "type": "object",
        "properties": {
            "dtype": {"enum": ["float32", "float64"]},
            "values": {
                "type": "array",
                "minItems": 1,
                "items": {"type": "array", "minItems": 2, "items": {"type": "number"}},
            },
        },
        "required": ["dtype", "values"],
    },
}
DATA = {
    "type": "object",
    "properties": {"images": {"type": "integer", "minimum": 0}, "sha256": {"type": "string"}},
    "required": ["images", "sha256"],
}


def schema() -> dict[str, Any]:
    """JSON Schema, draft 2020-12, of a record as `Result.to_json` writes it."""
    found: dict[str, Any] = {}
    whole = described(Record, found)
    whole["properties"] |= {"scores": SCORES, "data": {"type": "object", "additionalProperties": DATA}}
    whole["properties"] |= {
        name: {"type": "array", "items": reference(kind, found), **NARROWER["Record"].get(name, {})}
        for name, kind in PARTS.items()
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"roodbench-record-{SCHEMA_VERSION}",
        "title": "The record of a run of RoodBench",
        **whole,
        "$defs": dict(sorted(found.items())),
    }


def certifications() -> dict[str, Any]:
    """JSON Schema of a certification's record, by noise or by interval bounds."""
    found: dict[str, Any] = {}
    version, any_data = {"enum": [SCHEMA_VERSION]}, {"type": "object", "additionalProperties": DATA}
    network = {"type": "object", "properties": {"sha256": {"type": "string"}}, "required": ["sha256"]}
    run = {"type": "object", "properties": {"run": {"type": "object"}}, "required": ["run"]}
    for name, row, own in (
        ("ByNoise", CertifiedRow, {"violations": {"type": "array", "items": {"type": "string"}}}),
        ("ByIntervals", IntervalRow, {"method": {"enum": [METHOD]}}),
    ):
        parts = {
            "schema_version": version,
            "config": run,
            "environment": reference(Environment, found),
            "rows": {"type": "array", "items": reference(row, found), "minItems": 1},
            **own,
            "network": network,
            "data": any_data,
        }
        required = [key for key in parts if name == "ByNoise" or key not in ("network", "data")]  # older ones lack them
        found[name] = {"type": "object", "properties": parts, "required": required}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"roodbench-certification-{SCHEMA_VERSION}",
        "title": "The record of a certification of RoodBench",
        "oneOf": [{"$ref": "#/$defs/ByNoise"}, {"$ref": "#/$defs/ByIntervals"}],
        "$defs": dict(sorted(found.items())),
    }


def described(kind: type, found: dict[str, Any]) -> dict[str, Any]:
    """The schema of a dataclass; those that it names go to `found`."""
    hints, narrower = typing.get_type_hints(kind), NARROWER.get(kind.__name__, {})
    own = [f for f in fields(kind) if Tensor not in typing.get_args(hints[f.name])]
    return {
        "type": "object",
        "properties": {
            f.name: {
                **of_hint(hints[f.name], found),
                **(PAIR if f.name.endswith("_ci") else {}),
                **narrower.get(f.name, {}),
            }
            for f in own
        },
        "required": [f.name for f in own if f.default is MISSING and f.default_factory is MISSING]
        + (["schema_version"] if kind is Record else []),
    }


def reference(kind: type, found: dict[str, Any]) -> dict[str, Any]:
    if kind.__name__ not in found:
        found[kind.__name__] = {}
        found[kind.__name__] = described(kind, found)
    return {"$ref": f"#/$defs/{kind.__name__}"}


def of_hint(hint: Any, found: dict[str, Any]) -> dict[str, Any]:
    """The schema of a type: names, lists, objects, and either of several."""
    origin, inner = typing.get_origin(hint) or hint, typing.get_args(hint)
    if origin in NAMES:
        return {"type": NAMES[origin]}
    if origin in (types.UnionType, typing.Union):
        parts = [of_hint(part, found) for part in inner]
        merged = {name: value for part in parts for name, value in part.items() if name != "type"}
        return {"type": [part["type"] for part in parts], **merged}
    if origin in (list, Sequence):
        return {"type": "array", "items": of_hint(inner[0], found)}
    if origin in (dict, Mapping):
        rest = of_hint(inner[1], found)
        return {"type": "object", **({"additionalProperties": rest} if rest else {})}
    if is_dataclass(hint):
        return reference(hint, found)  # type: ignore[arg-type]
    assert hint is Any, hint
    return {}


def texts() -> dict[str, str]:
    """The schemas by the names of their files."""
    found = {FILE.name: schema(), CERTIFICATION.name: certifications()}
    return {name: json.dumps(its, indent=1) + "\n" for name, its in found.items()}
