"""Evaluate a detector, or everything that a configuration names. The library and the command line both end here."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from attacks import DIRECTIONS, check_method, honoured
from detectors import Detector, Plain
from detectors.care import borrowed

from .data import Benchmark
from .data.near import note_copies
from .engine.crew import sharers
from .engine.errors import saving
from .engine.progress import Progress, progress_of
from .engine.worker import Worker
from .evaluation.attacker import within
from .evaluation.evaluator import Evaluator
from .evaluation.forecast import Forecast, peak_memory
from .evaluation.sweep import evaluated
from .job import begun
from .machine.device import opened
from .record.build import build
from .record.result import Result
from .setup.config import SPENDING, RunConfig, check_budget, check_kept, check_seed, one_of, refuse
from .setup.network import check_needs, check_network, note_doubts
from .setup.seam import check_fitted, check_seam
from .setup.setting import LOOKED, note_radii, plan_of
from .setup.threats import CORRUPTIONS, attack_under
from .setup.values import typed, wrong
from .store.cells import Store
from .store.identity import identity
from .store.runs import Run


def evaluate(
    detector: nn.Module,
    bench: Benchmark,
    *,
    attack: str = "both",
    eps: float | str | None = None,
    norm: str = "linf",
    method: str = "suite",
    objective: str | None = None,
    strength: str = "quick",
    budget: int | None = None,
    steps: int | None = None,
    restarts: int | None = None,
    threat: str = "fresh",
    quantize: bool = False,
    check: bool = True,
    thorough: bool = False,
    keep_images: bool = False,
    seed: int = 0,
    store: Store | None = None,
    fresh: bool = False,
    progress: Progress | bool = False,
) -> Result:
    """Clean and adversarial AUROC of a fitted detector, or of an nn.Module that returns scores (B,), on a benchmark.

    `attack` is none, min (lower ID scores), max (raise OOD scores) or both; `eps`, a number or text such as "8/255", is
    in units of the benchmark's input space, pixels by default; `budget`, network passes per image, forward + backward,
    scales the steps and restarts of `strength` to what they pay for; `threat` fresh, known-seed, resubmit:q, or
    corruptions: no attack, shifted ID named CORRUPTION/SEVERITY in the place of ID (`Benchmark.corrupted`). `check`
    runs the attack of the adaptive gap and those of the indicators too, these on as many images as cost no more than
    the attack itself (none where those are too few), `thorough` on up to 32 of ID and OOD each. `keep_images` keeps the
    first images of every set, clean and attacked (`Result.images_of`). Give a `Store` to keep
    finished shards and to reuse them where the detector still does the same, `fresh` to replace what it has;
    `progress=True` for bars. Raises ValueError for settings that do not exist or are of another type and
    EvaluationError, naming the image, for scores or gradients that are not finite.
    """
    check_subjects(detector, bench)
    if fresh and store is None:
        raise ValueError("fresh replaces what a store keeps: give store=roodbench.Store(FOLDER), or leave out fresh")
    if not isinstance(detector, Detector):
        detector = Plain(detector)
    check_seam(detector, fitted=True)
    given = {
        "attack": attack,
        "eps": eps,
        "norm": norm,
        "method": method,
        "objective": objective,
        "strength": strength,
        "budget": budget,
        "steps": steps,
        "restarts": restarts,
        "threat": threat,
        "quantize": quantize,
        "check": check,
        "thorough": thorough,
        "keep_images": keep_images,
        "seed": seed,
    }
    adversary = typed({**evaluate.__annotations__, "eps": "float | None"}, given)
    attack, check, thorough, seed = (adversary.pop(name) for name in ("attack", "check", "thorough", "seed"))
    check_kept(adversary["keep_images"], bench.space)
    attack = attack_under(adversary["threat"], attack)
    if adversary["threat"] == CORRUPTIONS:
        adversary["threat"], bench = "fresh", bench.corrupted()
    method, objective = adversary["method"], adversary["objective"]
    check_seed(seed)
    check_checks(attack, check=check, thorough=thorough)
    if objective is not None:
        detector.check_objective(objective)
    one_of("attack", attack, DIRECTIONS)
    if attack == "none":
        refuse(adversary, "attack none")
    check_method(method, objective)
    idle = sorted(SPENDING.intersection(adversary) - honoured(method))
    refuse({name: adversary[name] for name in idle}, f"method {method}")
    budget, keep_images = adversary.pop("budget"), adversary.pop("keep_images")
    check_budget(budget, adversary["steps"], adversary["restarts"])
    bench.check()
    check_fitted(detector, bench)
    plan = plan_of(bench, **adversary)
    if attack != "none":
        note_radii([plan], bench.std)
    note_copies(bench)
    within(detector, plan, budget)  # too small a one is a mistake that shows before anything is computed
    start = time.perf_counter()
    if store is not None:
        store.begin(fresh=fresh)
    tensors = [*detector.parameters(), *detector.buffers()]
    refuse_inference(detector.label, tensors)
    with opened(tensors[0].device if tensors else torch.device("cpu")) as device, borrowed(detector):
        check_network(detector.network, bench, device)
        note_doubts(detector.network, bench, device)
        check_needs(detector, bench.id_val.shard(0, LOOKED).to(device))
        key = None if store is None else identity(detector)
        worker = Worker(detector, seed=seed, device=device, store=store, key=key, progress=progress)
        evaluator = Evaluator(worker, bench, keep_images=keep_images)
        found = evaluated(evaluator, attack, plan, budget=budget, check=check, thorough=thorough)
        spent = {"plan": asdict(found.plan or plan), "budget": budget}
        config = {"attack": attack, **spent, "seed": seed, "detector": detector.label}
        reused = None if store is None else store.notice()
        return build([found], config, device, {"seconds": time.perf_counter() - start, "reused": reused})


def run(
    config: RunConfig,
    *,
    out: Path | str | None = None,
    progress: Progress | bool = False,
    check: bool = True,
    thorough: bool = False,
    fresh: bool = False,
    workers: int | None = None,
    engine: str = "local",
    address: str | None = None,
) -> tuple[Result, Path]:
    """Do what `config` says, reusing shards finished under `out`, or not if `fresh`. Returns the record and its folder.

    `check` runs the attack of the adaptive gap, and those of the indicators on as many images as cost no more than the
    attack itself; `thorough` on as many as say most. `workers` processes share the work: by default as many as cores,
    or GPUs, where it is worth their start, with `engine="ray"` one per core or GPU of the cluster at `address`; under a
    bound on memory, of which each has an equal share, one.
    """
    start, progress = time.perf_counter(), progress_of(progress)
    check, thorough = checked(config, check=check, thorough=thorough)
    workers = sharers(config.memory, workers, engine)
    with begun(config, Store(out), check=check, thorough=thorough, fresh=fresh, among=workers or 1) as job:
        found = job.evaluated(progress, workers=workers, engine=engine, address=address)
        seconds = {"load": job.loaded, **job.seconds}
        timing = {"seconds": time.perf_counter() - start, "parts": seconds, "reused": job.store.notice()}
        timing["throughput"] = Run(job.folder).throughput
        result = build(found, job.settings, job.setting.device, timing)
        with saving(result, job.folder):
            result.save(job.folder)
        return result, job.folder


def forecast(
    config: RunConfig, *, out: Path | str | None = None, check: bool = True, thorough: bool = False
) -> Forecast:
    """What `run` would do and take, from a rehearsal of each detector's attack; nothing is kept of it."""
    check, thorough = checked(config, check=check, thorough=thorough)
    with begun(config, Store(out), check=check, thorough=thorough, joins=True, announces=False) as job:
        parts = job.forecast()
        kept = sum((job.store.folder / "cells" / f"{name}.safetensors").is_file() for name in Run(job.folder).cells)
        return Forecast(parts, job.loaded, peak_memory(job.setting.device), kept, job.folder)


