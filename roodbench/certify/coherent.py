"""Whether a certificate agrees with itself, before anything is said of it again: no network, no images, no noise.

It tells an edited file from a whole one, no more: what was forged with care is for `verify` to find.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise, product
from typing import Any

import numpy as np

from ..metrics.deployed import knots
from ..metrics.gauroc import image_alpha
from ..metrics.ranks import largest_radius
from .certificate import CLAIM, INTERVAL, KEY, SCHEMA, entries_of, noise_seed
from .claimed import (
    ABOVE,
    OTHER,
    OWN,
    Settings,
    detector_of,
    evidence_in,
    followed,
    id_name,
    keys_of,
    known,
    mapping,
    scope_of,
    together_of,
)
from .compare import (
    NUMBER,
    POSITIVE,
    TEXT,
    TOLERANCE,
    WHOLE,
    Form,
    ascending,
    differences,
    is_number,
    listed,
    near,
    numbers,
    side,
)
from .config import SHARES
from .evidence import CONDITIONS, KINDS, better_than_scores
from .interval.coherent import incoherences as of_intervals
from .operating import fixed

AT_MOST = ("deployed", "gauroc_joint")
"""The metrics that follow from noisy scores: the dimension of images, which a certificate does not say, lowers them."""
SHARE = Form("a number from 0 to 1", lambda v: is_number(v) and 0 <= v <= 1)
RADIUS = Form("a number of at least 0, or null", lambda v: v is None or POSITIVE.fits(v))

ODD = Form("an odd whole number", lambda v: isinstance(v, int) and not isinstance(v, bool) and v > 0 and v % 2 == 1)


SCORES = Form("a list of numbers", lambda v: isinstance(v, list) and len(v) > 0 and all(map(is_number, v)))


def check_coherent(certificate: Mapping[str, Any], which: str) -> None:
    """ValueError, in one line, for a certificate (`which` one) that contradicts itself."""
    by_noise = certificate.get("schema") != INTERVAL
    for line in incoherences(certificate) if by_noise else of_intervals(certificate):
        raise ValueError(f"certificate '{which}' contradicts itself: {line}")


def incoherences(certificate: Mapping[str, Any]) -> Iterator[str]:
    """Where a certificate contradicts itself or lacks what each has; of several stages the first that finds anything.

    Its settings, seed, populations and levels; each score against its own bounds, and bounds against those of smaller
    radii and against what so many samples can give; every metric against the bounds that it follows from, and the
    operating points (docs/theorems.md, T4, T11 to T13, T25, T27, T28, T31). What is said of new images is taken as it
    is. Fields that it does not know it leaves alone.
    """
    try:
        config = Settings.of(certificate)
    except ValueError as error:
        yield str(error)
        return
    for stage in (of_header, of_detectors, of_bounds, of_rows, of_operating):
        found = list(stage(certificate, config))
        yield from found
        if found:
            return


def of_header(certificate: Mapping[str, Any], config: Settings) -> Iterator[str]:
    """The claim is this version's, and what is said of the settings twice is the same."""
    hashed = {"name": TEXT, "sha256": TEXT, "prepared": TEXT}
    yield from known(
        certificate,
        {
            "schema": SCHEMA,
            "claim": CLAIM,
            "threat": {"norm": "l2", "space": "pixel"},
            "network": hashed,
            "data": {name: {"images": WHOLE, "sha256": TEXT} for name in mapping(certificate, "data")},
            "code": TEXT,
            **{name: getattr(config, name) for name in ("sigma", "samples", "alpha")},
        },
    )
    names = [entry.get("detector") for entry in entries_of(certificate, "detectors")]
    yield from differences(names, list(config.detector), "detectors")
    radii = mapping(certificate, "threat").get("radii")
    if not isinstance(radii, list) or not radii or not all(is_number(r) and r > 0 for r in radii):
        yield f"threat, radii is {radii!r}: expected numbers above 0"
        return
    scale = radii[-1] / config.radius[-1]
    dimension = round(scale**2)
    right = dimension >= 1 and math.isclose(scale**2, dimension, rel_tol=TOLERANCE)
    if not right or (config.norm == "l2" and dimension != 1):
        yield f"threat, radii is {radii}: expected those of {config.norm} {list(config.radius)}"
    yield from differences(radii, [scale * radius for radius in config.radius], "threat, radii")
    try:
        seed = noise_seed(certificate["network"], certificate["data"], certificate["code"])
    except (KeyError, TypeError):
        return  # said above
    yield from differences(certificate.get("seed"), seed, "seed")


