"""One configuration, computed by one process or by several that share its folder."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from detectors.care import borrowed, usual_state

from .data.near import note_copies
from .engine.crew import crew_of
from .engine.progress import Progress
from .engine.worker import Worker, in_turn
from .evaluation.attacker import within
from .evaluation.evaluator import Evaluator
from .evaluation.forecast import Part, forecast
from .evaluation.populations import Evaluated
from .evaluation.precision import precision_of, work_of
from .evaluation.sweep import sweep
from .machine.bound import bounded
from .machine.device import opened
from .machine.prepare import operations
from .record.environment import environment
from .setup.config import RunConfig
from .setup.network import check_network, note_doubts
from .setup.setting import Setting, note_radii
from .setup.threats import CORRUPTIONS
from .store import manifest
from .store.cells import Store
from .store.folder import run_folder
from .store.identity import PACKAGES, code_version, identity, make_of
from .store.journal import Journal
from .store.runs import Run
from .store.users import here

log = logging.getLogger("roodbench")


@dataclass
class Job:
    """What a configuration names, loaded on an open device, and its folder."""

    config: RunConfig
    setting: Setting
    store: Store
    folder: Path
    settings: dict[str, Any]
    """Of the record."""
    work: dict[str, float]
    """Floating point operations of every detector's evaluation."""
    check: bool
    thorough: bool
    loaded: float
    """Seconds."""
    seconds: dict[str, float] = field(default_factory=dict)

    def evaluated(self, progress: Progress, *, turn: float = 0.0, **hands: Any) -> list[Evaluated]:
        """Everything that the configuration asks for, one detector after the other; `hands` say who helps (`crew_of`).

        `turn` in [0, 1) is where a process begins that shares the work with others.
        """
        found: dict[str, list[Evaluated]] = {}
        with crew_of(self.folder, sum(self.work.values()), self.setting.device, **hands) as crew:
            for name in in_turn(self.setting.names, turn):
                found[name] = self._evaluated(name, progress=progress, turn=turn, call=crew.call)
        return [evaluated for name in self.setting.names for evaluated in found[name]]

    def _evaluated(self, name: str, **settings: Any) -> list[Evaluated]:
        begin, how = time.perf_counter(), {"check": self.check, "thorough": self.thorough}
        with self._evaluator(name, store=self.store, **settings) as (evaluator, facts):
            found = sweep(evaluator, self.config.attack, self.setting.plans, budget=self.config.budget, **how)
        self.seconds[evaluator.detector.label] = time.perf_counter() - begin
        return [replace(f, search=facts) for f in found]

    @contextmanager
    def _evaluator(self, name: str, **settings: Any) -> Iterator[tuple[Evaluator, dict[str, Any]]]:
        """A fitted detector on the benchmark, and what the record says of how its parameters were chosen."""
        config, setting = self.config, self.setting
        detector, facts = setting.fitted(name)
        with usual_state(setting.device.type), borrowed(detector):
            precision = precision_of(
                detector, setting.net, setting.bench, setting.plans[0], self.work[name], config.precision, config.seed
            )
            key = identity(detector)
            worker = Worker(detector, seed=config.seed, device=setting.device, key=key, **settings)
            yield Evaluator(worker, setting.bench, precision=precision, keep_images=config.keep_images), facts

    def forecast(self) -> list[Part]:
        """The parts of the work and how long each takes one process, from short rehearsals; nothing is kept of them."""
        parts: list[Part] = []
        for name in self.setting.names:
            begun = time.perf_counter()
            with self._evaluator(name) as (evaluator, _):
                plans = [evaluator.within(plan, self.config.budget) for plan in self.setting.plans]
                for plan in plans:
                    evaluator.sized(plan)
                self.loaded += time.perf_counter() - begun
                parts += forecast(evaluator, self.config.attack, plans, check=self.check, thorough=self.thorough)
        return parts


@contextmanager
def begun(
    config: RunConfig,
    store: Store,
    *,
    check: bool,
    thorough: bool,
    fresh: bool = False,
    since: float | None = None,
    joins: bool | Path = False,
    announces: bool = True,
    among: int = 1,
) -> Iterator[Job]:
    """A configuration, loaded; what it finds will lie in the folder of its job, which says so from now on.

    `fresh` leaves alone what was kept before now, or before `since`: when a run began which this process `joins`, in
    the folder of that name where one is given (`announce`). One that `announces` nothing only looks. `among` so many
    processes the memory of the configuration is shared.
    """
    start = time.perf_counter()
    store.begin(fresh=fresh, since=since)
    with opened(config.device) as device, bounded(config.memory, device, among=among), here():
        setting = Setting(config, device, fresh=fresh and since is None)
        work = expected_work(setting)
        setting.compile(sum(work.values()))
        settings = {**asdict(config), "params": dict(config.params), "model": setting.model}
        network, data = setting.network["sha256"], setting.bench.description()
        makes = [make_of(setting.detector(name)) for name in setting.names]
        wanted, code = {**settings, "device": device.type}, [code_version(*PACKAGES), torch.__version__]
        content = [wanted, check, thorough, network, data, makes, code]
        folder = run_folder(store.folder, [config.benchmark, *config.detector[:3]], content)
        said = {"config": asdict(config), "check": check, "thorough": thorough, "fresh": fresh, "since": store.since}
        said |= {"network_sha256": network, "data": data}
        if announces:
            manifest.announce(folder, "run", said, environment(device), joins=joins)
        settings |= {"left_out": setting.left_out} if setting.left_out else {}
        settings |= {"network_sha256": network, "checkpoint_sha256": dict(setting.plain.files)}
        loaded = time.perf_counter() - start
        job = Job(config, setting, store, folder, settings, work, check, thorough, loaded)
        batch = setting.start_with(Run(folder).batch(store.since if fresh else 0.0))
        with Journal(folder, batch=batch) if announces else nullcontext() as store.journal:
            yield job


def expected_work(setting: Setting) -> dict[str, float]:
    """Floating point operations of every detector's evaluation; mistakes show here, before anything is computed."""
    config, labels, work = setting.config, set(), {}
    if config.attack != "none":
        note_radii(setting.plans, setting.bench.std)
    note_copies(setting.bench)
    for name in setting.names:
        detector = setting.detector(name)
        if config.objective is not None:
            detector.check_objective(config.objective)
        if detector.network is not setting.net:
            check_network(detector.network, setting.bench, setting.device)
            note_doubts(detector.network, setting.bench, setting.device)
        if config.threat not in ("fresh", CORRUPTIONS) and not detector.randomized:
            log.warning("--threat %s changes nothing for %s, which draws no noise", config.threat, detector.label)
        if detector.label in labels:
            raise ValueError(f"two detectors named {detector.label}: scores could not be told apart")
        labels.add(detector.label)
        plans = [within(detector, plan, config.budget) for plan in setting.plans]
        passes = sum(work_of(detector, setting.bench, config.attack, plan) for plan in plans)
        work[name] = passes * operations(setting.net, setting.sample)
    return work
