"""Certified, attacked and clean AUROC of smoothed detectors in one table: certified <= attacked <= clean."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from detectors import Smoothed

from ..engine.errors import EvaluationError, saving
from ..engine.progress import Progress, progress_of
from ..machine.device import opened
from ..machine.prepare import operations
from ..record.environment import environment
from ..setup.setting import Setting
from ..store.cells import Store
from ..store.folder import run_folder
from ..store.identity import content_hash
from .certificate import described, role_of, sides
from .certifier import Certifier
from .config import CertifyConfig
from .population import Scored, check_certifiable
from .result import CertifiedResult
from .rows import rows_of, violations_of

log = logging.getLogger("roodbench")


def certify(
    config: CertifyConfig, *, out: Path | str | None = None, progress: Progress | bool = False, fresh: bool = False
) -> tuple[CertifiedResult, Path]:
    """Do what `config` says, reusing noisy scores and attacks kept under `out`, or not if `fresh`.

    Returns the record and its folder. Raises EvaluationError, after everything is saved, where an attack beats a bound.
    """
    start, run, store = time.perf_counter(), config.run_config(), Store(out)
    progress = progress_of(progress)
    with opened(run.device) as device:
        setting = Setting(run, device, fresh=fresh)
        bench, radii = setting.bench, config.radii(setting.sample[0].numel())
        images = sum(len(s) for s in (bench.id_test, *bench.ood.values()))
        for name in run.detector:
            check_certifiable(cast(Smoothed, setting.detector(name)))
        for line in config.check_reach(radii, images):
            log.warning("%s", line)
        attacks = len(radii) * len(run.detector) * (run.attack != "none")
        setting.compile(operations(setting.plain, setting.sample) * config.samples * images * (1 + attacks))
        store.begin(fresh=fresh)
        rows, violations, details = [], [], []
        seconds = {"load": time.perf_counter() - start}
        for name in run.detector:
            begin = time.perf_counter()
            detector = cast(Smoothed, setting.fitted(name)[0])
            certifier = Certifier(detector, bench, config, radii, device=device, store=store, progress=progress)
            found = certifier.clean()
            if run.attack != "none":
                certifier.attack(found)
            own_rows = rows_of(certifier, found)
            rows += own_rows
            violations += violations_of(certifier, found, own_rows)
            details.append(detail_of(certifier, found))
            seconds[detector.label] = time.perf_counter() - begin
        result = CertifiedResult(
            config=config,
            environment=environment(device),
            network=setting.network,
            data=bench.description(),
            rows=rows,
            certificates=details,
            certificates_sha256=content_hash(details),
            violations=violations,
            timing={"seconds": time.perf_counter() - start, "parts": seconds, "reused": store.notice()},
        )
    content = [asdict(config), result.network, result.data, result.environment.code]
    folder = run_folder(store.folder, ["certify", run.benchmark, *run.detector], content)
    with saving(result, folder):
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
