"""One certification, computed by one process or by several that share its folder."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch

from detectors import Smoothed

from ..engine.crew import crew_of
from ..engine.progress import Progress
from ..machine.bound import bounded
from ..machine.device import opened
from ..machine.prepare import operations
from ..record.environment import environment
from ..setup.setting import Setting
from ..store import manifest
from ..store.cells import Store
from ..store.folder import run_folder
from ..store.identity import PACKAGES, code_version
from ..store.journal import Journal
from ..store.runs import Run
from .certificate import code_of, noise_seed
from .certifier import Certifier
from .config import CertifyConfig
from .operating import validation_of
from .population import Scored, check_certifiable

log = logging.getLogger("roodbench")


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
