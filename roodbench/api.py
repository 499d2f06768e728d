"""Evaluate a detector, or everything that a configuration names. The library and the command line both end here."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from attacks import DIRECTIONS, check_method, honoured
from detectors import Detector, Plain
from detectors.care import borrowed, usual_state

from .data import Benchmark
from .engine.errors import saving
from .engine.progress import Progress, progress_of
from .engine.worker import Worker, log
from .evaluation.budget import within
from .evaluation.evaluator import Evaluator
from .evaluation.populations import Evaluated
from .evaluation.precision import precision_of, work_of
from .evaluation.sweep import evaluated, sweep
from .machine.device import opened
from .machine.prepare import operations
from .record.build import build
from .record.result import Result
from .setup.config import SPENDING, RunConfig, check_budget, check_seed, one_of, refuse
from .setup.fitted import check_fitted
from .setup.network import check_needs, check_network
from .setup.seam import check_seam
from .setup.setting import LOOKED, Setting, plan_of
from .setup.values import typed, wrong
from .store.cells import Store
from .store.folder import run_folder
from .store.identity import code_version, identity
from .store.users import here


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
    seed: int = 0,
    store: Store | None = None,
    fresh: bool = False,
    progress: Progress | bool = False,
) -> Result:
    """Clean and adversarial AUROC of a fitted detector, or of an nn.Module that returns scores (B,), on a benchmark.

    `attack` is none, min (lower ID scores), max (raise OOD scores) or both; `eps`, a number or text such as "8/255", is
    in units of the benchmark's input space, pixels by default; `budget`, network passes per image, forward + backward,
    scales the steps and restarts of `strength` to what they pay for; `threat` fresh, known-seed or resubmit:q. `check`
    runs the attack of the adaptive gap and those of the indicators too, these on as many images as cost no more than
    the attack itself (none where those are too few), `thorough` on up to 32 of ID and OOD each. Give a `Store` to keep
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
        "seed": seed,
    }
    adversary = typed({**evaluate.__annotations__, "eps": "float | None"}, given)
    attack, check, thorough, seed = (adversary.pop(name) for name in ("attack", "check", "thorough", "seed"))
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
    budget = adversary.pop("budget")
    check_budget(budget, adversary["steps"], adversary["restarts"])
    bench.check()
    check_fitted(detector, bench)
    plan = plan_of(bench, **adversary)
    within(detector, plan, budget)  # too small a one is a mistake that shows before anything is computed
    start = time.perf_counter()
    if store is not None:
        store.begin(fresh=fresh)
    tensors = [*detector.parameters(), *detector.buffers()]
    refuse_inference(detector.label, tensors)
    with opened(tensors[0].device if tensors else torch.device("cpu")) as device, borrowed(detector):
        check_network(detector.network, bench, device)
        check_needs(detector, bench.id_val.shard(0, LOOKED).to(device))
        key = None if store is None else identity(detector)
        worker = Worker(detector, seed=seed, device=device, store=store, key=key, progress=progress)
        found = evaluated(Evaluator(worker, bench), attack, plan, budget=budget, check=check, thorough=thorough)
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
) -> tuple[Result, Path]:
    """Do what `config` says, reusing shards finished under `out`, or not if `fresh`. Returns the record and its folder.

    `check` runs the attack of the adaptive gap, and those of the indicators on as many images as cost no more than the
    attack itself; `thorough` on as many as say most.
    """
    if not isinstance(config, RunConfig):
        raise wrong("config", config, "a RunConfig")
    start, store, progress = time.perf_counter(), Store(out), progress_of(progress)
    check, thorough = typed(run.__annotations__, {"check": check, "thorough": thorough}).values()
    check_checks(config.attack, check=check, thorough=thorough)
    config.refuse_idle(attacking=True)
    store.begin(fresh=fresh)
    with opened(config.device) as device, here():
        setting = Setting(config, device, fresh=fresh)
        work = expected_work(setting)
        setting.compile(sum(work.values()))
        found: list[Evaluated] = []
        identities: list[dict[str, Any]] = []
        seconds = {"load": time.perf_counter() - start}
        for name in setting.names:
            begin = time.perf_counter()
            detector, facts = setting.fitted(name)
            identities.append(identity(detector))
            with usual_state(device.type), borrowed(detector):
                precision = precision_of(
                    detector, setting.net, setting.bench, setting.plans[0], work[name], config.precision, config.seed
                )
                worker = Worker(
                    detector, seed=config.seed, device=device, store=store, key=identities[-1], progress=progress
                )
                evaluator = Evaluator(worker, setting.bench, precision=precision)
                found += [
                    replace(f, search=facts)
                    for f in sweep(
                        evaluator,
                        config.attack,
                        setting.plans,
                        budget=config.budget,
                        check=check,
                        thorough=thorough,
                    )
                ]
            seconds[detector.label] = time.perf_counter() - begin
        settings = {**asdict(config), "params": dict(config.params), "model": setting.plain.name}
        network = setting.network["sha256"]
        content = [
            settings,
            check,
            thorough,
            network,
            setting.bench.description(),
            identities,
            code_version("roodbench"),
        ]
        folder = run_folder(store.folder, [config.benchmark, *config.detector[:3]], content)
        timing = {"seconds": time.perf_counter() - start, "parts": seconds, "reused": store.notice()}
        settings |= {"network_sha256": network, "checkpoint_sha256": dict(setting.plain.files)}
        settings |= {"left_out": setting.left_out} if setting.left_out else {}
        result = build(found, settings, device, timing)
        with saving(result, folder):
            result.save(folder)
        return result, folder


def check_subjects(detector: Any, bench: Any) -> None:
    """ValueError for what is no detector or no benchmark."""
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


def expected_work(setting: Setting) -> dict[str, float]:
    """Floating point operations of every detector's evaluation; mistakes show here, before anything is computed."""
    config, labels, work = setting.config, set(), {}
    for name in setting.names:
        detector = setting.detector(name)
        if config.objective is not None:
            detector.check_objective(config.objective)
        if detector.network is not setting.net:
            check_network(detector.network, setting.bench, setting.device)
        if config.threat != "fresh" and not detector.randomized:
            log.warning("--threat %s changes nothing for %s, which draws no noise", config.threat, detector.label)
        if detector.label in labels:
            raise ValueError(f"two detectors named {detector.label}: scores could not be told apart")
        labels.add(detector.label)
        plans = [within(detector, plan, config.budget) for plan in setting.plans]
        passes = sum(work_of(detector, setting.bench, config.attack, plan) for plan in plans)
        work[name] = passes * operations(setting.net, setting.sample)
    return work
