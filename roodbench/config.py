"""Every setting of a run and its default, in one place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, cast

import torch

from attacks import METHODS, STRENGTHS, ThreatModel, attack_class, is_external, is_search, tries_of
from detectors import BASES, WRAPPERS, unknown

from .attacker import AttackPlan
from .data import BENCHMARKS, Benchmark
from .evaluate import DIRECTIONS
from .models import MODELS
from .plugins import is_plugin, takes
from .protocols import EPS, PARAMS, PROTOCOLS

DETECTORS = {**BASES, **WRAPPERS}
L2_EPS = 0.5
"""Default l2 radius, RobustBench's for CIFAR-10."""


@dataclass(frozen=True)
class RunConfig:
    """What `python -m roodbench` runs. None stands for the benchmark's own default."""

    detector: tuple[str, ...] = ("ross",)
    base: str = "gen"
    params: Mapping[str, Any] = field(default_factory=dict)
    search: bool = False
    attack: str = "both"
    method: str = "suite"
    objective: str | None = None
    strength: str = "quick"
    eps: tuple[float, ...] | None = None
    norm: str = "linf"
    steps: int | None = None
    restarts: int | None = None
    threat: str = "fresh"
    quantize: bool = False
    protocol: str = "roodbench"
    space: str = "pixel"
    benchmark: str = "digits"
    data_root: str | None = None
    ood: tuple[str, ...] | None = None
    model: str | None = None
    checkpoint: str | None = None
    limit: int = 100
    batch_size: int | None = None
    device: str = "auto"
    precision: str = "auto"
    compile: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.detector == ("all",):
            object.__setattr__(self, "detector", tuple(DETECTORS))
        one_of("protocol", self.protocol, PROTOCOLS)
        for name in self.detector:
            if not is_plugin(name):
                one_of("detector", name, DETECTORS)
        one_of("base score", self.base, BASES)
        if self.base != type(self).base and not any(is_plugin(name) or name in WRAPPERS for name in self.detector):
            raise ValueError(f"base {self.base}: none of {', '.join(self.detector)} wraps a base score")
        self._follow_protocol()
        one_of("attack", self.attack, DIRECTIONS)
        check_method(self.method)
        tries_of(self.threat)
        if self.quantize and self.space != "pixel":
            raise ValueError("quantize rounds pixels: leave out --space normalized")
        one_of("strength", self.strength, STRENGTHS)
        one_of("norm", self.norm, ("linf", "l2"))
        one_of("space", self.space, ("pixel", "normalized"))
        one_of("precision", self.precision, ("auto", "float32", "bfloat16"))
        one_of("compile", self.compile, ("auto", "on", "off"))
        one_of("benchmark", self.benchmark, BENCHMARKS)
        if self.model is not None:
            one_of("model", self.model, MODELS)
        for name in ("steps", "restarts", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name.replace('_', '-')} {value}: expected at least 1")
        if self.limit != 0 and self.limit < 2:
            raise ValueError(f"limit {self.limit}: expected at least 2 images per population, or 0 for all")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed {self.seed}: expected a whole number of at least 0")
        check_objective(self.method, self.objective)
        for name in ("steps", "restarts"):
            if getattr(self, name) is not None and self.method in ("noise", "square"):
                raise ValueError(f"method {self.method} takes no {name}: leave out --{name}")
        for eps in self.eps or ():
            check_eps(eps, self.norm, self.space)
        for key in self.params:
            takers = [takes(name, self.base) for name in self.detector]
            if not any(key in taken for taken in takers):
                known = list(dict.fromkeys(k for taken in takers for k in taken))
                if not known:
                    raise ValueError(f"parameter {key!r}: {', '.join(self.detector)} has no keyword-only argument")
                raise ValueError(unknown(f"parameter of {', '.join(self.detector)}", key, known))

    def _follow_protocol(self) -> None:
        """Take the settings that the protocol fixes; ValueError where another one was given."""
        defaults = {f.name: f.default for f in fields(self)}
        for key, value in PROTOCOLS[self.protocol].items():
            if key not in defaults:
                continue
            if getattr(self, key) != defaults[key]:
                check_fixed(self.protocol, key, getattr(self, key))
            object.__setattr__(self, key, value)
        taken = {key for name in self.detector for key in takes(name, self.base)}
        symbols = {symbol: name for cls in DETECTORS.values() for symbol, name in cls.symbols.items()}
        names = [key.removeprefix("base.") for key in self.params]
        given = {symbols.get(name, name) for name in names}
        fixed = PARAMS.get(self.protocol, {})
        params = {key: value for key, value in fixed.items() if key in taken and key not in given}
        object.__setattr__(self, "params", {**params, **self.params})
        object.__setattr__(self, "eps", self.eps or EPS.get(self.protocol))


