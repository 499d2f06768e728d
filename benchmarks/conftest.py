"""The network, the images and the sizes that all timings share: small on a CPU, large on a GPU."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

import roodbench
from benchmarks.loops import TINY
from roodbench.machine.device import opened
from roodbench.machine.prepare import prepare
from roodbench.models import CIFAR10, IMAGENET, Classifier
from roodbench.models.resnet import ResNet, ResNet18
from roodbench.record.environment import environment

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Setting(NamedTuple):
    """A plain network as peers get it, the same one prepared, and a batch with labels."""

    name: str
    plain: Classifier
    fast: Classifier
    x: Tensor
    y: Tensor


@pytest.fixture(scope="session")
def setting() -> Iterator[Setting]:
    """cifar-resnet20 and 128 images on a CPU, OpenOOD's ResNet-18 and 512 on a GPU, on the device as runs open it.

    The weights and images of ROODBENCH_DATA where it is set, else random ones: the time is the same.
    """
    with opened(DEVICE):
        yield made()


def made() -> Setting:
    """The setting, made once."""
    generator = torch.Generator().manual_seed(0)
    batch = 2 if TINY else 512 if DEVICE.type == "cuda" else 128
    x = torch.rand(batch, 3, 32, 32, generator=generator)
    root = os.environ.get("ROODBENCH_DATA")
    if DEVICE.type == "cuda":
        plain = Classifier(ResNet18(), *CIFAR10, name="openood-resnet18")
    elif root is None:
        plain = Classifier(ResNet(20), *IMAGENET, name="cifar-resnet20")
    else:
        plain = roodbench.load_model(
            "cifar-resnet20", checkpoint=Path(root) / "weights" / "cifar10_resnet20.safetensors"
        )
        x = roodbench.load_benchmark("cifar10", root=root).id_val.shard(0, batch)
    plain, x = plain.to(DEVICE), x.to(DEVICE)
    fast = prepare(plain, x[:64], compile="off" if TINY else "on")
    return Setting(plain.name, plain, fast, x, plain(x).argmax(1))


@pytest.fixture
def timed(benchmark: Any, setting: Setting) -> Callable[..., None]:
    """Time a function: some rounds after warming up, synchronised on a GPU; the record says where and what."""

    def run(what: Callable[[], Any], *, precision: str = "float32", **facts: Any) -> None:
        def synchronised() -> None:
            what()
            if DEVICE.type == "cuda":
                torch.cuda.synchronize()

        where = environment(DEVICE)
        benchmark.extra_info.update(
            device=where.device,
            threads=where.threads,
            versions=where.versions,
            revision=where.revision,
            network=setting.name,
            batch=len(setting.x),
            precision=precision,
            **facts,
        )
        benchmark.pedantic(synchronised, rounds=1 if TINY else 3 if DEVICE.type == "cuda" else 5, warmup_rounds=1)

    return run


def pytest_configure(config: pytest.Config) -> None:
    """Peers and pytest-benchmark warn: no reason to stop. The marker is known without the plugin, too."""
    config.addinivalue_line("filterwarnings", "ignore")
    config.addinivalue_line("markers", "benchmark: a timing, by pytest-benchmark")
    warnings.filterwarnings("default", category=pytest.PytestWarning)  # of the plugin while it reads its records


def pytest_collection_finish(session: pytest.Session) -> None:
    """Before anything is timed: is there a record to compare with, and which timings has it in common with this run?"""
    plugin = session.config.pluginmanager.getplugin("pytest-benchmark")
    if getattr(plugin, "compare", None) and not session.config.option.collectonly:
        stored = {name for record in plugin.compared_mapping.values() for name in record}
        timed = {item.nodeid for item in session.items if item.get_closest_marker("benchmark")}
        for line in in_common(stored, timed):
            session.config.get_terminal_writer().line(line)


def in_common(stored: set[str], timed: set[str]) -> list[str]:
    """A line each for timings that only one side has; UsageError where there is nothing to compare."""
    if not stored:
        raise pytest.UsageError("no stored record to compare with: run once with --benchmark-autosave, then compare")
    if not stored & timed:
        raise pytest.UsageError(f"nothing to compare: the record has {some(stored)}, this run {some(timed)}")
    sides = {"not in the record, so not compared": timed - stored, "in the record alone": stored - timed}
    return [f"{what}: {some(names)}" for what, names in sides.items() if names]


def some(names: set[str]) -> str:
    """A few names and how many more."""
    shown, more = sorted(names)[:4], len(names) - 4
    return (", ".join(shown) or "none") + (f" and {more} more" if more > 0 else "")
