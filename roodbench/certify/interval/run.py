"""Certified, attacked and clean AUROC of scores of small networks, by interval bounds, in one table."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from detectors import Score

from ... import metrics
from ...engine.errors import EvaluationError, saving
from ...engine.progress import Progress, progress_of
from ...engine.worker import Worker
from ...evaluation.evaluator import Evaluator
from ...machine.bound import bounded
from ...machine.device import opened, summing_products
from ...record.environment import Environment, environment
from ...record.text import as_fraction, at_least, at_most, framed, rows_csv
from ...setup.setting import Setting, plan_of
from ...store import manifest
from ...store.cells import Store
from ...store.files import save_text
from ...store.folder import run_folder
from ...store.identity import PACKAGES, code_version, identity
from ...store.journal import Journal
from ...words import counted
from ..certificate import NAME
from ..evidence import CONDITIONS
from ..table import percent
from .claimed import metrics_of
from .config import IntervalConfig
from .evidence import METHOD, Found, detail, header
from .row import IntervalRow

PRODUCTS = {"convolutions": "sums of products"}
"""What scores are computed by, which others are kept of too."""


@dataclass(frozen=True, repr=False)
class IntervalResult:
    """Everything of one certification by interval bounds."""

    config: IntervalConfig
    environment: Environment
    rows: list[IntervalRow]
    certificate: dict[str, Any]
    timing: dict[str, Any]

    def to_json(self) -> str:
        """The record without the bounds of every image, which are in the certificate."""
        parts = {"config": asdict(self.config), "environment": asdict(self.environment), "timing": self.timing}
        parts |= {name: self.certificate[name] for name in ("network", "data")}
        record = {"schema_version": 1, "method": METHOD, **parts, "rows": [asdict(row) for row in self.rows]}
        return json.dumps(record, indent=1, allow_nan=False)

    def to_csv(self) -> str:
        """One line per row; lists and settings as JSON."""
        return rows_csv(self.rows)

    def to_table(self) -> str:
        """AUROC in percent: certified, attacked and clean, per radius and OOD set."""
        return interval_table(self.rows)

    def save(self, folder: Path) -> None:
        """Write result.json, result.csv, table.txt and certificate.json."""
        save_text(self.to_json() + "\n", folder / "result.json")
        save_text(self.to_csv(), folder / "result.csv")
        save_text(self.to_table() + "\n", folder / "table.txt")
        save_text(json.dumps(self.certificate, allow_nan=False) + "\n", folder / NAME)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self.config.run.detector)}; {counted(len(self.rows), 'row')})"

    def __str__(self) -> str:
        return self.to_table()


def certify_intervals(
    config: IntervalConfig, *, out: Path | str | None = None, progress: Progress | bool = False, fresh: bool = False
) -> tuple[IntervalResult, Path]:
    """Do what `config` says, reusing attacks kept under `out`, or not if `fresh`. Returns the record and its folder.

    ValueError for a network with a layer of which no bounds are known; EvaluationError where a score, or an attack,
    lies outside of its bounds.
    """
    start, progress, run, store = time.perf_counter(), progress_of(progress), config.run, Store(out)
    store.begin(fresh=fresh)
    with opened(run.device) as device, bounded(run.memory, device), summing_products():
        setting = Setting(run, device, fresh=fresh)
        setting.compile(0.0)
        head = header(config, setting)
        content = [head, run.device, code_version(*PACKAGES)]
        folder = run_folder(store.folder, ["certify", run.benchmark, *run.detector], content)
        said = {"config": asdict(config), "network": head["network"], "data": head["data"], "fresh": fresh}
        manifest.announce(folder, "certify", {**said, "since": store.since}, environment(device), joins=False)
        with Journal(folder, batch=None) as store.journal:
            found, details, rows, lines = Found(config, setting, progress), [], [], []
            for name in run.detector:
                detector = cast(Score, setting.fitted(name)[0])
                own: dict[str, Any] = {"device": device, "store": store, "progress": progress}
                worker = Worker(detector, seed=run.seed, key={**identity(detector), **PRODUCTS}, **own)
                scores = states_of(config, Evaluator(worker, setting.bench), found)
                details.append(detail(detector, found, {n: scores[n, 0.0] for n in found.sets}))
                certified = list(metrics_of(details[-1:], *found.compared))
                rows += [row_of(config, setting, detector, scores, line) for line in certified]
                lines += certified
    made = environment(device)
    certificate = {**head, "environment": asdict(made), "detectors": details, "gauroc": lines}
    timing = {"seconds": time.perf_counter() - start, "reused": store.notice()}
    result = IntervalResult(config, made, rows, json.loads(json.dumps(certificate)), timing)
    with saving(result, folder):
        result.save(folder)
    return result, folder


def states_of(config: IntervalConfig, evaluator: Evaluator, found: Found) -> dict[tuple[str, float], np.ndarray]:
    """Scores (n,) of every population, clean (radius 0) and attacked; EvaluationError for one outside of its bounds."""
    run, bench = config.run, found.bench
    scores = {(name, 0.0): numbers(evaluator.clean(images)) for name, images in found.sets.items()}
    if run.attack != "none":
        references = evaluator.references()
        for radius in config.radius:
            spend = {"strength": run.strength, "steps": run.steps, "restarts": run.restarts}
            plan = evaluator.within(plan_of(bench, eps=radius, norm="linf", **spend), run.budget)  # type: ignore[arg-type]
            for name, images in found.sets.items():
                direction = "min" if images is bench.id_test else "max"
                scores[name, radius] = numbers(evaluator.attacked(images, direction, plan, references[direction]))  # type: ignore[arg-type, index]
    detector = cast(Score, evaluator.detector)
    for (name, radius), values in scores.items():
        line = found.escape(detector, name, radius, values)
        if line is not None:
            raise EvaluationError(line)
    return scores


def numbers(population: Any) -> np.ndarray:
    """The scores (n,) of a population under a detector without noise."""
    return population.scores[0].double().numpy()


def row_of(
    config: IntervalConfig,
    setting: Setting,
    detector: Score,
    scores: dict[tuple[str, float], np.ndarray],
    found: dict[str, Any],
) -> IntervalRow:
    """Clean, attacked and certified AUROC of ID against one OOD set."""
    own, other, radius = setting.bench.id_test, setting.bench.ood[found["ood"]], found["radius_linf"]
    groups = own.related, other.related
    near, far = CONDITIONS[found["condition"]]
    clean = metrics.components(scores[own.name, 0.0], scores[other.name, 0.0], groups)
    attacked = None
    if config.run.attack != "none":
        moved = scores[own.name, radius if near else 0.0], scores[other.name, radius if far else 0.0]
        attacked = metrics.components(*moved, groups)
    return IntervalRow(
        detector=detector.name,
        params=detector.hyperparameters(),
        benchmark=setting.bench.name,
        model=setting.plain.name,
        ood=other.name,
        group=setting.bench.groups[other.name],
        condition=found["condition"],
        norm="linf",
        radius=radius,
        method=METHOD,
        n_id=len(own),
        n_ood=len(other),
        auroc_clean=clean.value,
        auroc_clean_ci=clean.interval().ci,
        auroc_attacked=None if attacked is None else attacked.value,
        auroc_attacked_ci=None if attacked is None else attacked.interval().ci,
        gauroc=found["gauroc"],
        gfpr95=found["gfpr95"],
    )


def interval_table(rows: list[IntervalRow]) -> str:
    """One line per score, radius and OOD set."""
    first, lines = rows[0], []
    find = {(r.detector, r.ood, r.radius, r.condition): r for r in rows}
    for (name, ood, radius, condition), row in find.items():
        if condition == "both":
            states = [find[name, ood, radius, c] for c in CONDITIONS]
            cells = [f"{at_least(r.gauroc)} <= {percent(r.auroc_attacked)}" for r in states]
            what = [name, as_fraction(radius), f"{ood} ({row.group})", percent(row.auroc_clean)]
            lines.append([*what, *cells, at_most(row.gfpr95)])
    both = [f"{condition}: certified <= attacked" for condition in CONDITIONS]
    columns = ["score", "radius (linf)", "OOD set", "clean", *both, "certified FPR95 both"]
    attacked = "nothing attacked" if first.auroc_attacked is None else "attacked: by the suite"
    before = [
        f"{first.benchmark}, {first.model}, {first.n_id} ID images; {METHOD}",
        f"AUROC % of these images: clean; certified: no linf adversary within the radius gets below; {attacked}. "
        "min: ID is moved, max: OOD, both: both. Certified AUROCs are rounded down, FPR95 up.",
    ]
    return framed(columns, lines, before=before, after=mute(rows), left=(0, 2))


def mute(rows: list[IntervalRow]) -> list[str]:
    """A line where bounds say nothing: that this is no finding, and what to do instead."""
    none = [row for row in rows if row.condition == "both" and row.gauroc == 0]
    if not none:
        return []
    where = ", ".join(dict.fromkeys(f"{row.detector} at {as_fraction(row.radius)}" for row in none))
    return [
        f"0.0 says nothing of the detector ({where}): its interval bounds are too wide. A smaller radius may help; of "
        "networks deeper than a few layers nothing does: median, ross and ross-q are certified by noise (--denoiser)."
    ]