def share(
    config: RunConfig,
    *,
    turn: float,
    out: Path | str | None = None,
    progress: Progress | bool = False,
    check: bool = True,
    thorough: bool = False,
    since: float | None = None,
    joins: bool | Path = True,
    among: int = 1,
) -> Path:
    """Compute for a run what no other process does, until all of it is kept; returns its folder, without a record.

    `turn` in [0, 1) is where among the work it begins; `since` is when a run began that leaves alone what was kept
    before it; `among` is how many processes share the configuration's bound on memory. ValueError where what `config`
    names is not the run in the folder that it `joins`.
    """
    progress = progress_of(progress)
    check, thorough = checked(config, check=check, thorough=thorough)
    settings = {"check": check, "thorough": thorough, "fresh": since is not None, "since": since, "among": among}
    with begun(config, Store(out), joins=joins, **settings) as job:  # type: ignore[arg-type]
        job.evaluated(progress, turn=turn, workers=1)
        return job.folder


def checked(config: Any, *, check: bool, thorough: bool) -> tuple[bool, bool]:
    """`check` and `thorough` of a run; ValueError for those, or for settings, that nothing honours."""
    if not isinstance(config, RunConfig):
        raise wrong("config", config, "a RunConfig")
    check, thorough = typed(run.__annotations__, {"check": check, "thorough": thorough}).values()
    check_checks(config.attack, check=check, thorough=thorough)
    config.refuse_idle(attacking=True)
    return check, thorough


def check_subjects(detector: Any, bench: Any) -> None:
    """ValueError for anything but a detector and a benchmark."""
    if not isinstance(detector, nn.Module):
        one = "one fitted Detector or nn.Module; roodbench.run(RunConfig(detector=...)) takes names, also several"
        raise wrong("detector", detector, one)
    if not isinstance(bench, Benchmark):
        raise wrong("benchmark", bench, 'a Benchmark, as load_benchmark("digits") gives')


def check_checks(attack: str, *, check: bool, thorough: bool) -> None:
    """ValueError for thorough checks of an attack that is not made, or not checked."""
    if thorough and attack == "none":
        raise ValueError("attack none: there is no attack to check, expected min, max or both")
    if thorough and not check:
        raise ValueError("thorough checks without checks: leave out check=False")


def refuse_inference(label: str, tensors: list[Tensor]) -> None:
    """ValueError for tensors that autograd cannot use: no attack could follow a gradient through them."""
    if any(tensor.is_inference() for tensor in tensors):
        raise ValueError(f"the tensors of {label} were made in torch.inference_mode: make them outside of it")