def of_detectors(certificate: Mapping[str, Any], config: Settings) -> Iterator[str]:
    """The detectors are those of the settings, on the images that `data` names, at their share of alpha."""
    entries, data = entries_of(certificate, "detectors"), mapping(certificate, "data")
    tests = {name.removeprefix(p): (p, data[name]) for p in (OWN, OTHER) for name in data if name.startswith(p)}
    if sum(prefix == OWN for prefix, _ in tests.values()) != 1 or len(tests) < 2:
        yield "data names no ID test set, or several, or no OOD test set"
        return
    total, points = sum(its["images"] for _, its in tests.values()), len(knots(config.samples))
    yield from differences([entry.get("base") for entry in entries], [entries[0].get("base")] * len(entries), "bases")
    for entry in entries:
        populations = mapping(entry, "populations")
        yield from differences(list(populations), list(tests), f"{entry['detector']}, populations")
        for name, (prefix, its) in tests.items():
            n = its["images"]
            sides = {"lower": numbers(n), "upper": numbers(n)}
            wanted = {
                "role": prefix.partition(" ")[0],
                "sha256": its["sha256"],
                "images": listed(n, TEXT),
                "score": listed(n, NUMBER),
                **{kind: dict.fromkeys(keys_of(certificate), sides) for kind in KINDS},
                "sample": listed(n, ascending(points)),
            }
            where = f"{entry['detector']}, populations, {name}"
            yield from known(populations.get(name), wanted, where)
        wanted = {
            "base": TEXT,
            "params": {"sigma": config.sigma, "copies": ODD},
            "extremes": numbers(2),
            "alpha_image": near(config.alpha / total, TOLERANCE * config.alpha / total),
            "slack": POSITIVE,
            "fitted": {} if entry["detector"] == "median" else {"tau": NUMBER},
        }
        wanted["validation"] = None if config.tpr is None else {"score": SCORES}
        wanted["params"] |= {} if entry["detector"] == "median" else {"gain": POSITIVE, "eta": ABOVE}
        yield from known(entry, wanted, entry["detector"])


def of_bounds(certificate: Mapping[str, Any], config: Settings) -> Iterator[str]:
    """Scores lie within their bounds, and no bound is tighter than at a smaller radius or than scores allow."""
    keys = keys_of(certificate)
    for entry, kind in product(certificate["detectors"], KINDS):
        lowest = side({"lower": entry["extremes"][:1]}, "lower")[0]
        for name, population in entry["populations"].items():
            alpha = image_alpha(len(population["score"]), config.alpha) if kind == "counted" else entry["alpha_image"]
            reach = config.sigma * largest_radius(config.samples, alpha / SHARES[entry["detector"]]) * (1 + TOLERANCE)
            score, where = np.array(population["score"], dtype=float), f"{entry['detector']}, {name}, {kind}"
            sides = [(side(population[kind][key], "lower"), side(population[kind][key], "upper")) for key in keys]
            give = TOLERANCE * np.maximum(1, np.abs(score))
            for key, (lower, upper) in zip(keys, sides, strict=True):
                if not ((lower <= score + give) & (score - give <= upper)).all():
                    yield f"{where}, radius {key}: a score lies outside its own bounds"
                if float(key) > reach and (lower > lowest).any():
                    yield f"{where}: {config.samples} samples can bound nothing at radius {key}"
            for (key, (inner, outer)), (more, (lower, upper)) in pairwise(zip(keys, sides, strict=True)):
                if (lower > inner + give).any() or (upper < outer - give).any():
                    yield f"{where}: a bound at radius {more} is tighter than at {key}"
    settings: Any = config
    for entry in certificate["detectors"]:
        for name, population in entry["populations"].items():
            its = population, settings, scope_of(entry, config), float(entry["slack"])
            try:
                lines = list(better_than_scores(detector_of(entry), *its))
            except ValueError as error:  # an eta that the slack drowns
                lines = [str(error)]
            yield from (f"{entry['detector']}, {name}: {line}" for line in lines)