def check_fixed(protocol: str, key: str, value: Any) -> None:
    """ValueError for a setting which the protocol fixes at something else."""
    fixed = PROTOCOLS.get(protocol, {})
    if key in fixed and value != fixed[key]:
        raise ValueError(f"protocol {protocol} fixes {key} = {fixed[key]}: leave out --{key} {value}")


def one_of(kind: str, value: str, choices: Any) -> None:
    if value not in choices:
        raise ValueError(unknown(kind, value, choices))


def check_method(method: str) -> None:
    if not is_external(method):
        one_of("method", method, (*METHODS, "torchattacks:NAME", "foolbox:NAME", "autoattack:NAME"))


def check_objective(method: str, objective: str | None) -> None:
    if objective is not None and (method in ("noise", "square", "transfer") or is_search(method)):
        raise ValueError(f"method {method} takes no objective: leave out {objective!r}")


def check_eps(eps: float, norm: str, space: str) -> None:
    if not 0 <= eps < float("inf"):
        raise ValueError(f"epsilon {eps:g}: expected a number of at least 0, such as 8/255")
    if eps > 1 and norm == "linf" and space == "pixel":
        raise ValueError(f"epsilon {eps:g}: pixels lie in [0, 1]; did you mean {eps:g}/255?")


def parse_eps(text: str, name: str = "epsilon") -> float:
    """`8/255` or `0.03` as a number."""
    try:
        numerator, _, denominator = text.partition("/")
        return float(numerator) / (float(denominator) if denominator else 1.0)
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"{name} {text!r}: expected a number such as 8/255 or 0.03") from None


def parse_param(text: str) -> tuple[str, Any]:
    """`key=value`, the value a number, true, false, null or a list of them."""
    key, equals, value = text.partition("=")
    if not equals or not key or not value:
        raise ValueError(f"parameter {text!r}: expected key=value, such as sigma=0.05")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        raise ValueError(f"parameter {text!r}: expected a number, true, false, null or [a, b] after =") from None


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
    adversary: str = "fresh",
    quantize: bool = False,
    protocol: str = "roodbench",
) -> AttackPlan:
    """The adversary on a benchmark: radius in units of its input space, default the benchmark's."""
    if eps is None:
        eps = (bench.eps if norm == "linf" else L2_EPS) / bench.std
    check_eps(eps, norm, bench.space)
    check_method(method)
    tries_of(adversary)
    if quantize and bench.space != "pixel":
        raise ValueError("quantize rounds pixels: this benchmark is in normalised space")
    one_of("strength", strength, STRENGTHS)
    spend = STRENGTHS[strength]
    for name, value in {"steps": steps, "restarts": restarts}.items():
        if value is not None and value < 1:
            raise ValueError(f"{name} {value}: expected at least 1")
    spend = replace(spend, steps=steps or spend.steps, restarts=restarts or spend.restarts)
    fixed = {key: value for key, value in PROTOCOLS[protocol].items() if key in ("step", "keep")}
    spend = replace(spend, **fixed)
    threat = ThreatModel(eps, cast(Literal["linf", "l2"], norm), bench.bounds)
    if is_external(method):
        attack_class(method, threat)  # a missing library or attack shows before anything is computed
    return AttackPlan(threat, method, objective, spend, adversary, quantize)


def device_of(name: str) -> torch.device:
    """`auto` is the GPU where there is one; ValueError for a device this machine lacks."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"unknown device {name!r}: expected auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"device {name!r}: expected auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {name!r}: this machine (or this build of torch) has no CUDA; use --device cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device {name!r}: this machine has cuda:0 to cuda:{torch.cuda.device_count() - 1}")
    return device
