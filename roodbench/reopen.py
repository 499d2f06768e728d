"""A finished run, opened again from its record through the one door, `Setting`: the same network, the same images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any

from .machine.device import opened
from .record.record import Record
from .setup.code import NAMING, is_code
from .setup.config import RunConfig
from .setup.setting import Setting
from .store.users import here


@contextmanager
def reopened(
    record: Record, kept: Mapping[str, Any], places: Mapping[str, Any], *, trust_code: bool = False
) -> Iterator[Setting]:
    """The setting of a finished run on an open device, nothing downloaded.

    `kept` are the settings that began the run, where its manifest has them, else the record's; `places` those that are
    others now: data_root, checkpoint, denoiser_checkpoint, model_dir, device. ValueError where its network or images
    are others now, and for code that it names (also checkpoints that hold some), unless `trust_code`.
    """
    given = {f.name: kept[f.name] for f in fields(RunConfig) if f.name in kept}
    if "detector" not in given or "benchmark" not in given:
        raise ValueError("the record does not say which run it is of: `roodbench run` makes one that does")
    named = [text for name in NAMING if is_code(name, text := str(given.get(name))) or text.endswith(".toml")]
    named += [str(name) for name in given["detector"] if ":" in str(name)]
    named += ["trust_checkpoint"] if given.get("trust_checkpoint") else []
    if named and not trust_code:
        raise ValueError(f"the record names what may run code, {named[0]!r}: give --trust-code if you trust it")
    own = {"download": False, "device": "auto", **{k: v for k, v in places.items() if v is not None}}
    config = replace(RunConfig(**{**given, "download": False, "device": "auto"}), **own)
    if config.space != "pixel":
        raise ValueError(f"space {config.space}: figures of what is near an image are in pixels")
    with opened(config.device) as device, here():
        setting = Setting(config, device)
        setting.compile(0.0)
        compare(record, setting)
        yield setting


def compare(record: Record, setting: Setting) -> None:
    """ValueError where network or images are not the record's."""
    kept, now = record.config.get("network_sha256"), setting.network["sha256"]
    if kept != now:
        said = "does not say which network it was" if kept is None else "is of another network of that name"
        raise ValueError(f"the record {said} ({setting.plain.name} has sha256 {now[:12]}): run it again")
    for name, entry in setting.bench.description().items():
        old = record.data.get(name, {})
        if (old.get("images"), old.get("sha256")) != (entry["images"], entry["sha256"]):
            raise ValueError(f"{name} has other images now than in the record: run it again")
