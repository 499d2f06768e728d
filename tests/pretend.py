"""A pretend GPU: tensors on the CPU that say they are on cuda:0, for tests of what a GPU would refuse or wait for.

`pretending()` makes torch believe in a device `cuda`. What is moved or made there is a `Pretend`, which keeps an
ordinary tensor. Every operation reaches `Pretend.__torch_dispatch__`, where tensors of both devices must not meet;
`Machine`, a torch function mode, sees the calls that name a device or a generator. Both count `waits`: the calls for
which a host stands still until a GPU has done all that it was told to do, such as `.item()`, with their places.

`python -m tests.pretend MODULE ARGUMENTS` runs a module on it. What it does not show: other kernels and their rounding,
CUDA graphs, compilation, memory.
"""

from __future__ import annotations

import collections
import runpy
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
ROOT = Path(__file__).parents[1]
OURS = tuple(str(ROOT / folder) for folder in ("attacks", "detectors", "roodbench", "benchmarks", "tests"))

WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2", "unique_dim", "_linalg_eigh"}
"""Operations whose result, or its size, the host must know; a decomposition asks whether it succeeded."""
INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_"}
MOVING = {"copy_", "_to_copy", *INDEXED}
"""Operations that take tensors of both devices."""
LONE = {"cat", "stack"}
"""Operations that take no single number from the CPU among tensors of the GPU, as all others do."""


