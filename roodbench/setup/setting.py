"""The one door from settings to a fitted detector: benchmark, network and detectors of a run on an open device."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal, TypeVar, cast

import torch
from torch import Tensor, nn

from attacks import STRENGTHS, AttackPlan, ThreatModel, attack_class, check_method, is_external
from detectors import WRAPPERS, Detector, NeedsError, Smoothed
from detectors.care import seeded

from ..data import SHARD, Benchmark, load_benchmark
from ..engine.errors import EvaluationError, users_code
from ..machine.memory import LARGEST, batch_of, limit, within_memory
from ..machine.prepare import Prepared, compile_network, prepare
from ..models import Classifier
from .config import RunConfig, check_eps, one_of
from .network import check_needs, network_of
from .plugins import is_plugin, make_detector, parameters_of
from .protocols import PROTOCOLS
from .search import search
from .threats import CORRUPTIONS
from .values import written

log = logging.getLogger("roodbench")
T = TypeVar("T")

SIDE, FEWEST = 64, 4
"""The side of images of which a whole shard is checked and measured with, and how many of any size."""
LOOKED = 8
"""Images on which a network is asked whether it has what a detector needs."""
L2_EPS = 0.5
"""Default l2 radius, RobustBench's for CIFAR-10."""
USUAL = {"linf": (0.1 / 255, 0.5), "l2": (0.1, math.inf)}
"""By norm, the least and the largest radius in pixels that need no word."""


