"""Every setting of a run and its default, in one place. Importing it imports no torch."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from .protocols import EPS, PARAMS, PROTOCOLS
from .threats import CORRUPTIONS, attack_under
from .values import Bytes, idle_setting, typed, written

ATTACKING = (
    *("method", "objective", "strength", "budget", "eps", "norm", "steps", "restarts", "threat", "quantize"),
    *("precision", "keep_images"),
)
"""Settings of the adversary, which nothing honours where there is none."""
SPENDING = frozenset({"steps", "restarts", "strength", "budget", "precision"})
"""Those of them that not every method honours."""
NETWORK = ("model_args", "mean", "std", "size", "head", "model_dir", "threat_model", "download", "trust_checkpoint")
"""What may be said of a network besides its name and its checkpoint."""


@dataclass(frozen=True)
class RunConfig:
    """What `python -m roodbench` runs. None stands for the benchmark's own default.

    Lists may be given as on the command line, or one alone: detector="ross,pro", eps="8/255", eps=0.03. ValueError,
    naming the value and what was expected, for a setting of another type, that does not exist or that nothing honours.
    """

    detector: tuple[str, ...] = ("ross",)
    base: str = "gen"
    params: Mapping[str, Any] = field(default_factory=dict)
    search: bool = False
    attack: str = "both"
    method: str = "suite"
    objective: str | None = None
    strength: str = "quick"
    budget: int | None = None
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
    train_limit: int | None = None
    full_spectrum: bool = False
    ood: tuple[str, ...] | None = None
    model: str | None = None
    checkpoint: str | None = None
    trust_checkpoint: bool = False
    model_args: Mapping[str, Any] = field(default_factory=dict)
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    size: int | None = None
    head: str | None = None
    denoiser: str | None = None
    denoiser_checkpoint: str | None = None
    model_dir: str | None = None
    threat_model: str | None = None
    download: bool = False
    limit: int = 100
    batch_size: int | None = None
    memory: Bytes | None = None
    device: str = "auto"
    precision: str = "auto"
    compile: str = "auto"
    seed: int = 0
    keep_images: bool = False

    def __post_init__(self) -> None:
        from attacks import DIRECTIONS, STRENGTHS, check_method
        from detectors import DETECTORS

        from ..data.load import check_benchmark, downloads
        from ..models.denoiser import check_denoiser
        from ..models.load import check_model, check_said, option_of
        from .plugins import check_base, check_name

        kinds = {f.name: f.type for f in fields(self)}
        for name, value in typed(kinds, {name: getattr(self, name) for name in kinds}).items():
            object.__setattr__(self, name, value)
        if self.detector == ("all",):
            object.__setattr__(self, "detector", tuple(DETECTORS))
        one_of("protocol", self.protocol, PROTOCOLS)
        for name in self.detector:
            check_name(name)
        check_base(self.base)
        self._follow_protocol()
        object.__setattr__(self, "attack", attack_under(self.threat, self.attack))
        one_of("attack", self.attack, DIRECTIONS)
        check_method(self.method, self.objective)
        if self.quantize and self.space != "pixel":
            raise ValueError("quantize rounds pixels: leave out --space normalized")
        check_kept(self.keep_images, self.space)
        one_of("strength", self.strength, STRENGTHS)
        one_of("norm", self.norm, ("linf", "l2"))
        one_of("space", self.space, ("pixel", "normalized"))
        one_of("precision", self.precision, ("auto", "float32", "bfloat16"))
        one_of("compile", self.compile, ("auto", "on", "off"))
        check_benchmark(self.benchmark)
        fetching = downloads(self.benchmark)
        if self.download and self.model is None and not fetching:
            raise ValueError(f"benchmark {self.benchmark} is not downloaded: leave out --download")
        said = [name for name in NETWORK if getattr(self, name) and not (name == "download" and fetching)]
        if self.model is not None:
            check_model(self.model)
            check_said(self.model, said)
        elif said:
            raise ValueError(f"{option_of(said[0])} is said of a network: give --model too")
        check_denoiser(self.denoiser, self.denoiser_checkpoint, self.space)
        check_budget(self.budget, self.steps, self.restarts)
        for name in ("steps", "restarts", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name.replace('_', '-')} {value}: expected at least 1")
        if self.limit != 0 and self.limit < 2:
            raise ValueError(f"limit {self.limit}: expected at least 2 images per population, or 0 for all")
        check_seed(self.seed)
        for eps in self.eps or ():
            check_eps(eps, self.norm, self.space)
        self.refuse_idle()
        self._check_params()

    def refuse_idle(self, spelt: Collection[str] = (), *, attacking: bool = False) -> None:
        """ValueError for a setting that nothing honours and that is not its default, or is among those `spelt` out.

        `attacking`: the settings of the adversary, too, where the run attacks nothing. A protocol's own are its wish.
        """
        from attacks import honoured
        from detectors import WRAPPERS, base_of, class_of

        from .plugins import is_plugin

        who, fixed = ", ".join(self.detector), {**PROTOCOLS[self.protocol], "eps": EPS.get(self.protocol)}
        given = {f.name for f in fields(self) if getattr(self, f.name) != f.default or f.name in spelt}
        given -= {name for name in fixed if getattr(self, name, None) == fixed[name]}
        if "base" in given and not any(is_plugin(name) or name in WRAPPERS for name in self.detector):
            raise ValueError(f"base {self.base}: none of {who} wraps a base score")
        classes = [class_of(name) for name in self.detector if not is_plugin(name)]
        wraps = any(name in WRAPPERS for name in self.detector)
        if wraps and "search" in given and is_plugin(self.base):
            raise ValueError(f"search: the published grids are not over {self.base}, leave out --search")
        inner = [base_of(self.base)] if wraps and not is_plugin(self.base) else []
        if "search" in given and not any(cls.grid_over(self.base) for cls in [*classes, *inner]):
            raise ValueError(f"search: {who} has no published grid, leave out --search")
        idle = dict.fromkeys(sorted(SPENDING - honoured(self.method)), "method")
        if self.threat == CORRUPTIONS:
            idle |= dict.fromkeys(("attack", "full_spectrum", *ATTACKING), "threat")
            given -= {"threat"} | ({"attack"} - set(spelt))
        elif attacking and self.attack == "none":
            idle |= dict.fromkeys(ATTACKING, "attack")
        for name in (name for name in idle if name in given):
            value = True if name == "attack" else getattr(self, name)  # which is none here, whatever was given
            raise idle_setting(name, value, f"{idle[name]} {getattr(self, idle[name])}")

    def _check_params(self) -> None:
        from detectors import unknown

        from .plugins import parameters_of

        if self.params.get("sigma") == 0:
            raise ValueError("sigma 0: copies without noise are all the same, expected a number above 0")
        for key in self.params:
            takers = [parameters_of(name, self.base) for name in self.detector]
            if not any(key in taken for taken in takers):
                known = list(dict.fromkeys(k for taken in takers for k in taken))
                if not known:
                    raise ValueError(f"parameter {key!r}: {', '.join(self.detector)} has no keyword-only argument")
                raise ValueError(unknown(f"parameter of {', '.join(self.detector)}", key, known))

    def _follow_protocol(self) -> None:
        """Take the settings that the protocol fixes; ValueError where another one was given."""
        if self.budget is not None and "steps" in (fixed := PROTOCOLS[self.protocol]):
            raise ValueError(
                f"protocol {self.protocol} fixes steps = {fixed['steps']}: leave out --budget {self.budget}"
            )
        defaults = {f.name: f.default for f in fields(self)}
        for key, value in PROTOCOLS[self.protocol].items():
            if key not in defaults:
                continue
            if getattr(self, key) != defaults[key]:
                check_fixed(self.protocol, key, getattr(self, key))
            object.__setattr__(self, key, value)
        from detectors import KNOWN

        from .plugins import parameters_of

        taken = {key for name in self.detector for key in parameters_of(name, self.base)}
        symbols = {symbol: name for cls in KNOWN.values() for symbol, name in cls.symbols.items()}
        names = [key.removeprefix("base.") for key in self.params]
        given = {symbols.get(name, name) for name in names}
        preset = PARAMS.get(self.protocol, {})
        params = {key: value for key, value in preset.items() if key in taken and key not in given}
        object.__setattr__(self, "params", {**params, **self.params})
        object.__setattr__(self, "eps", self.eps or EPS.get(self.protocol))


def check_fixed(protocol: str, key: str, value: Any) -> None:
    """ValueError for a setting which the protocol fixes at something else."""
    fixed = PROTOCOLS.get(protocol, {})
    if key in fixed and value != fixed[key]:
        raise ValueError(f"protocol {protocol} fixes {key} = {fixed[key]}: leave out --{key} {value}")


def check_budget(budget: int | None, steps: int | None, restarts: int | None) -> None:
    """ValueError for an invalid budget, or one given beside what it chooses."""
    if budget is None:
        return
    if budget < 1:
        raise ValueError(f"budget {budget}: expected at least 1 network pass per image")
    for name, value in {"steps": steps, "restarts": restarts}.items():
        if value is not None:
            raise ValueError(f"budget {budget} chooses the {name}: leave out --{name} {value}, or --budget {budget}")


def refuse(given: Mapping[str, Any], who: str) -> None:
    """ValueError for a setting of a run that is not its default, which `who` does not honour."""
    defaults = {f.name: f.default for f in fields(RunConfig)}
    for name, value in given.items():
        if value != defaults[name]:
            raise idle_setting(name, value, who)


def one_of(kind: str, value: str, choices: Any) -> None:
    """ValueError for a value that is not among the choices, naming the nearest."""
    if value not in choices:
        from detectors import unknown

        raise ValueError(unknown(kind, value, choices))


def check_eps(eps: float, norm: str, space: str) -> None:
    """ValueError for an invalid radius, or one larger than any pixel can use."""
    if not 0 <= eps < float("inf"):
        raise ValueError(f"epsilon {written(eps)}: expected a number of at least 0, such as 8/255")
    if eps > 1 and norm == "linf" and space == "pixel":
        raise ValueError(f"epsilon {eps:g}: pixels lie in [0, 1]; did you mean {eps:g}/255?")


def check_kept(keep_images: bool, space: str) -> None:
    """ValueError where images are to be kept that are not in pixels."""
    if keep_images and space != "pixel":
        raise ValueError("keep-images keeps pixels: leave out --space normalized")


def check_seed(seed: int) -> None:
    """ValueError for a seed that no generator takes."""
    if not 0 <= seed < 2**63:
        raise ValueError(f"seed {seed}: expected a whole number of at least 0, below 2**63")


def parse_params(texts: Sequence[str]) -> dict[str, Any]:
    """The parameters in several `key=value`, each once."""
    found: dict[str, Any] = {}
    for text in texts:
        key, value = parse_param(text)
        if key in found:
            raise ValueError(f"parameter {key} is given twice: {found[key]} and {value}")
        found[key] = value
    return found


def parse_args(texts: Sequence[str]) -> dict[str, Any]:
    """The arguments in several `key=value`, each once; a value that is no number, true, false, null or list is text."""
    found: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key or not value:
            raise ValueError(f"model-arg {text!r}: expected key=value, such as depth=28")
        if key in found:
            raise ValueError(f"model-arg {key} is given twice: {found[key]} and {value}")
        try:
            found[key] = json.loads(value)
        except json.JSONDecodeError:
            found[key] = value
    return found


def parse_param(text: str) -> tuple[str, Any]:
    """`key=value`, the value a number, true, false, null or a list of them."""
    key, equals, value = text.partition("=")
    if not equals or not key or not value:
        raise ValueError(f"parameter {text!r}: expected key=value, such as sigma=0.05")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        raise ValueError(f"parameter {text!r}: expected a number, true, false, null or [a, b] after =") from None
