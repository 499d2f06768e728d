"""Records that no run made: as many detectors, sets and radii as a page must hold, and names that are HTML."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from roodbench import Result
from roodbench.evaluation.checks import CHECKS
from roodbench.evaluation.indicators import Indicator
from roodbench.metrics import auroc
from roodbench.record.build import environment
from roodbench.record.record import clean_key, score_key
from roodbench.record.row import AttackedPopulation, FittedDetector, Row, Timing
from roodbench.record.rows import CONDITIONS
from roodbench.store.cells import checksum

COMPONENTS = ["clean", "pgd:exact", "pgd:mean", "pgd:base", "apgd:exact", "square"]
SCRIPT, IMAGE = "<script>document.title='run'</script>", '"><img src=x onerror=alert(1)>'
MESSAGE = "a <b>failed</b> check & 'its' \"quotes\" {{ 7 * 7 }}"


def scores_of(seed: int, shift: float, n: int) -> torch.Tensor:
    return torch.randn(1, n, generator=torch.Generator().manual_seed(seed)).double() + shift


def row_of(label: str, ood: str, condition: str, eps: float | None, scores, n: int, reliable: bool | None) -> Row:
    pair = [
        scores[score_key(label, name, state, eps)]
        for name, state in zip(("id", ood), CONDITIONS[condition], strict=True)
    ]
    area = auroc(*(values.numpy() for values in pair))
    clean = condition == "clean"
    return Row(
        detector=label,
        base=None,
        params={},
        benchmark="made-up",
        model="no network",
        id_accuracy=0.9,
        ood=ood,
        group="far",
        condition=condition,
        attack=None if clean else "suite",
        norm=None if clean else "linf",
        eps=None if clean else eps,
        eps_pixel=None if clean else eps,
        space="pixel",
        n_id=n,
        n_ood=n,
        auroc=area,
        auroc_ci=[max(area - 0.05, 0.0), min(area + 0.05, 1.0)],
        auroc_drop=None,
        auroc_drop_ci=None,
        fpr95_id=0.25,
        fpr95_id_ci=None,
        fpr95_id_refit=0.25,
        fpr95_id_refit_ci=None,
        fpr95_ood=0.25,
        fpr95_ood_ci=None,
        aupr_in=area,
        aupr_out=area,
        passes={"id": [80.0, 60.0], "ood": [80.0, 60.0]},
        reliable=True if clean else reliable,
        warnings=[],
        adaptive_gap=None if clean else 0.0625,
        adaptive_gap_ci=None if clean else [0.03, 0.09],
    )


def mean_of(rows: list[Row]) -> Row:
    means = {name: float(np.mean([getattr(row, name) for row in rows])) for name in ("auroc", "fpr95_id")}
    ends = np.mean([row.auroc_ci for row in rows], axis=0).tolist()
    return replace(rows[0], ood="average", group="all", n_ood=sum(row.n_ood for row in rows), auroc_ci=ends, **means)


def record(labels: list[str], sets: list[str], radii: list[float], n: int = 100, message: str = MESSAGE) -> Result:
    """A run with random scores: the first detector's convergence is undecided, the last one's black-box check fails."""
    scores: dict[str, torch.Tensor] = {}
    rows, averages, indicators, attacks = [], [], [], []
    for place, label in enumerate(labels):
        for k, name in enumerate(["id", *sets]):
            scores[score_key(label, name, "clean", None)] = scores_of(place + 31 * k, 0.0 if k else 2.0, n)
        for eps in [None, *radii]:
            for k, name in enumerate(["id", *sets] if eps else []):
                state, sign = ("max", 1) if k else ("min", -1)
                moved = scores[score_key(label, name, "clean", None)] + sign * 20 * eps * (1 + place / len(labels))
                scores[score_key(label, name, state, eps)] = moved
                winner = torch.arange(n) % len(COMPONENTS)
                scores[f"{score_key(label, name, state, eps)}/winner"] = winner
                wins = {c: int((winner == i).sum()) for i, c in enumerate(COMPONENTS)}
                entry = (label, eps, name, state, COMPONENTS, wins, winner.tolist(), [80.0, 60.0])
                attacks.append(AttackedPopulation(*entry))
            for condition in ("clean",) if eps is None else ("min", "max", "both"):
                reliable = None if place == 1 else place != len(labels) - 1
                its = [row_of(label, name, condition, eps, scores, n, reliable) for name in sets]
                rows += its
                averages.append(mean_of(its))
            for name, check in CHECKS.items() if eps else ():
                failed = check.about == "attack" and name == "black-box" and place == len(labels) - 1
                open_ = name == "convergence" and place == 0
                detail = {"images": 100, "needed": 900} if open_ else {}
                passed = None if open_ else not failed
                where = eps if check.about == "attack" else None
                verdict = (label, where, name, 0.125, check.threshold, passed, message if failed else "")
                found = Indicator(*verdict, check.least, detail, check.about)
                indicators += [] if found in indicators[-len(CHECKS) :] else [found]
    return Result(
        config={"detector": labels, "threat": "fresh", "plan": {}, "note": message},
        environment=environment(torch.device("cpu")),
        data={
            key: {"images": n, "sha256": "0" * 64} for key in ("ID test: id", *(f"OOD test: {name}" for name in sets))
        },
        rows=rows,
        averages=averages,
        shifted_id=[],
        indicators=indicators,
        attacks=attacks,
        detectors=[FittedDetector(label, {"tau": -1.5}) for label in labels],
        timing=Timing(12.0),
        scores=scores,
    )


def pictured(found: Result, count: int = 3, side: int = 8) -> Result:
    """A record with random images, moved by its radii."""
    generator, images = torch.Generator().manual_seed(0), dict[str, torch.Tensor]()
    for a in found.attacks:
        clean = images.setdefault(clean_key(a.population), torch.rand(count, 3, side, side, generator=generator))
        moved = clean + a.eps * (2 * torch.rand(clean.shape, generator=generator) - 1)
        images[score_key(a.detector, a.population, a.condition, a.eps)] = moved.clamp(0, 1)
    return replace(found, images=images, images_sha256=checksum(images))


def hostile() -> Result:
    """A record whose detectors, sets and messages are HTML."""
    return record([SCRIPT, "plain", "a" * 60], [IMAGE, "<i>noise</i>"], [4 / 255, 8 / 255], n=40)