class Pretend(torch.Tensor):
    """An ordinary tensor `held`, said to be on cuda:0."""

    held: Tensor
    __module__ = "torch"  # by which foolbox knows a tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Pretend:
        made: Pretend = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype, device="cpu"
        )
        made.held = held
        return made

    device = property(lambda self: CUDA)  # type: ignore[assignment]
    is_cuda = property(lambda self: True)  # type: ignore[assignment]
    is_cpu = property(lambda self: False)  # type: ignore[assignment]

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"Pretend({self.held})"

    def numpy(self, **_: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor first.")

    def cpu(self, **_: Any) -> Tensor:
        return moved(self, CPU)

    def tolist(self) -> Any:
        noted("tolist")
        return self.held.tolist()

    def new_tensor(self, data: Any, *, device: Any = None, dtype: Any = None) -> Tensor:
        return moved(self.held.new_tensor(data, dtype=dtype), device or CUDA)

    def data_ptr(self) -> int:
        return self.held.data_ptr()

    def untyped_storage(self) -> Any:
        return self.held.untyped_storage()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = func._schema.name.partition("::")[2], dict(kwargs or {})
        tensors = list(tensors_of((*args, *kwargs.values())))
        check_together(name, tensors)
        count_waits(name, tensors, args)
        if kwargs.get("device") is not None:
            kwargs["device"] = CPU
        found = func(*held_of(args), **{key: held_of(value) for key, value in kwargs.items()})
        if name.endswith("_"):  # in place
            return args[0]
        if isinstance(found, Tensor):
            return Pretend(found)
        return type(found)(map(pretended, found)) if isinstance(found, list | tuple) else found


def tensors_of(values: Iterable[Any]) -> Iterator[Tensor]:
    """The tensors among arguments, and in the lists among them."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from tensors_of(value)


def held_of(value: Any) -> Any:
    """Arguments with ordinary tensors."""
    if isinstance(value, list | tuple):
        return type(value)(map(held_of, value))
    return value.held if isinstance(value, Pretend) else value


def pretended(value: Any) -> Any:
    return Pretend(value) if isinstance(value, Tensor) else value


def check_together(name: str, tensors: list[Tensor]) -> None:
    """RuntimeError, as a GPU's, where tensors of both devices meet."""
    strays = [t for t in tensors if not isinstance(t, Pretend) and (t.ndim or name in LONE)]
    if strays and not (name == "scatter" and not strays[0].any()) and name not in MOVING:  # zeros of older autograd
        shapes = ", ".join(str(tuple(t.shape)) for t in strays)
        raise RuntimeError(f"Expected all tensors to be on the same device: {name} of cuda:0 and of cpu {shapes}")
    if name.startswith("index") and not isinstance(tensors[0], Pretend):
        raise RuntimeError(f"indices should be either on cpu or on the same device as the indexed tensor (cpu): {name}")


def count_waits(name: str, tensors: list[Tensor], args: Any) -> None:
    """Of operations on tensors of the device."""
    chosen = tensors[1 : None if name == "index" else -1] if name in INDEXED else []
    hidden = any(t.dtype in (torch.bool, torch.uint8) or (t.ndim and not isinstance(t, Pretend)) for t in chosen)
    into_host = name == "copy_" and not isinstance(args[0], Pretend)
    onto_device = name == "copy_" and not isinstance(args[1], Pretend) and args[1].ndim and args[2:3] != (True,)
    if name in WAITING or hidden or into_host or onto_device:
        noted(name)


class Moved(torch.autograd.Function):
    """A tensor on the other device; its gradient travels back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.held.clone() if isinstance(x, Pretend) else Pretend(x.detach().clone())

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return held_of(grads[0]) if isinstance(grads[0], Pretend) else Pretend(grads[0])


def moved(x: Tensor, device: Any, *, waits: bool = True) -> Tensor:
    """x on a device, a copy where it is on the other one."""
    if isinstance(x, Pretend) == (torch.device(device).type == "cuda"):
        return x
    if waits:
        noted(f"to {torch.device(device).type}")
    with torch._C.DisableTorchFunction():
        return Moved.apply(x) if x.requires_grad and torch.is_grad_enabled() else Moved.forward(None, x.detach())


class Generator(torch.Generator):
    """The CPU's generator, said to be of a device."""

    kind: torch.device

    def __new__(cls, device: Any = "cpu") -> Generator:
        made = super().__new__(cls)
        made.kind = CUDA if torch.device(device).type == "cuda" else CPU
        return made

    device = property(lambda self: self.kind)  # type: ignore[assignment]


class Machine(TorchFunctionMode):
    """Sees every call of torch's in Python; `waits` counts those that wait for the device, by what and where."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: collections.Counter[str] = collections.Counter()
        self.warns = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = dict(kwargs or {}), getattr(func, "__name__", "")
        first = args[0] if args else None
        if isinstance(first, Tensor) and name in CALLS:
            return CALLS[name](func, *args, **kwargs)
        generator, device = kwargs.get("generator"), kwargs.get("device")
        place = torch.device(device) if device is not None else first.device if isinstance(first, Tensor) else CPU
        if isinstance(generator, torch.Generator) and generator.device.type != place.type:
            raise RuntimeError(f"Expected a '{place.type}' generator but found '{generator.device.type}' in {name}")
        if device is None:
            return func(*args, **kwargs)
        needed = kwargs.pop("requires_grad", False)
        made = func(*(held_of(a) for a in args), **{**kwargs, "device": CPU})
        if isinstance(made, Tensor):
            made = moved(made, place, waits=name in ("tensor", "as_tensor", "asarray", "new_tensor"))
        return made.requires_grad_() if needed else made


def to(func: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """`Tensor.to` with a device, a type, another tensor, or a device and a type."""
    other = [a for a in (*args, kwargs.get("other")) if isinstance(a, Tensor)]
    kinds = [a for a in (*args, kwargs.get("dtype"), *(o.dtype for o in other)) if isinstance(a, torch.dtype)]
    places = [a for a in (*args, kwargs.get("device"), *(o.device for o in other)) if isinstance(a, str | torch.device)]
    if places:
        unwaited = bool(kwargs.get("non_blocking")) or args[2:3] == (True,)
        x = moved(x, places[0], waits=not (unwaited and torch.device(places[0]).type == "cuda"))
    rest = {key: kwargs[key] for key in ("memory_format", "copy") if kwargs.get(key)}
    return func(x, *kinds[:1], **rest) if kinds or rest else x  # type: ignore[no-any-return]


def copied(func: Any, x: Tensor, memo: dict[int, Any]) -> Any:
    if not isinstance(x, Pretend):
        return func(x, memo)
    made = Pretend(x.held.detach().clone()).requires_grad_(x.requires_grad)
    if getattr(x, "_is_param", False):
        made._is_param = True  # type: ignore[attr-defined]
    return memo.setdefault(id(x), made)


def embedding_bag(func: Any, index: Tensor, bank: Tensor, **kwargs: Any) -> Tensor:
    """Without a gradient: its C++ code looks at memory that a `Pretend` has not."""
    found = func(held_of(index), held_of(bank), **kwargs)
    return pretended(found) if isinstance(bank, Pretend) else found


def setting(func: Any, x: Tensor, value: Tensor) -> None:
    """`tensor.data = value`: of a `Pretend`, what it holds too."""
    func(x, value)
    if isinstance(x, Pretend) and isinstance(value, Pretend):
        x.held = value.held


CALLS: dict[str, Callable[..., Any]] = {
    "to": to,
    "cuda": lambda func, x, *_, **__: moved(x, CUDA),
    "embedding_bag": embedding_bag,
    "__deepcopy__": copied,
    "__set__": setting,
}
"""Calls on tensors that need to know of both devices."""
machine: Machine | None = None

TOLD: dict[str, Any] = {
    "is_available": lambda: True,
    "device_count": lambda: 1,
    "get_device_name": lambda *_: "a pretend GPU",
    "is_bf16_supported": lambda **_: True,
    "mem_get_info": lambda *_: (2**33, 2**34),
    "get_per_process_memory_fraction": lambda *_: 1.0,
    "current_device": lambda: 0,
    "memory_allocated": lambda *_: 0,
    "synchronize": lambda *_: None,
    "empty_cache": lambda: None,
    "get_rng_state": lambda *_: torch.get_rng_state(),
    "set_rng_state": lambda *_: None,
    "set_sync_debug_mode": lambda mode: setattr(machine, "warns", mode == "warn"),
    "max_memory_allocated": lambda *_: 2**20,
}
"""What torch.cuda says."""


def noted(what: str) -> None:
    """Count a wait at the innermost line of this project's."""
    if machine is None:
        return
    if machine.warns:
        warnings.warn("called a synchronizing CUDA operation", stacklevel=2)
    frame = sys._getframe()
    while frame.f_back is not None and not is_ours(frame.f_code.co_filename):
        frame = frame.f_back
    file = Path(frame.f_code.co_filename)
    place = file.relative_to(ROOT) if file.is_relative_to(ROOT) else file.name
    machine.waits[f"{what} at {place}:{frame.f_lineno}, {frame.f_code.co_name}"] += 1


def is_ours(file: str) -> bool:
    return file.startswith(OURS) and file != __file__


@contextmanager
def pretending() -> Iterator[Machine]:
    """A machine with a GPU, for the length of the block."""
    global machine
    overwrites = torch.__future__.get_overwrite_module_params_on_conversion()
    with ExitStack() as stack:
        for name, told in TOLD.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, told))
        stack.enter_context(mock.patch.object(torch, "Generator", Generator))
        torch.__future__.set_overwrite_module_params_on_conversion(True)  # a moved module gets new parameters
        stack.callback(torch.__future__.set_overwrite_module_params_on_conversion, overwrites)
        machine = stack.enter_context(Machine())
        try:
            yield machine
        finally:
            machine = None


if __name__ == "__main__":
    sys.argv[:] = sys.argv[1:]
    with pretending():
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
