"""Where a result was made."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from detectors.care import is_full_float32

from ..store.identity import PACKAGES, code_version


@dataclass(frozen=True)
class Environment:
    """Versions, device, threads and the code's revision."""

    python: str
    versions: dict[str, str | None]
    platform: str
    device: str
    device_type: str
    cpus: int | None
    threads: int
    tf32: bool
    revision: str | None
    code: str


def environment(device: torch.device) -> Environment:
    """Where a result is made, for its record."""
    packages = ("roodbench", "torch", "numpy", "scipy", "scikit-learn", "pillow", "safetensors")
    return Environment(
        python=platform.python_version(),
        versions={**{name: installed(name) for name in packages}, "torch": str(torch.__version__)},
        platform=platform.platform(),
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else processor(),
        device_type=device.type,
        cpus=os.cpu_count(),
        threads=torch.get_num_threads(),
        tf32=not is_full_float32(),
        revision=revision(),
        code=code_version(*PACKAGES),
    )


@cache
def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@cache
def processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@cache
def revision() -> str | None:
    """The git commit of a source checkout (with `+` where it was modified), None for an installed package.

    Asked once: what is imported is that of then.
    """
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        run = ["git", "-C", str(root), "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"]
        return subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
