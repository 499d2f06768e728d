"""Certified, attacked and clean AUROC of smoothed detectors in one table: certified <= attacked <= clean."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch

from detectors import Smoothed

from ..engine.crew import crew_of, sharers
from ..engine.errors import EvaluationError, saving
from ..engine.progress import Progress, progress_of
from ..machine.bound import bounded
from ..machine.device import opened
from ..machine.prepare import operations
from ..metrics.deployed import at_knots
from ..record.environment import environment
from ..setup.setting import Setting
from ..store import manifest
from ..store.cells import Store
from ..store.folder import run_folder
from ..store.identity import PACKAGES, code_version, content_hash
from ..store.journal import Journal
from ..store.runs import Run
from .certificate import code_of, described, noise_seed, role_of, shown, sides
from .certifier import Certifier
from .config import CertifyConfig
from .evidence import KINDS
from .operating import validation_of
from .population import Scored, check_certifiable
from .result import CertifiedResult
from .rows import rows_of, violations_of

log = logging.getLogger("roodbench")


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
    on memory. ValueError where `config` names another certification than the folder that it `joins`."""
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


@dataclass
class Job:
    """What a configuration names, loaded on an open device, and its folder."""

    config: CertifyConfig
    setting: Setting
    store: Store
    folder: Path
    radii: dict[float, float]
    work: float
    """Floating point operations."""
    network: dict[str, Any]
    """Its name and hash, and that of the network as it runs."""
    data: dict[str, Any]
    code: str
    """A hash of what decides the numbers."""

    @property
    def seed(self) -> int:
        """Of the noise under the bounds."""
        return noise_seed(self.network, self.data, self.code)

    def certified(
        self, progress: Progress, *, turn: float = 0.0, **hands: Any
    ) -> Iterator[tuple[Certifier, dict[str, Scored], float]]:
        """Every detector's certifier, its populations, and the seconds that it took; `hands` say who helps (`crew_of`).

        `turn` in [0, 1) is where a process begins that shares the work with others.
        """
        device = self.setting.device
        with crew_of(self.folder, self.work, device, **hands) as crew:
            shared: dict[str, Any] = {"device": device, "store": self.store, "progress": progress}
            own = {**shared, "turn": turn, "call": crew.call, "seed": self.seed, "plain": self.setting.plain}
            for name in self.config.run.detector:
                begin = time.perf_counter()
                detector = cast(Smoothed, self.setting.fitted(name)[0])
                certifier = Certifier(detector, self.setting.bench, self.config, self.radii, **own)
                found = certifier.clean()
                if self.config.run.attack != "none":
                    certifier.attack(found)
                yield certifier, found, time.perf_counter() - begin


@contextmanager
def begun(
    config: CertifyConfig,
    store: Store,
    *,
    fresh: bool = False,
    since: float | None = None,
    joins: bool | Path = False,
    among: int = 1,
) -> Iterator[Job]:
    """A configuration, loaded; what it finds will lie in the folder of its job, which says so from now on.

    `fresh` leaves alone what was kept before now, or before `since`: when one began which this process `joins`, in
    the folder of that name where one is given (`announce`). `among` so many processes the memory of the configuration
    is shared.
    """
    run = config.run_config()
    store.begin(fresh=fresh, since=since)
    with opened(run.device) as device, bounded(run.memory, device, among=among):
        setting = Setting(run, device, fresh=fresh and since is None)
        bench, radii = setting.bench, config.radii(setting.sample[0].numel())
        images = sum(len(s) for s in (bench.id_test, *bench.ood.values()))
        for name in run.detector:
            check_certifiable(cast(Smoothed, setting.detector(name)))
        for line in config.check_reach(radii, images):
            log.warning("%s", line)
        validation = validation_of(bench, config)
        noisy = images + (0 if validation is None else len(validation))
        attacks = len(radii) * len(run.detector) * (run.attack != "none")
        work = operations(setting.plain, setting.sample) * config.samples * (noisy + images * attacks)
        setting.compile(work)
        wanted = asdict(replace(config, run=replace(config.run, device=device.type)))
        network = {**setting.network, "prepared": setting.net.fingerprint()}
        data, code = bench.description(), code_of(setting, run.detector)
        content = [wanted, network, data, code_version(*PACKAGES), torch.__version__]
        folder = run_folder(store.folder, ["certify", run.benchmark, *run.detector], content)
        said = {"config": asdict(config), "network": network, "data": data, "fresh": fresh, "since": store.since}
        manifest.announce(folder, "certify", said, environment(device), joins=joins)
        batch = setting.start_with(Run(folder).batch(store.since if fresh else 0.0))
        with Journal(folder, batch=batch) as store.journal:
            yield Job(config, setting, store, folder, radii, work, network, data, code)
