from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

if "PYTEST_XDIST_WORKER" in os.environ:  # workers that share the cores: one thread each, also in what they start
    os.environ["OMP_NUM_THREADS"] = "1"
os.environ["ROODBENCH_WORKERS"] = "1"  # but where a test asks for more
os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the same tests on every machine; benchmarks/gpu.sh is for a GPU

import pytest
import torch
from torch import Tensor, nn

import roodbench
from detectors import Outputs
from tests.pretend import Machine, pretending


def pytest_configure(config: pytest.Config) -> None:
    """SIGTERM and SIGHUP end the tests, and say which was running.

    A command that one of them runs in this process would take the signal for its own and end with 143, so that a limit
    on the time of the tests, as `timeout` sets it, would look like a failure of that one, and the others went on.
    """

    def end(number: int, frame: Any) -> None:
        capture = config.pluginmanager.get_plugin("capturemanager")
        if capture is not None:
            capture.suspend_global_capture(in_=True)
        running = os.environ.get("PYTEST_CURRENT_TEST", "no test")
        print(f"\n{signal.Signals(number).name} ends the tests, {running} was running", file=sys.__stderr__, flush=True)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    found = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    alone = threading.current_thread() is threading.main_thread()
    for number in found if alone else ():
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, end)


def pytest_collection_finish() -> None:
    """What is imported and collected by now stays: no search for garbage looks through it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def private_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Everything cached during the tests goes to a folder of their own."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session", autouse=True)
def unhurried() -> Iterator[None]:
    """No power cut tells a file that lies on the disk from one that will: nothing waits for it."""
    with mock.patch.object(os, "fsync", return_value=None):
        yield


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Detectors that hide noise draw it from the global generator: a test gives the same every time."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def own_modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Modules of a test's own files are gone after it, and so are their folders on the path."""
    base, path, before = str(tmp_path_factory.getbasetemp()), list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(base):
            del sys.modules[name]


@pytest.fixture
def gpu() -> Iterator[Machine]:
    """A machine with a pretend GPU, which counts the waits for it."""
    with pretending() as machine:
        yield machine


@pytest.fixture(scope="session")
def digits() -> roodbench.Benchmark:
    return roodbench.load_benchmark("digits")


@pytest.fixture(scope="session")
def digits_net(private_cache: None) -> roodbench.Classifier:
    return roodbench.load_model("digits-cnn")


@pytest.fixture(scope="session")
def data_root() -> Path:
    root = Path(os.environ.get("ROODBENCH_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (root / "benchmark_imglist" / "cifar10").is_dir():
        pytest.skip(f"no CIFAR-10 data at '{root}': set ROODBENCH_DATA")
    return root


@pytest.fixture(scope="session")
def resnet20(data_root: Path) -> roodbench.Classifier:
    return roodbench.load_model("cifar-resnet20", checkpoint=data_root / "weights" / "cifar10_resnet20.safetensors")


class SmoothNet(nn.Module):
    """A small tanh network in float64: smooth, so finite differences are an oracle for its gradients."""

    def __init__(self, seed: int = 0, classes: int = 5, scale: float = 3.0) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(seed)
        self.conv = nn.Conv2d(2, 6, 3, padding=1).double()
        self.head = nn.Linear(6 * 16, classes).double()
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=g, dtype=torch.double)
        self.conv.weight.data /= 2
        self.head.weight.data *= scale / 10
        self.requires_grad_(False)

    def outputs(self, x: Tensor) -> Outputs:
        h = torch.tanh(self.conv(x)).flatten(1)
        return Outputs(self.head(h), h)

    def forward(self, x: Tensor) -> Tensor:
        return self.outputs(x).logits


@pytest.fixture
def smooth() -> SmoothNet:
    return SmoothNet()


@pytest.fixture
def smooth_images() -> Tensor:
    return torch.rand(6, 2, 4, 4, generator=torch.Generator().manual_seed(7), dtype=torch.double)


class CountingNet(nn.Module):
    """Counts the images that pass through a network, forward and backward."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.forwards, self.backwards = net, 0, 0

    @property
    def head(self) -> nn.Linear:
        return self.net.head

    def outputs(self, x: Tensor) -> Outputs:
        self.forwards += len(x)
        out = self.net.outputs(x)
        if out.logits.requires_grad:
            out.logits.register_hook(self._count)
        return out

    def _count(self, grad: Tensor) -> None:
        self.backwards += len(grad)

    def forward(self, x: Tensor) -> Tensor:
        return self.outputs(x).logits


@pytest.fixture
def counting(smooth: SmoothNet) -> CountingNet:
    return CountingNet(smooth)


def finite_difference(f, x: Tensor, direction: Tensor, h: float = 1e-6) -> Tensor:
    """Central difference of f (B,) along `direction`, per image."""
    return (f(x + h * direction) - f(x - h * direction)) / (2 * h)
