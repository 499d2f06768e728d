"""Entries for tests: made-up records that say nothing false, and a real one of a small run."""

from dataclasses import replace
from functools import cache

import torch

import roodbench
from roodbench.entry.file import Entry
from roodbench.evaluation.checks import CHECKS
from roodbench.evaluation.indicators import verdict_of
from roodbench.evaluation.plausibility import tied, worst
from roodbench.evaluation.populations import above_chance
from roodbench.metrics import average
from roodbench.record.pairs import sizes_of
from roodbench.record.recomputed import Again, passes_in, passes_of, together
from roodbench.record.record import score_key
from roodbench.record.row import label_of
from roodbench.record.rows import average as mean_of
from roodbench.record.rows import numbers, warnings
from roodbench.record.verdicts import called, said_of, strongest
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
            scores=scores,
        )
    )


def good(indicator, record):
    """The check, passed, with a number that its scores and images may give."""
    name, sizes, number, detail = indicator.name, sizes_of(record), CHECKS[indicator.name].threshold, {}
    if name in ("dark", "shifted-labels"):
        number, detail = 0.5, {"sets": dict.fromkeys(sizes, 0.5)}
    elif name == "id-accuracy":
        detail = {"accuracy": 0.9, "chance": 0.5, "where": "no network"}
        number = above_chance(0.9, 0.5, sizes["id"])
    elif name == "eot":
        detail = {"exact": {"cosine": number}}
    return replace(indicator, number=number, passed=True, message="", detail=detail)


def of_scores(indicator, record):
    """The check, with the number and the verdict that the scores give."""
    (own, *oods), label = list(sizes_of(record)), indicator.detector
    clean = {name: record.scores[score_key(label, name, "clean", None)] for name in (own, *oods)} if label else {}
    if indicator.name == "constant":
        sets = {name: tied(clean[own][0], clean[name][0]) for name in oods}
        number, where = worst("constant", sets)[0], worst("constant", sets)[1]["where"]
        detail = {"sets": sets, "where": where}
    elif indicator.name in ("few-images", "duplicates"):
        images = {key.partition(": ")[2]: its for key, its in record.data.items() if "test" in key}
        left = {name: its["images"] - len(its.get("copies", ())) for name, its in images.items()}
        few = indicator.name == "few-images"
        sets = {name: float(n) if few else 1 - n / images[name]["images"] for name, n in left.items()}
        number, its = worst(indicator.name, sets)
        images = images[its["where"]]
        detail = {**its, "images": images["images"], "copies": len(images.get("copies", ()))}
    elif indicator.name == "reversed":
        area = strongest(record, label, None, "clean")
        number, detail = area.interval().ci[1], {"auroc": area.value}
    else:
        return indicator
    passed, message = verdict_of(label, indicator.name, number, detail)
    return replace(indicator, number=number, detail=detail, passed=passed, message=message)


def said(record):
    """A record whose rows, averages and checks say what its scores give, and of everything else that all is well."""
    known = replace(record, scores_sha256=checksum(record.scores))
    return recomputed(replace(known, indicators=[good(i, known) for i in record.indicators]))


def recomputed(record):
    """The record with all that follows from its scores and checks: what a cheater would do who edits either."""
    record = replace(record, scores_sha256=checksum(record.scores))
    record = replace(record, indicators=[of_scores(i, record) for i in record.indicators])
    again, clean, rows, averages = Again(record), {}, [], []
    own_set = next(iter(sizes_of(record)))
    for row in record.rows:
        found = again.measured(row)
        if row.condition == "clean":
            clean[label_of(row), row.ood] = found.area
        start = None if row.condition == "clean" else clean[label_of(row), row.ood]
        own = marked(record, row, [row.ood], warnings(row.ood, found.area))
        rows.append(filled(row, found, start, **passes_of(passes_in(record), row, own_set), **own))
    for mean in {(label_of(m), m.condition, m.eps): m for m in record.averages}.values():
        for group in ("near", "far", "all"):
            its = [row for row in rows if same(row, mean) and group in ("all", row.group)]
            if its:
                start = None if mean.condition == "clean" else average([clean[label_of(r), r.ood] for r in its])
                own = marked(record, mean, [row.ood for row in its])
                own["passes"] = together(its, [row.passes for row in its])
                found = mean_of([again.measured(row) for row in its])
                averages.append(filled(replace(mean, group=group), found, start, **own))
    return replace(record, rows=rows, averages=averages)


def marked(record, row, sets, notes=()):
    """What a row is called, and its warnings."""
    return {"reliable": called(record, row, sets), **said_of(record, row, sets, notes)}


def filled(row, found, start, **more):
    """The row with these numbers, and an attack on the base score that leaves more where it had one."""
    area, gap = found.area.value, {}
    if row.adaptive_gap is not None:
        above = min(1.0, area + 0.0625)
        gap = {"auroc_equal": above, "adaptive_gap": above - area, "adaptive_gap_ci": [-0.5, 0.5]}
    return replace(row, **numbers(found, start), **more, **gap)


def same(row, mean):
    return (label_of(row), row.condition, row.eps) == (label_of(mean), mean.condition, mean.eps)


def entry(name="a", **settings):
    return Entry(name, record(**settings))


@cache
def config():
    """The settings of a run of a second."""
    return roodbench.RunConfig("gen,median", params={"copies": 3}, limit=8, ood="noise", steps=1, restarts=1)
