"""One run: load, fit, evaluate, report. The library's `evaluate` and the command line both end here."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from platformdirs import user_cache_path
from torch import Tensor, nn

import detectors
from detectors import WRAPPERS, Detector, Plain, Smoothed

from . import checks, plugins, summary
from .config import RunConfig, check_objective, device_of, plan_of
from .data import SHARD, Benchmark, load_benchmark
from .environment import environment
from .evaluate import DIRECTIONS, Evaluator, Progress, silent
from .evaluated import Evaluated
from .files import code_version, content_hash
from .memory import LARGEST, use_threads
from .models import Classifier, load_model
from .parts import base_of, label_of, network_of
from .precision import precision_of, work_of
from .prepare import Prepared, operations, prepare
from .result import Result
from .search import search
from .store import Store

log = logging.getLogger("roodbench")

SMOOTHED = [name for name, cls in WRAPPERS.items() if issubclass(cls, Smoothed)]


def evaluate(
    detector: nn.Module,
    bench: Benchmark,
    *,
    attack: str = "both",
    eps: float | None = None,
    norm: str = "linf",
    method: str = "suite",
    objective: str | None = None,
    strength: str = "quick",
    steps: int | None = None,
    restarts: int | None = None,
    threat: str = "fresh",
    quantize: bool = False,
    check: bool = True,
    seed: int = 0,
    store: Store | None = None,
    progress: Progress = silent,
) -> Result:
    """Clean and adversarial AUROC of a fitted detector, or of an nn.Module that returns scores (B,), on a benchmark.

    `attack` is none, min (lower ID scores), max (raise OOD scores) or both; `eps` is in units of the benchmark's
    input space, pixels by default; `threat` fresh, known-seed or resubmit:q. `check` runs the attacks of the indicators
    on a few images more. Give a `Store` to keep and reuse finished populations. Raises ValueError for
    settings that do not exist and EvaluationError, naming the image, for scores or gradients that are not finite.
    """
    if not isinstance(detector, Detector):
        detector = Plain(detector)
    check_objective(method, objective)
    if objective is not None:
        detector.check_objective(objective)
    if attack not in DIRECTIONS:
        raise ValueError(detectors.unknown("attack", attack, DIRECTIONS))
    plan = plan_of(
        bench,
        eps=eps,
        norm=norm,
        method=method,
        objective=objective,
        strength=strength,
        steps=steps,
        restarts=restarts,
        adversary=threat,
        quantize=quantize,
    )
    start = time.perf_counter()
    key = None if store is None else identity(detector)
    device = next((p.device for p in [*detector.parameters(), *detector.buffers()]), torch.device("cpu"))
    check_network(detector, bench, device)
    evaluator = Evaluator(detector, bench, seed=seed, device=device, store=store, key=key, progress=progress)
    found = evaluator.run(attack, plan, check=check)
    config = {"attack": attack, "plan": asdict(plan), "seed": seed, "detector": label_of(detector)}
    return record([found], config, device, {"seconds": time.perf_counter() - start})


def run(
    config: RunConfig, *, out: Path | None = None, progress: Progress = silent, check: bool = True
) -> tuple[Result, Path]:
    """Do what `config` says, reusing populations finished under `out`. Returns the record and its folder.

    `check` runs the attacks of the indicators.
    """
    start = time.perf_counter()
    use_threads()
    device = device_of(config.device)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False  # scores are float32
    bench, net = load(config, device)
    plans = [
        plan_of(
            bench,
            eps=eps,
            norm=config.norm,
            method=config.method,
            objective=config.objective,
            strength=config.strength,
            steps=config.steps,
            restarts=config.restarts,
            adversary=config.threat,
            quantize=config.quantize,
            protocol=config.protocol,
        )
        for eps in (config.eps if config.eps and config.attack != "none" else (None,))
    ]
    labels: list[str] = []
    work: dict[str, float] = {}
    sample = bench.id_val.shard(0, min(SHARD, len(bench.id_val))).to(device)
    for name in config.detector:  # mistakes show before anything is computed
        detector = create(name, net, bench, config)
        if config.objective is not None:
            detector.check_objective(config.objective)
        check_network(detector, bench, device)
        if config.threat != "fresh" and not detector.randomized:
            log.warning("--threat %s changes nothing for %s, which draws no noise", config.threat, label_of(detector))
        if label_of(detector) in labels:
            raise ValueError(f"two detectors named {label_of(detector)}: scores could not be told apart")
        labels.append(label_of(detector))
        work[name] = sum(work_of(detector, bench, config.attack, plan) for plan in plans) * operations(net, sample)
    network = net.fingerprint()
    net = prepared(net, sample, config, sum(work.values()))
    store = Store(out or user_cache_path("roodbench") / "runs")
    identities: list[dict[str, Any]] = []
    found: list[Evaluated] = []
    seconds: dict[str, float] = {"load": time.perf_counter() - start}
    for name in config.detector:
        begin = time.perf_counter()
        detector, facts = chosen(name, net, bench, config)
        detector.to(device).fit(bench.id_train, bench.id_val)
        key = identity(detector)
        identities.append(key)
        precision = precision_of(detector, net, bench, plans[0], work[name], config.precision, config.seed)
        evaluator = Evaluator(
            detector,
            bench,
            seed=config.seed,
            device=device,
            store=store,
            key=key,
            progress=progress,
            precision=precision,
        )
        sweep = [replace(evaluator.run(config.attack, plan, check=check), search=facts) for plan in plans]
        checks.monotone([(f, summary.strongest(f)) for f in sorted(sweep, key=lambda f: f.eps)])
        found += sweep
        seconds[label_of(detector)] = time.perf_counter() - begin
    settings = {**asdict(config), "params": dict(config.params), "model": net.name}
    content = content_hash([settings, network, bench.description(), identities, code_version()])
    folder = store.folder / f"{config.benchmark}-{'-'.join(config.detector[:3]).replace(':', '.')}-{content[:12]}"
    timing = {"seconds": time.perf_counter() - start, "parts": seconds}
    result = record(found, {**settings, "network_sha256": network}, device, timing)
    result.save(folder)
    return result, folder


def load(config: RunConfig, device: torch.device) -> tuple[Benchmark, Classifier]:
    """The benchmark and the network of a run, in its input space."""
    ood = None if config.ood is None else list(config.ood)
    bench = load_benchmark(config.benchmark, root=config.data_root, ood=ood, limit=config.limit or None)
    model = config.model or ("digits-cnn" if config.benchmark == "digits" else None)
    if model is None:
        raise ValueError(f"benchmark {config.benchmark} needs a network: give --model NAME and --checkpoint FILE")
    net = load_model(model, checkpoint=config.checkpoint, device=device)
    if config.space == "pixel":
        return bench, net
    return bench.normalized(net.mean, net.std), net.normalized()


def prepared(net: Classifier, sample: Tensor, config: RunConfig, work: float) -> Classifier:
    """The network of the run, made fast; a user's own detector may need what a compiled network cannot do."""
    compile = config.compile
    if compile == "auto" and any(plugins.is_plugin(name) for name in config.detector):
        compile = "off"
    net = prepare(net, sample, compile=compile, work=work)
    if config.batch_size is not None and isinstance(net.backbone, Prepared):
        net.backbone.batch = config.batch_size
    return net


