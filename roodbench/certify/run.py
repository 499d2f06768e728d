"""Certified, attacked and clean AUROC of smoothed detectors in one table: certified <= attacked <= clean."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from platformdirs import user_cache_path

from detectors import Smoothed

from ..attacker import EvaluationError
from ..config import device_of
from ..data import SHARD
from ..environment import environment
from ..evaluate import Progress, silent
from ..files import content_hash
from ..memory import use_threads
from ..parts import label_of
from ..prepare import operations
from ..run import check_network, create, load, log, prepared
from ..store import Store
from .bounds import Bounds
from .config import CertifyConfig
from .population import Certifier, Scored, check_certifiable
from .result import CertifiedResult, described, number, role_of
from .rows import rows_of, violations_of


def certify(
    config: CertifyConfig, *, out: Path | None = None, progress: Progress = silent
) -> tuple[CertifiedResult, Path]:
    """Do what `config` says, reusing noisy scores and attacks kept under `out`. Returns the record and its folder.

    Raises EvaluationError, after everything is saved, where an attack beats a bound.
    """
    start = time.perf_counter()
    use_threads()
    run = config.run_config()
    device = device_of(run.device)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    bench, plain = load(run, device)
    images = [bench.id_test, *bench.ood.values()]
    sample = bench.id_val.shard(0, min(SHARD, len(bench.id_val))).to(device)
    radii = config.radii(sample[0].numel())
    for name in run.detector:
        check_certifiable(cast(Smoothed, create(name, plain, bench, run)))
    for line in config.check_reach(radii, sum(len(s) for s in images)):
        log.warning("%s", line)
    check_network(create(run.detector[0], plain, bench, run), bench, device)
    work = operations(plain, sample) * config.samples * sum(len(s) for s in images)
    net = prepared(plain, sample, run, work * (1 + len(radii) * len(run.detector) * (run.attack != "none")))
    store = Store(out or user_cache_path("roodbench") / "runs")
    rows, violations, details = [], [], []
    seconds = {"load": time.perf_counter() - start}
    for name in run.detector:
        begin = time.perf_counter()
        detector = cast(Smoothed, create(name, net, bench, run))
        detector.to(device).fit(bench.id_train, bench.id_val)
        certifier = Certifier(detector, bench, config, radii, device=device, store=store, progress=progress)
        found = certifier.clean()
        if run.attack != "none":
            certifier.attack(found)
        own_rows = rows_of(certifier, found)
        rows += own_rows
        violations += violations_of(certifier, found, own_rows)
        details.append(detail_of(certifier, found))
        seconds[label_of(detector)] = time.perf_counter() - begin
    result = CertifiedResult(
        config=config,
        environment=environment(device),
        network={"name": plain.name, "sha256": plain.fingerprint()},
        data=bench.description(),
        rows=rows,
        certificates=details,
        violations=violations,
        timing={"seconds": time.perf_counter() - start, "parts": seconds},
    )
    key = content_hash([asdict(config), result.network, result.data, result.environment["code"]])
    folder = store.folder / f"certify-{run.benchmark}-{'-'.join(run.detector)}-{key[:12]}"
    result.save(folder)
    if violations:
        more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
        raise EvaluationError(f"the sandwich fails: {violations[0]}{more}; kept in {folder}")
    return result, folder


def detail_of(certifier: Certifier, found: Mapping[str, Scored]) -> dict[str, Any]:
    """What an assessor needs of one detector: constants and, per image, its clean score and its bounds per radius."""
    detector = certifier.detector
    populations = {
        name: {
            **role_of(scored.images, certifier.bench),
            "score": scored.clean.tolist(),
            "bounds": {f"{d:.9g}": sides(certifier.bounds(scored, d)) for d in (0.0, *certifier.radii.values())},
        }
        for name, scored in found.items()
    }
    return {
        **described(detector, certifier.alpha),
        "fitted": detector.fitted(),
        "passes_attack": certifier.passes,
        "populations": populations,
    }


def sides(bounds: Bounds) -> dict[str, list[float | None]]:
    return {side: [number(v) for v in getattr(bounds, side)] for side in ("lower", "upper")}
