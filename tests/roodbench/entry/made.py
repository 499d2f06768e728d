"""Entries for tests: made-up records that say nothing false, and a real one of a small run."""

from dataclasses import replace
from functools import cache

import numpy as np
import torch

import roodbench
from roodbench.entry.file import Entry
from roodbench.evaluation.checks import CHECKS
from roodbench.metrics import auroc
from roodbench.record.record import score_key
from roodbench.record.rows import CONDITIONS
from roodbench.store.cells import checksum
from tests.roodbench.report import synthetic

CONFIG = {
    **{"attack": "both", "method": "suite", "objective": None, "strength": "quick", "budget": None, "steps": None},
    **{"restarts": None, "norm": "linf", "space": "pixel", "protocol": "roodbench", "seed": 0, "quantize": False},
    **{"threat": "fresh", "benchmark": "made-up", "base": "gen", "ood": None, "model": "no network"},
    "network_sha256": "0" * 64,
}


MADE = {}


def record(**settings):
    """`anew`, once for the same settings."""
    if repr(settings) not in MADE:
        MADE[repr(settings)] = anew(**settings)
    return MADE[repr(settings)]


def anew(labels=("one", "two"), sets=("noise", "photos"), radii=(8 / 255,), n=40, shift=None, **config):
    """A record of a run that agrees with itself; `shift` is by how much a detector's OOD scores lie higher."""
    found = synthetic.record(list(labels), list(sets), list(radii), n=n)
    attacks = [
        replace(
            a, winner=(w := [1 + k % 5 for k in range(n)]), wins={c: w.count(i) for i, c in enumerate(a.components)}
        )
        for a in found.attacks
    ]
    scores = dict(found.scores)
    for key in scores:
        label, ood = key.split("/")[0], any(f"/{name}/" in key for name in sets)
        if key.endswith("/winner"):
            scores[key] = torch.tensor([1 + k % 5 for k in range(n)])
        elif shift and ood:
            scores[key] = scores[key] + shift.get(label, 0.0)
    return said(
        replace(
            found,
            config={**CONFIG, "detector": list(labels), "eps": list(radii), **config},
            attacks=attacks,
            indicators=[good(i) for i in found.indicators],
            scores=scores,
        )
    )


def good(indicator):
    """The check, passed."""
    check = CHECKS[indicator.name]
    return replace(indicator, number=check.threshold, passed=True, message="", detail={})


def said(record):
    """A record whose rows and averages say what its scores give."""
    rows = []
    for row in record.rows:
        pair = [
            record.scores[score_key(row.detector, name, state, row.eps)].numpy()
            for name, state in zip(("id", row.ood), CONDITIONS[row.condition], strict=True)
        ]
        area = auroc(*pair)
        rows.append(replace(row, auroc=area, auroc_ci=[max(0, area - 0.1), min(1, area + 0.1)], reliable=True))
    averages = [
        replace(mean, auroc=float(np.mean([r.auroc for r in rows if same(r, mean)])), reliable=True)
        for mean in record.averages
    ]
    return replace(record, rows=rows, averages=averages, scores_sha256=checksum(record.scores))


def same(row, mean):
    return (row.detector, row.condition, row.eps) == (mean.detector, mean.condition, mean.eps)


def entry(name="a", **settings):
    return Entry(name, record(**settings))


@cache
def config():
    """The settings of a run of a second."""
    return roodbench.RunConfig("gen,median", params={"copies": 3}, limit=8, ood="noise", steps=1, restarts=1)
