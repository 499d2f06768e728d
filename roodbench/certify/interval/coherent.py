"""Whether a certificate of interval bounds agrees with itself: no network, no images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from ..certificate import INTERVAL, entries_of
from ..claimed import ABOVE, OWN, is_list, known, mapping
from ..compare import NUMBER, TEXT, TOLERANCE, WHOLE, Form, differences, listed
from ..config import BOUNDED
from .claimed import key_of, metrics_of, sides_of, tests_of
from .evidence import CLAIM, METHOD

RADII = Form("ascending numbers above 0", lambda v: is_list(v) and all(map(ABOVE.fits, v)) and sorted(set(v)) == v)
SCORES = Form(
    f"some of {', '.join(BOUNDED)}, each once",
    lambda v: is_list(v) and all(name in BOUNDED for name in v) and len(set(v)) == len(v),
)


def incoherences(certificate: Mapping[str, Any]) -> Iterator[str]:
    """Where a certificate contradicts itself or lacks what each has; of several stages the first that finds anything.

    Its settings and populations; each score against its own bounds, and bounds against those of smaller radii; every
    metric against the bounds that it follows from (docs/theorems.md, T12, T32). Fields that it does not know it leaves
    alone.
    """
    for stage in (of_settings, of_detectors, of_bounds, of_rows):
        found = list(stage(certificate))
        yield from found
        if found:
            return


def of_settings(certificate: Mapping[str, Any]) -> Iterator[str]:
    """The claim and the method are this version's, and what is said of the settings twice is the same."""
    config = mapping(certificate, "config")
    images = {name: {"images": WHOLE, "sha256": TEXT} for name in mapping(certificate, "data")}
    wanted = {
        "schema": INTERVAL,
        "claim": CLAIM,
        "method": METHOD,
        "threat": {"norm": "linf", "space": "pixel", "radii": RADII},
        "network": {"name": TEXT, "sha256": TEXT},
        "data": images,
        "code": TEXT,
        "config": {"radius": RADII, "run": {"detector": SCORES, "norm": "linf"}},
    }
    found = list(known(certificate, wanted))
    yield from found
    if not found:
        count = len(config["run"]["detector"])
        yield from known(certificate.get("detectors"), [{"detector": TEXT}] * count, "detectors")
        names = [entry.get("detector") for entry in entries_of(certificate, "detectors")]
        yield from differences(names, config["run"]["detector"], "detectors")
        yield from differences(certificate["threat"]["radii"], config["radius"], "threat, radii")


def of_detectors(certificate: Mapping[str, Any]) -> Iterator[str]:
    """The detectors have a score and bounds of every image that `data` names."""
    data, tests = certificate["data"], tests_of(certificate)
    if sum(name.startswith(OWN) for name in data) != 1 or len(tests) < 2:
        yield "data names no ID test set, or several, or no OOD test set"
        return
    for entry in certificate["detectors"]:
        populations = mapping(entry, "populations")
        yield from differences(list(populations), list(tests), f"{entry['detector']}, populations")
        for name, (role, its) in tests.items():
            n = its["images"]
            sides = {"lower": listed(n, NUMBER), "upper": listed(n, NUMBER)}
            wanted = {
                "role": role,
                "sha256": its["sha256"],
                "images": listed(n, TEXT),
                "score": listed(n, NUMBER),
                "bounds": dict.fromkeys(map(key_of, radii_of(certificate)), sides),
            }
            yield from known(populations.get(name), wanted, f"{entry['detector']}, populations, {name}")


def of_bounds(certificate: Mapping[str, Any]) -> Iterator[str]:
    """Scores lie within their bounds, and no bound is tighter than at a smaller radius."""
    for entry in certificate["detectors"]:
        for name, population in entry["populations"].items():
            score, where = np.array(population["score"], dtype=float), f"{entry['detector']}, {name}"
            give = TOLERANCE * np.maximum(1, np.abs(score))
            sides = [(key_of(radius), *sides_of(entry, name, radius)) for radius in radii_of(certificate)]
            for key, lower, upper in sides:
                if not ((lower <= score + give) & (score - give <= upper)).all():
                    yield f"{where}, radius {key}: a score lies outside its own bounds"
            for (key, inner, outer), (more, lower, upper) in pairwise(sides):
                if (lower > inner + give).any() or (upper < outer - give).any():
                    yield f"{where}: a bound at radius {more} is tighter than at {key}"


def of_rows(certificate: Mapping[str, Any]) -> Iterator[str]:
    """There is one row for every detector, radius, OOD set and condition, and its metrics follow from the bounds."""
    own, *others = tests_of(certificate)
    rows = list(metrics_of(certificate["detectors"], own, others, certificate["threat"]["radii"]))
    yield from known(certificate.get("gauroc"), rows, "gauroc")


def radii_of(certificate: Mapping[str, Any]) -> tuple[float, ...]:
    """The radii at which there are bounds, 0 first."""
    return 0.0, *certificate["threat"]["radii"]
