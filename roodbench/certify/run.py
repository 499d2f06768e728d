"""Certified, attacked and clean AUROC of smoothed detectors in one table: certified <= attacked <= clean."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..engine.crew import sharers
from ..engine.errors import EvaluationError, saving
from ..engine.progress import Progress, progress_of
from ..metrics.deployed import at_knots
from ..record.environment import environment
from ..store.cells import Store
from ..store.identity import content_hash
from .certificate import described, role_of, shown, sides
from .certifier import Certifier
from .config import CertifyConfig
from .evidence import KINDS
from .job import begun
from .population import Scored
from .result import CertifiedResult
from .rows import rows_of, violations_of


def certify(
    config: CertifyConfig,
    *,
    out: Path | str | None = None,
    progress: Progress | bool = False,
    fresh: bool = False,
    workers: int | None = None,
    engine: str = "local",
    address: str | None = None,
) -> tuple[CertifiedResult, Path]:
    """Do what `config` says, reusing noisy scores and attacks kept under `out`, or not if `fresh`; `workers` processes
    share the work, as in `roodbench.run`.

    Returns the record and its folder. Raises EvaluationError, after everything is saved, where an attack beats a bound.
    """
    start, progress = time.perf_counter(), progress_of(progress)
    workers = sharers(config.run.memory, workers, engine)
    with begun(config, Store(out), fresh=fresh, among=workers or 1) as job:
        rows, violations, details, operating = [], [], [], []
        seconds = {"load": time.perf_counter() - start}
        for certifier, found, took in job.certified(progress, workers=workers, engine=engine, address=address):
            certifier.check_again(found)
            evidence = {name: certifier.evidence(scored) for name, scored in found.items()}
            own_rows, point = rows_of(certifier, found, evidence), certifier.operating(evidence)
            rows += own_rows
            operating.append(point.record(list(certifier.radii.values())))
            violations += violations_of(certifier, found, own_rows)
            details.append(detail_of(certifier, found))
            seconds[certifier.detector.label] = took
        result = CertifiedResult(
            config=config,
            environment=environment(job.setting.device),
            network=job.network,
            data=job.data,
            code=job.code,
            rows=rows,
            operating=operating,
            certificates=details,
            certificates_sha256=content_hash(details),
            violations=violations,
            timing={"seconds": time.perf_counter() - start, "parts": seconds, "reused": job.store.notice()},
        )
    with saving(result, job.folder):
        result.save(job.folder)
    if violations:
        more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
        raise EvaluationError(f"the sandwich fails: {violations[0]}{more}; kept in {job.folder}")
    return result, job.folder


def share(
    config: CertifyConfig,
    *,
    turn: float,
    out: Path | str | None = None,
    progress: Progress | bool = False,
    since: float | None = None,
    joins: bool | Path = True,
    among: int = 1,
) -> Path:
    """Compute for a certification what no other process does, until all of it is kept; returns its folder, without a
    record. `since` is when one began that leaves alone what was kept before, `among` how many processes share its bound
    on memory. ValueError where `config` names another one than that in the folder that it `joins`."""
    with begun(config, Store(out), fresh=since is not None, since=since, joins=joins, among=among) as job:
        for _ in job.certified(progress_of(progress), turn=turn, workers=1):
            pass
        return job.folder


def validation_in(certifier: Certifier) -> dict[str, Any] | None:
    """Score and some noisy scores of the ID validation images that fix the threshold; None where it was given."""
    scored = certifier.validation
    if scored is None:
        return None
    role = role_of(scored.images, certifier.bench)
    return {**role, "score": scored.clean.tolist(), "sample": shown(at_knots(scored.y))}


def detail_of(certifier: Certifier, found: Mapping[str, Scored]) -> dict[str, Any]:
    """What an assessor needs of one detector: constants and, per image, its clean score, its bounds per radius and
    some of its noisy scores."""
    detector = certifier.detector
    populations = {
        name: {
            **role_of(scored.images, certifier.bench),
            "score": scored.clean.tolist(),
            **{
                kind: {f"{d:.9g}": sides(certifier.bounds(scored, d, kind)) for d in (0.0, *certifier.radii.values())}
                for kind in KINDS
            },
            "sample": shown(at_knots(scored.y)),
        }
        for name, scored in found.items()
    }
    return {
        **described(detector, certifier.alpha),
        "fitted": detector.fitted(),
        "slack": certifier.slack,
        "passes_attack": certifier.passes,
        "validation": validation_in(certifier),
        "populations": populations,
    }