def batch_of(net: Classifier, config: RunConfig) -> int:
    """Images in one pass of the network, for detectors that make their own batches."""
    return config.batch_size or (net.backbone.batch if isinstance(net.backbone, Prepared) else LARGEST["cpu"])


def create(
    name: str, net: Classifier, bench: Benchmark, config: RunConfig, searched: Mapping[str, Any] | None = None
) -> Detector:
    """The unfitted detector with those of the run's parameters that it takes, over the search's, over the defaults."""
    known = plugins.takes(name, config.base)
    params = {**(searched or {}), **{key: value for key, value in config.params.items() if key in known}}
    if name in SMOOTHED:
        params = {"sigma": bench.sigma / bench.std, "chunk": batch_of(net, config), "seed": config.seed} | params
    return plugins.create(name, net, base=config.base, **params)


def chosen(name: str, net: Classifier, bench: Benchmark, config: RunConfig) -> tuple[Detector, dict[str, Any]]:
    """The unfitted detector and, with `search`, its best published parameters and what the record says of them."""
    if not config.search:
        return create(name, net, bench, config), {}
    if plugins.is_plugin(name):
        log.warning("--search: %s has no published grid, its parameters stay as they are", name)
        return create(name, net, bench, config), {}
    known = plugins.takes(name, config.base)
    fixed = {key: value for key, value in config.params.items() if key in known}
    if name in SMOOTHED:
        fixed["chunk"] = batch_of(net, config)
    best, facts = search(name, net, bench, base=config.base, fixed=fixed, seed=config.seed)
    log.info("%s: best of %d candidates on %s: %s", name, facts["candidates"], facts["ood_val"], best or "no grid")
    return create(name, net, bench, config, best), facts


