"""A certification as an entry: what no adversary gets below, by its record, and what that says against itself."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, pairwise, product
from pathlib import Path
from typing import Any

from ..certify.beside import check_beside
from ..certify.evidence import CONDITIONS
from ..record.environment import Environment
from ..record.record import typed
from ..store.runs import RECORD
from .schema import CERTIFICATION, faults, published

ROUNDING = 1e-9


@dataclass(frozen=True)
class Claim:
    """What is proven of one detector at one radius: AUROCs by OOD set, both populations moved. Fractions."""

    label: str
    params: dict[str, Any]
    radius: float
    """In pixels, of the certification's norm."""
    certified: dict[str, float]
    """By noise of infinitely many noisy copies."""
    clean: dict[str, float]
    attacked: dict[str, float | None]
    """By the certification's own attack; None where none ran."""
    copies: int | None
    """Fresh ones of the detector as it is deployed; None without noise."""
    deployed: dict[str, float | None]
    """The same bound of that detector; None where nothing says it."""

    def least(self, *, deployed: bool = False) -> float | None:
        """The lowest bound over the sets; None where one has none."""
        values = list((self.deployed if deployed else self.certified).values())
        return None if None in values else min(values)  # type: ignore[type-var]


@dataclass(frozen=True)
class Certification:
    """A certification that was handed in."""

    name: str
    by_noise: bool
    """Else by interval bounds, with no probability in them."""
    record: Mapping[str, Any]
    """As its file has it."""
    environment: Environment
    claims: list[Claim]
    sizes: dict[str, int]
    """Images per test set, that of ID first."""
    images: dict[str, Any]
    """Of every test set the hash, by split and name; empty where the record has none."""
    network: str | None
    """By hash; None where the record has none."""
    alpha: float
    """Error of each certified number."""
    certificate: bool
    """Whether its certificate lies beside it, and is its own and coherent."""

    @property
    def row(self) -> Mapping[str, Any]:
        """Its first row: benchmark, network and norm are those of all."""
        return self.record["rows"][0]

    @property
    def violations(self) -> list[str]:
        """Where an attack got past a bound."""
        return self.record.get("violations", [])


def kind_of(found: Any) -> str | None:
    """Which of the schema's two kinds of certification a JSON value is; None for any other."""
    if not isinstance(found, dict):
        return None
    return "ByNoise" if "violations" in found else "ByIntervals" if is_interval(found) else None


def is_interval(found: Mapping[str, Any]) -> bool:
    return str(found.get("method")).startswith("interval")


def certification(found: Mapping[str, Any], file: Path, name: str) -> Certification:
    """The certification in a file, whose JSON is `found`; ValueError for what breaks the schema, or has another
    certificate beside it."""
    kind = kind_of(found)
    for fault in faults(found, published(CERTIFICATION)["$defs"][kind], file=CERTIFICATION):
        raise ValueError(f"'{file}' breaks the schema of a certification: {fault}")
    rows = found["rows"]
    beside = file.name == RECORD and check_beside(file)
    data = {key: its for key, its in found.get("data", {}).items() if key.partition(": ")[0].endswith(" test")}
    own = next((key.partition(": ")[2] for key in data if key.startswith("ID test: ")), "ID")
    sizes = {own: rows[0]["n_id"]} | {row["ood"]: row["n_ood"] for row in rows}
    return Certification(
        name,
        kind == "ByNoise",
        found,
        typed(Environment, found["environment"]),
        list(claims_of(rows)),
        sizes,
        {key: its["sha256"] for key, its in data.items()},
        found.get("network", {}).get("sha256"),
        max(row.get("alpha", 0.0) for row in rows),
        beside,
    )


