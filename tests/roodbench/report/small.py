"""A small record of several detectors, attacked in one step at two radii, which several tests of the report look at."""

from dataclasses import replace
from functools import cache

import detectors
import roodbench
from roodbench.store.cells import checksum
from tests.roodbench.helpers import small

SETS = ("unseen-digits", "noise")
PARAMS = {"median": {"sigma": 0.05, "copies": 3}}


@cache
def given(limit):
    """Images and network."""
    return small(limit, SETS), roodbench.load_model("digits-cnn")


@cache
def evaluated(name, eps=16 / 255, limit=10, **params):
    """One detector's record."""
    bench, net = given(limit)
    made = detectors.create(name, net, **{**PARAMS.get(name, {}), **params})
    return roodbench.evaluate(made, bench, eps=eps, method="pgd", steps=1, restarts=1, check=False)


def merged(*records):
    """One record of all their detectors and radii, as `run` makes it."""
    parts = {
        name: list({repr(entry): entry for record in records for entry in getattr(record, name)}.values())
        for name in ("rows", "averages", "attacks", "detectors", "indicators")
    }
    scores = {key: value for record in records for key, value in record.scores.items()}
    return replace(records[0], **parts, scores=scores, scores_sha256=checksum(scores))


@cache
def several():
    """msp, gen and median(gen) at 16/255 and 96/255."""
    return merged(*(evaluated(name, eps) for name in ("msp", "gen", "median") for eps in (16 / 255, 96 / 255)))
