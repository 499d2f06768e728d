"""Passes that fit into memory: the measured model, and a run that goes on when memory runs out."""

import logging

import pytest
import torch
from torch import nn

import detectors
import roodbench
from attacks import out_of_memory
from detectors import Detector, Outputs
from roodbench.engine.errors import EvaluationError
from roodbench.machine import memory
from roodbench.machine.memory import fitting_images, halve, saved_bytes, within_memory
from roodbench.machine.prepare import Prepared
from roodbench.models import Classifier


class Small(nn.Module):
    """A memory that holds the passes of `room` images."""

    def __init__(self, net, room, error):
        super().__init__()
        self.net, self.room, self.error, self.largest = net, room, error, 0

    @property
    def head(self):
        return self.net.head

    def outputs(self, x):
        if len(x) > self.room:
            raise self.error
        self.largest = max(self.largest, len(x))
        return self.net.outputs(x)

    def forward(self, x):
        return self.outputs(x).logits


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    MemoryError(),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
def test_what_says_that_memory_ran_out(error):
    assert out_of_memory(error)
    assert not out_of_memory(RuntimeError("shapes do not match"))


@pytest.mark.parametrize(
    "error",
    [pytest.param(OUT_OF_MEMORY[0], marks=pytest.mark.slow), OUT_OF_MEMORY[1]],
    ids=["of the GPU", "of the CPU"],
)
def test_a_run_out_of_memory_goes_on_with_smaller_passes_and_the_same_scores(error, digits_net, caplog):
    bench = roodbench.load_benchmark("digits", limit=12).only(["noise"])

    def scores(net):
        few = {"copies": 9, "chunk": 96}
        ross = detectors.create("ross", net, base="gen", sigma=0.1, **few).fit(bench.id_train, bench.id_val)
        if isinstance(net, Small):
            net.room = 30
        return roodbench.evaluate(ross, bench, method="pgd", steps=1, restarts=1, check=False).scores

    plain = scores(digits_net)
    with caplog.at_level(logging.WARNING, "roodbench"):
        small = scores(Small(digits_net, 10**9, error))
    assert "ross(gen): out of memory, going on with 48 images per pass" in caplog.text
    assert "going on with 24 images per pass" in caplog.text
    for name, tensor in plain.items():
        torch.testing.assert_close(small[name], tensor)


def test_out_of_memory_with_one_image_is_an_error_that_names_the_detector(digits_net, monkeypatch):
    for check in ("check_network", "note_doubts", "check_needs", "check_fitted"):
        monkeypatch.setattr("roodbench.api." + check, lambda *_: None)
    bench = roodbench.load_benchmark("digits", limit=12).only(["noise"])
    detector = detectors.create("ross", digits_net, base="gen", sigma=0.1).fit(bench.id_train, bench.id_val)
    detector.base.net = Small(digits_net, 0, MemoryError())
    with pytest.raises(roodbench.EvaluationError, match=r"ross\(gen\): out of memory with one image per pass"):
        roodbench.evaluate(detector, bench, steps=2, check=False)


def test_other_errors_are_not_taken_for_memory():
    calls = []

    def compute():
        calls.append(1)
        raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        within_memory(compute, Detector(), "d")
    assert len(calls) == 1
    assert halve(Detector()) is None


class Convolutions(nn.Module):
    """Under autograd an image keeps its own pixels for the first convolution and c planes for each tanh."""

    def __init__(self, c):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, c, 3, padding=1, bias=False), nn.Linear(c, 2)

    def features(self, x):
        return torch.tanh(torch.tanh(self.conv(x))).mean((2, 3))


def test_the_memory_model_counts_what_a_backward_pass_needs(monkeypatch):
    x = torch.rand(4, 3, 8, 8)
    net = Classifier(Convolutions(5), [0.0] * 3, [1.0] * 3, name="c")
    fast = roodbench.prepare(net, x, compile="off")
    body = fast.backbone.body
    per_image = saved_bytes(body, x[:3]) - saved_bytes(body, x[:2])
    assert per_image == (3 + 2 * 5) * 64 * 4  # the convolution's input and both outputs of tanh
    for free, most in ((10**12, 4096), (4 * per_image * 100, 64), (per_image, 1), (0, 1)):
        monkeypatch.setattr(memory, "free_memory", lambda device, free=free: free)
        assert fitting_images(body, x) == most
        backbone = roodbench.prepare(net, x, compile="off").backbone
        assert (backbone.batch, backbone.held) == (min(most, 256), most)


def test_free_memory_is_positive():
    assert memory.free_memory(torch.device("cpu")) > 2**20


def test_outputs_in_parts(digits_net):
    """More images than fit into one pass are no matter without gradients either."""
    x = torch.rand(9, 1, 8, 8)
    fast = roodbench.prepare(digits_net, x, compile="off")
    fast.backbone.batch = 2
    with torch.no_grad():
        assert isinstance(fast.outputs(x), Outputs)
        torch.testing.assert_close(fast(x), digits_net(x))


@pytest.mark.parametrize("search", [False, True], ids=["fit", "search"])
def test_fitting_goes_on_with_smaller_passes_too(search, tmp_path, monkeypatch, caplog):
    """In a run, whose network has more than it once it is loaded."""
    run, asked = Prepared._run, []

    def small(self, x):
        asked.append(len(x))
        if len(x) > 20 and len(asked) > 8:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return run(self, x)

    config = roodbench.RunConfig(detector="knn", search=search, attack="none", limit=12, ood="noise", device="cpu")
    plain = roodbench.run(config, out=tmp_path / "large")[0].scores
    monkeypatch.setattr(Prepared, "_run", small)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name, scores in roodbench.run(config, out=tmp_path / "small")[0].scores.items():
        assert torch.allclose(scores, plain[name], rtol=1e-5)
    assert f"knn, {'search' if search else 'fit'}: out of memory, going on with" in caplog.text


def test_fitting_that_no_pass_is_small_enough_for(tmp_path, monkeypatch):
    config = roodbench.RunConfig(detector="knn", attack="none", limit=12, ood=("noise",), device="cpu")

    def full(*_):
        raise MemoryError

    monkeypatch.setattr(detectors.KNN, "fit", full)
    with pytest.raises(EvaluationError, match=r"^knn, fit: out of memory with one image per pass"):
        roodbench.run(config, out=tmp_path)