def claims_of(rows: list[Mapping[str, Any]]) -> Iterator[Claim]:
    """The claims of some rows, by detector and radius."""
    found: dict[tuple[str, float], dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        if row["condition"] == "both":
            found.setdefault((label_of(row), row["radius"]), {})[row["ood"]] = row
    for (label, radius), sets in found.items():
        first = next(iter(sets.values()))
        certified, clean, attacked = (
            {ood: row[key] for ood, row in sets.items()} for key in ("gauroc", "auroc_clean", "auroc_attacked")
        )
        deployed = {ood: row["deployed"]["certified"] for ood, row in sets.items() if "deployed" in row}
        yield Claim(
            label, first["params"], radius, certified, clean, attacked, first.get("copies"), deployed or certified
        )


def label_of(row: Mapping[str, Any]) -> str:
    return f"{row['detector']}({row['base']})" if row.get("base") else str(row["detector"])


def contradictions_of(entry: Certification) -> Iterator[str]:
    """One line for everything in a certification's record that cannot be true of one."""
    for check in (of_rows, of_bounds):
        found = list(islice(check(entry), 3))
        yield from found
        if found:
            return


def of_rows(entry: Certification) -> Iterator[str]:
    """Every detector has each OOD set, radius and condition once, with the images, norm and alpha that all have."""
    rows, config = entry.record["rows"], entry.record["config"]
    keys = [(label_of(row), row["ood"], row["radius"]) for row in rows]
    labels, sets, radii = (list(dict.fromkeys(values)) for values in zip(*keys, strict=True))
    wanted = Counter(product(labels, sets, radii, CONDITIONS))
    have = Counter((*key, row["condition"]) for key, row in zip(keys, rows, strict=True))
    for where, left in (("has no row", wanted - have), ("has one row more", have - wanted)):
        for label, ood, radius, condition in left:
            yield f"it {where} of {label} on {ood}, {condition} at {radius:.6g}"
    if config["run"].get("detector") != list(dict.fromkeys(row["detector"] for row in rows)):
        yield f"config names {config['run'].get('detector')}, the rows are of {', '.join(labels)}"
    same = {name: rows[0][name] for name in ("benchmark", "model", "n_id")} | {"norm": config["run"].get("norm")}
    same |= {name: config.get(name) for name in ("alpha", "sigma", "samples")} if entry.by_noise else {}
    data = entry.record.get("data", {})
    sizes = {key.removeprefix("OOD test: "): its["images"] for key, its in data.items() if key.startswith("OOD test: ")}
    own = next((its["images"] for key, its in data.items() if key.startswith("ID test: ")), rows[0]["n_id"])
    if rows[0]["n_id"] != own:
        yield f"its rows have {rows[0]['n_id']} ID images, data has {own}"
    for row in rows:
        where = f"{label_of(row)} on {row['ood']}, {row['condition']}:"
        for name, value in same.items():
            if row[name] != value:
                yield f"{where} {name} {row[name]}, expected {value}"
        if sizes and row["n_ood"] != sizes.get(row["ood"]):
            yield f"{where} {row['n_ood']} images, data has {sizes.get(row['ood'])}"


def of_bounds(entry: Certification) -> Iterator[str]:
    """No bound lies above the clean AUROC, that of one population moved alone, or that of a smaller radius.

    Nor, of interval bounds, above what an attack left; by noise `violations` says so, since draws have noise.
    """
    places: dict[tuple[str, str], dict[str, dict[float, float]]] = {}
    for row in entry.record["rows"]:
        label, ood, condition, radius, value = (row[k] for k in ("detector", "ood", "condition", "radius", "gauroc"))
        for name in ("auroc_clean", *(() if entry.by_noise else ("auroc_attacked",))):
            if row[name] is not None and value > row[name] + ROUNDING:
                where = f"{label} on {ood}, {condition} at {radius:.6g}"
                yield f"{where}: certified {value:.6g} is above {name} {row[name]:.6g}"
        places.setdefault((label, ood), {}).setdefault(condition, {})[radius] = value
    for (label, ood), its in places.items():
        for condition, by_radius in its.items():
            for (less, before), (more, after) in pairwise(sorted(by_radius.items())):
                if after > before + ROUNDING:
                    where = f"{label} on {ood}, {condition}"
                    yield f"{where}: certified {after:.6g} at {more:.6g} and {before:.6g} at {less:.6g}"
        for condition, radius in product(("min", "max"), its["both"]):
            if its["both"][radius] > its[condition][radius] + ROUNDING:
                yield f"{label} on {ood} at {radius:.6g}: certified more with both moved than with {condition} alone"


def text_of(entry: Certification) -> str:
    """The entry of a certification: its record, on one line."""
    return json.dumps(entry.record, separators=(",", ":"), allow_nan=False) + "\n"