def check_network(detector: Detector, bench: Benchmark, device: torch.device) -> None:
    """ValueError where the network's output is not (B, K) with the benchmark's classes among the K."""
    net = network_of(detector)
    if net is None:
        return
    x = bench.id_test.shard(0, 2).to(device)
    if isinstance(net, Classifier) and net.mean.numel() != x.shape[1]:
        raise ValueError(f"network {net.name} takes {net.mean.numel()} channels: {bench.name} has {x.shape[1]}")
    try:
        with torch.no_grad():
            logits = net(x)
    except RuntimeError as error:
        raise ValueError(
            f"network {getattr(net, 'name', '')} cannot take {tuple(x.shape[1:])} images: {error}"
        ) from None
    classes = int(bench.id_test.labels.max()) + 1
    if logits.ndim != 2 or len(logits) != 2 or logits.shape[1] < max(2, classes):
        raise ValueError(
            f"network {getattr(net, 'name', '')} gives outputs of shape {tuple(logits.shape)} for 2 images: "
            f"expected (2, K) logits with K >= {max(2, classes)}"
        )


def identity(detector: Detector) -> dict[str, Any]:
    """What besides data and plan decides a fitted detector's scores: settings, tensors, plain attributes, code."""
    digest = hashlib.sha256()
    for key, value in sorted(detector.state_dict().items()):
        digest.update(key.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    for name, module in detector.named_modules():
        kinds = int | float | str | tuple | list | None
        plain = {
            k: v for k, v in vars(module).items() if k not in ("chunk", "batch", "halved") and isinstance(v, kinds)
        }
        digest.update(repr((name, type(module).__qualname__, sorted((k, repr(v)) for k, v in plain.items()))).encode())
    return {
        "detector": label_of(detector),
        "params": [d.hyperparameters() for d in (detector, base_of(detector)) if d is not None],
        "fitted": detector.fitted(),
        "state": digest.hexdigest(),
        "sources": plugins.source_hash(detector),
    }


def record(found: Iterable[Evaluated], config: dict[str, Any], device: torch.device, timing: dict[str, Any]) -> Result:
    """The result record of everything that was evaluated."""
    found = list(found)
    tables, seen = [], set()
    for f in found:
        rows, averages = summary.rows_of(f)
        if id(f.detector) in seen:  # at a further radius: its clean rows are there already
            rows, averages = ([r for r in part if r.condition != "clean"] for part in (rows, averages))
        seen.add(id(f.detector))
        tables.append((rows, averages))
    return Result(
        config=config,
        environment=environment(device),
        data=found[0].bench.description(),
        rows=[row for rows, _ in tables for row in rows],
        averages=[row for _, averages in tables for row in averages],
        shifted_id=[entry for f in found for entry in summary.shifted_of(f)],
        indicators=[entry for f in found for entry in summary.indicators_of(f)],
        attacks=[entry for f in found for entry in summary.attacks_of(f)],
        detectors=[summary.detector_of(f) for f in found],
        timing=timing,
        scores=scores_of(found),
    )


def scores_of(found: Iterable[Evaluated]) -> dict[str, Tensor]:
    """`DETECTOR/[EPS/]POPULATION/CONDITION` -> scores (R, n), and the winners of attacked populations."""
    tensors = {}
    for f in found:
        for (name, condition), population in f.populations.items():
            eps = f"{f.plan.threat.eps:.6g}/" if f.plan is not None and condition != "clean" else ""
            tensors[f"{label_of(f.detector)}/{eps}{name}/{condition}"] = population.scores
            if population.winner is not None:
                tensors[f"{label_of(f.detector)}/{eps}{name}/{condition}/winner"] = population.winner
    return tensors
