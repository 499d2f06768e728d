"""What the options of a command line mean: settings, and which of them were spelt out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..setup.config import RunConfig, check_fixed, parse_args, parse_params
from .numbers import whole
from .options import Context


def spelt_out(context: Context) -> dict[str, Any]:
    """The options that the command line gives, also where it gives the default."""
    return {
        key: value
        for key, value in context.params.items()
        if (source := context.get_parameter_source(key)) is not None and source.name == "COMMANDLINE"
    }


def run_config(given: Mapping[str, Any]) -> RunConfig:
    """The settings of a run from options; those that a verb does not take keep their defaults."""
    taken = {name: given[name] for name in RunConfig.__dataclass_fields__ if name in given}
    taken["params"] = parse_params(given.get("param") or [])
    taken["model_args"] = parse_args(given.get("model_arg") or [])
    size = given.get("batch_size", "auto")
    taken["batch_size"] = None if size == "auto" else whole("batch-size", size, "auto or a whole number")
    return RunConfig(**taken)


def check_protocol(context: Context) -> None:
    """ValueError for an option that contradicts the protocol, also where a default is spelt out: that is a wish too."""
    for key, value in spelt_out(context).items():
        check_fixed(context.params["protocol"], key, value)


def check_spelt(context: Context, config: RunConfig, *, attacking: bool = True) -> None:
    """ValueError for an option of the command line that nothing honours, also where it gives the default."""
    from ..data.load import EMBEDDED, reads_root

    spelt = spelt_out(context)
    if "data_root" in spelt and not reads_root(config.benchmark):
        why = "is embedded, it reads no images" if config.benchmark in EMBEDDED else "reads nothing from a data root"
        raise ValueError(f"benchmark {config.benchmark} {why}: leave out --data-root {spelt['data_root']}")
    config.refuse_idle(spelt, attacking=attacking)


def one_format(format: str, known: Iterable[str]) -> None:
    """ValueError for an unknown format."""
    known = list(known)
    if format not in known:
        raise ValueError(f"unknown format {format!r}: expected one of {', '.join(known)}")