class Setting:
    """What a configuration names, loaded: the benchmark and the network in its input space, on a device.

    `plain` is the network as it was loaded, `net` the same function made fast, below every detector. `fresh` leaves
    alone what was kept of a network's outputs.
    """

    def __init__(self, config: RunConfig, device: torch.device, *, fresh: bool = False) -> None:
        self.config, self.device = config, device
        ood = None if config.ood is None else list(config.ood)
        with seeded(0):  # a user's own function may draw: the same images for every seed
            bench = load_benchmark(
                config.benchmark,
                root=config.data_root,
                ood=ood,
                limit=config.limit or None,
                train_limit=config.train_limit,
                download=config.download,
                corruptions=config.threat == CORRUPTIONS,
            )
        bench = bench.full_spectrum() if config.full_spectrum else bench
        with seeded(config.seed):
            net = network_of(config, bench, device)
        pixels = config.space == "pixel"
        self.bench: Benchmark = bench if pixels else bench.normalized(net.mean, net.std)
        for images in (self.bench.id_train, self.bench.id_val, self.bench.ood_val):
            images.fresh = fresh
        self.plain: Classifier = net if pixels else net.normalized()
        self.bench.check()
        self.net = prepare(self.plain, self.sample, compile="off")
        if config.batch_size is not None and isinstance(backbone := self.net.backbone, Prepared):
            most = config.batch_size if config.memory is None else backbone.held
            backbone.batch = backbone.held = min(config.batch_size, most)
        self._made: dict[str, Detector] = {}
        self.left_out: dict[str, str] = {}
        """What the network lacks that a detector needs, by the detector's name (`names`)."""

    @cached_property
    def sample(self) -> Tensor:
        """The first ID validation images, to check and measure with: of large ones as few as have a shard's pixels."""
        _, height, width = self.bench.id_val.shape
        most = min(SHARD, max(FEWEST, SHARD * SIDE**2 // (height * width)))
        return self.bench.id_val.shard(0, most).to(self.device)

    @property
    def network(self) -> dict[str, Any]:
        """The network's name and the hash of its weights, architecture and normalisation."""
        return {"name": self.plain.name, "sha256": self.plain.fingerprint()}

    @cached_property
    def plans(self) -> list[AttackPlan]:
        """The adversary at every radius of the configuration."""
        config = self.config
        return [
            plan_of(
                self.bench,
                eps=eps,
                norm=config.norm,
                method=config.method,
                objective=config.objective,
                strength=config.strength,
                steps=config.steps,
                restarts=config.restarts,
                threat="fresh" if config.threat == CORRUPTIONS else config.threat,
                quantize=config.quantize,
                protocol=config.protocol,
            )
            for eps in (config.eps if config.eps and config.attack != "none" else (None,))
        ]

    @property
    def model(self) -> str:
        """The network's name without the denoiser's before it, as a configuration takes it."""
        return self.plain.name.removesuffix(f" behind {self.config.denoiser}")

    def compile(self, work: float) -> None:
        """Compile the network where the floating point operations of the run repay it, or where that is asked for.

        A user's own detector may need what a compiled network cannot do: `auto` leaves it as it is, and so does `on`
        where one of ours says that it cannot.
        """
        plugged = any(is_plugin(name) for name in (*self.config.detector, self.config.base))
        eager = [name for name in self.names if any(part.eager for part in self.detector(name).chain)]
        if eager and self.config.compile == "on":
            log.warning("%s needs the network as it is: it is not compiled", eager[0])
        wanted = "off" if eager or (self.config.compile == "auto" and plugged) else self.config.compile
        compile_network(self.net, self.plain, self.sample, compile=wanted, work=work)

    @cached_property
    def names(self) -> list[str]:
        """The detectors of the configuration for which the network has all that they need.

        The others are left out, with a line for each; NeedsError where there is only one, or none is left.
        """
        for name in self.config.detector:
            try:
                self.detector(name)
            except NeedsError as error:
                if len(self.config.detector) == 1:
                    raise
                self.left_out[name] = error.reason
                log.warning("%s is left out: %s", name, error.reason)
        kept = [name for name in self.config.detector if name not in self.left_out]
        if not kept:
            names = ", ".join(self.left_out)
            raise NeedsError(
                f"none of {names} can run on network {self.plain.name}", "take gen, ebo or another of logits"
            )
        return kept

    def detector(self, name: str) -> Detector:
        """The unfitted detector of this name, made once, with those of the run's parameters that it takes.

        NeedsError where the network lacks what it needs.
        """
        if name not in self._made:
            made = self._make(name, {}).to(self.device)
            check_needs(made, self.sample[:LOOKED])
            self._made[name] = made
        return self._made[name]

    def start_with(self, batch: int | None) -> int | None:
        """Take no more images in a pass than an earlier process found to fit; returns how many that is."""
        if batch is not None:
            for name in self.names:
                limit(self.detector(name), batch)
        return batch_of(self.net)

    def fitted(self, name: str) -> tuple[Detector, dict[str, Any]]:
        """The fitted detector and, with `search`, what the record says of how its parameters were chosen."""
        detector, facts = self.detector(name), dict[str, Any]()
        if self.config.search and is_plugin(name):
            log.warning("--search: %s has no published grid, its parameters stay as they are", name)
        elif self.config.search:
            chosen, facts = fitting(lambda: self._search(name), self.net, f"{name}, search")
            log.info(
                "%s: best of %d candidates on %s: %s", name, facts["candidates"], facts["ood_val"], chosen or "no grid"
            )
            detector = self._make(name, chosen).to(self.device)
        with users_code(f"{detector.label}, fit"), seeded(self.config.seed):
            fitting(lambda: detector.fit(self.bench.id_train, self.bench.id_val), detector, f"{detector.label}, fit")
        return detector, facts

    def _search(self, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """The best parameters, and what the record says of how they were chosen."""
        config, fixed = self.config, self._fixed(name)  # with smaller passes, where they were halved
        return search(name, self.net, self.bench, base=config.base, fixed=fixed, seed=config.seed)

    def _fixed(self, name: str) -> dict[str, Any]:
        """The run's parameters that a detector takes, and how many images it may give its network at once."""
        known = parameters_of(name, self.config.base)
        fixed = {key: value for key, value in self.config.params.items() if key in known}
        return {"chunk": self._batch, **fixed} if is_smoothed(name) else fixed

    def _make(self, name: str, searched: Mapping[str, Any]) -> Detector:
        """The detector with the run's parameters over the search's over the benchmark's over the published ones."""
        defaults = {"sigma": self.bench.sigma / self.bench.std, "seed": self.config.seed} if is_smoothed(name) else {}
        params = {**defaults, **searched, **self._fixed(name)}
        with seeded(self.config.seed):
            return make_detector(name, self.net, base=self.config.base, **params)

    @property
    def _batch(self) -> int:
        """Images in one pass of the network, for detectors that make their own batches."""
        backbone = self.net.backbone
        return backbone.batch if isinstance(backbone, Prepared) else self.config.batch_size or LARGEST["cpu"]


def fitting(compute: Callable[[], T], module: nn.Module, label: str) -> T:
    """compute(), in smaller passes of a module where memory runs out; EvaluationError where none is small enough."""
    try:
        return within_memory(compute, module, label)
    except MemoryError as error:
        raise EvaluationError(str(error)) from None


def is_smoothed(name: str) -> bool:
    """Whether a name is that of a detector over noisy copies."""
    return name in WRAPPERS and issubclass(WRAPPERS[name], Smoothed)


def plan_of(
    bench: Benchmark,
    *,
    eps: float | None = None,
    norm: str = "linf",
    method: str = "suite",
    objective: str | None = None,
    strength: str = "quick",
    steps: int | None = None,
    restarts: int | None = None,
    threat: str = "fresh",
    quantize: bool = False,
    protocol: str = "roodbench",
) -> AttackPlan:
    """The adversary on a benchmark: radius in units of its input space, default the benchmark's."""
    if eps is None:
        eps = (bench.eps if norm == "linf" else L2_EPS) / bench.std
    check_eps(eps, norm, bench.space)
    check_method(method, objective)
    one_of("strength", strength, STRENGTHS)
    spend = STRENGTHS[strength]
    steps, restarts = (spend.steps if steps is None else steps), (spend.restarts if restarts is None else restarts)
    fixed = {key: value for key, value in PROTOCOLS[protocol].items() if key in ("step", "keep")}
    spend = replace(spend, steps=steps, restarts=restarts, **fixed)
    ball = ThreatModel(eps, cast(Literal["linf", "l2"], norm), bench.bounds, threat, quantize)
    if is_external(method):
        attack_class(method, ball)  # a missing library or attack shows before anything is computed
    return AttackPlan(ball, method, objective, spend)


def note_radii(plans: Sequence[AttackPlan], std: float) -> None:
    """Say where the largest radius is one that hardly anybody means; `std` is one unit of its space in pixels."""
    ball = max((plan.threat for plan in plans), key=lambda threat: threat.eps)
    eps, (low, high) = ball.eps * std, USUAL[ball.norm]
    if eps > high:
        log.warning("epsilon %s in linf: any image may become the same grey above 0.5", written(eps))
    elif 0 < eps < low and ball.norm == "l2":
        usual = "usual are 0.5 of 32 x 32 pixels, 3 of 224 x 224"
        log.warning("epsilon %s in l2 is the length of the change of a whole image: %s", written(eps), usual)
    elif 0 < eps < low:
        log.warning("epsilon %.2g in linf is no tenth of a grey level (1/255): was it divided by 255 twice?", eps)