def of_rows(certificate: Mapping[str, Any], config: Settings) -> Iterator[str]:
    """There is one row for every detector, radius, OOD set and condition, and its metrics follow from the bounds."""
    sets = [name for name in certificate["data"] if name.startswith(OTHER)]
    wanted = [
        (entry["detector"], entry["base"], name.removeprefix(OTHER), condition, radius)
        for entry in certificate["detectors"]
        for radius in certificate["threat"]["radii"]
        for name in sets
        for condition in CONDITIONS
    ]
    rows = entries_of(certificate, "gauroc")
    yield from differences([[row.get(k) for k in KEY] for row in rows], [list(key) for key in wanted], "gauroc")
    if len(rows) != len(wanted):
        return
    try:
        entries = {its["detector"]: (detector_of(its), its, evidence_in(its)) for its in certificate["detectors"]}
    except ValueError as error:
        yield str(error)
        return
    for row, (name, base, ood, condition, radius) in zip(rows, wanted, strict=True):
        where = f"the row of {name}({base}), {ood}, {condition} at {radius:g}"
        with np.errstate(over="ignore", invalid="ignore"):
            found = followed(*entries[name], config, ood, condition, radius)
        most = {key: found.pop(key) for key in AT_MOST}
        found.pop("gauroc_new")  # of groups of equal images, which are not known here
        yield from known(row, {**found, **dict.fromkeys((*most, "gauroc_new"), SHARE)}, where)
        for key, value in most.items():
            if is_number(row.get(key)) and not row[key] <= value + TOLERANCE:
                yield f"{where}, {key} is {row[key]}: its noisy scores give {value:.6g} at most"


def of_operating(certificate: Mapping[str, Any], config: Settings) -> Iterator[str]:
    """The threshold is that of the validation images, and rates there are no better than noisy scores allow."""
    points = entries_of(certificate, "operating")
    yield from differences([point.get("detector") for point in points], list(config.detector), "operating")
    for point, entry in zip(points, certificate["detectors"], strict=False):
        where = f"operating, {entry['detector']}"
        found = list(known(point, point_form(certificate, entry), where))
        yield from found or rates_of(config, point, entry, where)


def point_form(certificate: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    """What an operating point looks like."""
    sets = [name for name, its in entry["populations"].items() if its["role"] == "OOD"]
    alone = dict.fromkeys(("tpr", "tpr_new", "tpr_copies", "tpr_worst", "tpr_worst_new"), SHARE)
    by_set = {name: dict.fromkeys(sets, SHARE) for name in ("fpr", "fpr_new", "fpr_copies")}
    radii = (0.0, *certificate["threat"]["radii"])
    at = [{"radius_l2": radius, "worst_class": NUMBER, **alone, **by_set} for radius in radii]
    largest = dict.fromkeys(("largest_radius", "largest_radius_new"), RADIUS)
    return {"base": entry["base"], "threshold": NUMBER, "points": at, **largest}


def rates_of(config: Settings, point: Mapping[str, Any], entry: Mapping[str, Any], where: str) -> Iterator[str]:
    """Where a detector's rates are better than those that follow for images of one pixel."""
    scores = np.array(entry["validation"]["score"]) if config.tpr is not None else None
    settings: Any = config
    threshold, at_once = fixed(settings, scores), together_of(entry, config)
    yield from differences(point["threshold"], threshold, f"{where}, threshold")
    others = evidence_in(entry)
    own = others.pop(id_name(entry))
    for at in point["points"]:
        radius = at["radius_l2"]
        most = float((at_once.bounds(own, radius)[0] >= threshold).mean())
        if at["tpr_worst"] > at["tpr"] + TOLERANCE:
            yield f"{where}, tpr_worst at {radius:g} is {at['tpr_worst']}: the tpr of all classes is {at['tpr']}"
        if at["tpr"] > most + TOLERANCE:
            yield f"{where}, tpr at {radius:g} is {at['tpr']}: its noisy scores give {most:.6g} at most"
        for name, other in others.items():
            least = float((at_once.bounds(other, radius)[1] >= threshold).mean())
            if at["fpr"][name] < least - TOLERANCE:
                yield f"{where}, fpr of {name} at {radius:g} is {at['fpr'][name]}: its noisy scores give {least:.6g}"
    if (largest := point["largest_radius"]) is not None:
        kept = float((at_once.bounds(own, largest)[0] >= threshold).mean())
        if kept < config.least_tpr - TOLERANCE:
            yield f"{where}, largest_radius is {largest}: there its noisy scores give a tpr of {kept:.6g}"
