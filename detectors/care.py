"""What a caller gives is left as it was: the modules that are scored, and the global state of torch, numpy, Python."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


@contextmanager
def in_eval(module: Any) -> Iterator[None]:
    """A module in eval mode, so that dropout and batch norm do not change its scores; every part's mode is put back."""
    modes = [(part, getattr(part, "training", False)) for part in modules_of(module)]
    if not any(training for _, training in modes):
        yield
        return
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            if part.training != training:
                part.train(training)  # a class may do more than set the flag
        for part, training in modes:
            if part.training != training:
                part.training = training


@contextmanager
def borrowed(module: nn.Module) -> Iterator[None]:
    """A caller's module for as long as it is evaluated: in eval mode, and as it was at the end, also after an error.

    That is every part's mode, its hooks, buffers and parameters, with `requires_grad` and `grad` of these. Parameters
    are not frozen: a detector may need their gradients, and an attack that asks for the image's gradient alone computes
    no other (measured on a ResNet-20: 4% of the time of a pass and no memory).
    """
    with ExitStack() as stack:
        for part in modules_of(module):
            stack.callback(keep_tables(part))
        for parameter in module.parameters():
            stack.callback(keep_grad(parameter))
        stack.enter_context(in_eval(module))
        yield


def modules_of(module: Any) -> list[nn.Module]:
    return list(module.modules()) if isinstance(module, nn.Module) else []


def keep_tables(part: nn.Module) -> Callable[[], None]:
    """A function that puts back the hooks, parameters and buffers of a module without its parts.

    This package's own detectors change no buffer but in `fit`; theirs, a bank of features say, are not copied.
    """
    hooks = {name: dict(value) for name, value in vars(part).items() if name.endswith("_hooks")}
    ours = type(part).__module__.partition(".")[0] == __name__.partition(".")[0]
    tables: list[dict[str, Any]] = [] if ours else [part._parameters, part._buffers]
    kept = [(table, dict(table)) for table in tables]
    values = [keep_value(tensor) for _, own in kept for tensor in own.values() if tensor is not None]

    def put_back() -> None:
        for name, registered in hooks.items():
            if dict(vars(part)[name]) != registered:
                vars(part)[name].clear()
                vars(part)[name].update(registered)
        for table, own in kept:
            for name, tensor in own.items():
                table[name] = tensor
        for value in values:
            value()

    return put_back


def keep_value(tensor: Tensor) -> Callable[[], None]:
    """A function that puts back a tensor's values, in the memory that they were in."""
    memory, value = tensor.data, tensor.detach().clone()

    def put_back() -> None:
        if tensor.data_ptr() != memory.data_ptr():
            tensor.data = memory
        if not torch.equal(tensor, value):
            with torch.no_grad():
                tensor.copy_(value)

    return put_back


def keep_grad(parameter: nn.Parameter) -> Callable[[], None]:
    """A function that puts back whether a parameter has a gradient, and which."""
    wanted, grad = parameter.requires_grad, parameter.grad
    value = None if grad is None else keep_value(grad)

    def put_back() -> None:
        parameter.requires_grad_(wanted)
        parameter.grad = grad
        if value is not None:
            value()

    return put_back


@contextmanager
def usual_state(device: str = "cpu") -> Iterator[None]:
    """Torch as it starts, in float32 and nothing less; at the end, all of it is as the caller had it.

    Gradients on, no inference mode, anomaly detection or autocast, float32 by default and without TF32 or bfloat16
    inside, nothing on another default device than `device` or the CPU; convolutions of cuDNN that repeat themselves.
    Put back are these, cuDNN's flags, whether algorithms are deterministic, the number of threads, the random states of
    torch, numpy and Python, and the filters of warnings.
    """
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        for put_back in (*keep_random(), *keep_settings()):
            stack.callback(put_back)
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.autograd.set_detect_anomaly(False))
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type not in ("cpu", device):
            stack.enter_context(torch.device("cpu"))
        torch.set_default_dtype(torch.float32)
        use_full_float32()
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
        yield


def keep_random() -> list[Callable[[], None]]:
    """Functions that put back the states of the global generators."""
    kept, drawn, own = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    found: list[Callable[[], None]] = [
        lambda: torch.set_rng_state(kept),
        lambda: np.random.set_state(drawn),  # noqa: NPY002
        lambda: random.setstate(own),
    ]
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        on_cuda = torch.cuda.get_rng_state_all()
        found.append(lambda: torch.cuda.set_rng_state_all(on_cuda))
    return found


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The global generators of torch, numpy and Python from a seed on; at the end they are as the caller had them.

    For code of users that draws from them where it is made or fitted, as `nn.Linear` does its weights.
    """
    with ExitStack() as stack:
        for put_back in keep_random():
            stack.callback(put_back)
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        random.seed(seed)
        yield


def keep_settings() -> list[Callable[[], None]]:
    """Functions that put back torch's global settings."""
    cudnn, threads, dtype = torch.backends.cudnn, torch.get_num_threads(), torch.get_default_dtype()
    flags = {name: getattr(cudnn, name) for name in ("enabled", "benchmark", "deterministic")}
    strict = are_deterministic()
    graded, place = torch.is_grad_enabled(), torch.get_default_device()
    anomaly = torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()

    def put_back() -> None:
        torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)
        if are_deterministic() != strict:  # the call imports a compiler
            torch.use_deterministic_algorithms(strict[0], warn_only=strict[1])
        torch.set_grad_enabled(graded)
        torch.autograd.set_detect_anomaly(*anomaly)
        for name, value in flags.items():
            setattr(cudnn, name, value)
        if torch.get_default_device() != place:
            torch.set_default_device(None if place.type == "cpu" else place)

    return [put_back, keep_precision()]


def are_deterministic() -> tuple[bool, bool]:
    """Whether torch refuses algorithms that are not deterministic, and whether it only warns of them."""
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def precisions() -> list[Any]:
    """The places where torch (from 2.9 on) says how float32 is computed, the general one first."""
    found: list[Any] = [torch.backends, torch.backends.cuda.matmul]
    for library in (torch.backends.cudnn, torch.backends.mkldnn):
        found += [library, *(getattr(library, name, None) for name in ("matmul", "conv", "rnn"))]
    return [place for place in found if hasattr(place, "fp32_precision")]


def older_precision() -> tuple[bool, bool, str] | None:
    """What torch says of TF32 in its older way; None where it refuses to, after the newer one was used."""
    backends = torch.backends
    try:
        return backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32, torch.get_float32_matmul_precision()
    except RuntimeError:
        return None


def use_older(cudnn: bool, matmul: bool, precision: str) -> None:
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, cudnn
    torch.set_float32_matmul_precision(precision)  # last: the flag alone knows no "medium"


def keep_precision() -> Callable[[], None]:
    """A function that puts back how float32 is computed."""
    older, places = older_precision(), [(place, place.fp32_precision) for place in precisions()]

    def put_back() -> None:
        if older is not None:
            use_older(*older)
        for place, value in places:
            place.fp32_precision = value

    return put_back


def use_full_float32() -> None:
    """Compute float32 in float32: said in the older way, which the newer one overrules where it was used."""
    older = older_precision()
    for place in precisions():
        place.fp32_precision = "ieee" if older is None else "none"
    if older is not None:
        use_older(False, False, "highest")


def is_full_float32() -> bool:
    """Whether float32 is computed in nothing less on any back end."""
    if (older := older_precision()) is not None:
        return older == (False, False, "highest")
    return all(place.fp32_precision == "ieee" for place in precisions())
