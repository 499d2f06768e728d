"""What a caller may have set before a public call, a module of theirs, and what it holds: as values to compare."""

import gc
import logging
import os
import random
import sys
import warnings

import numpy as np
import torch

import roodbench


def told(*names):
    """A setting of torch by its name, or that torch refuses to tell it."""
    value = torch
    try:
        for name in names:
            value = getattr(value, name)
        return value() if callable(value) else value
    except RuntimeError:
        return "not told"


TORCHS = ("TORCHINDUCTOR_CACHE_DIR",)
"""Set by torch itself, when its compiler is first imported."""
PRECISIONS = ["", "cuda.matmul", "cudnn", "cudnn.conv", "cudnn.rnn", "mkldnn", "mkldnn.matmul", "mkldnn.conv"]


def surroundings():
    """The global state of torch, numpy and Python."""
    precisions = {f"fp32 {p}": (*filter(None, ["backends", *p.split(".")]), "fp32_precision") for p in PRECISIONS}
    if not hasattr(torch.backends, "fp32_precision"):
        precisions = {}
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002
    return {
        "grad": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "anomaly": (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
        "autocast": (torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")),
        "tf32": (told("backends", "cudnn", "allow_tf32"), told("backends", "cuda", "matmul", "allow_tf32")),
        "matmul": told("get_float32_matmul_precision"),
        **{name: told(*path) for name, path in precisions.items()},
        "cudnn": [getattr(torch.backends.cudnn, name) for name in ("enabled", "benchmark", "deterministic")],
        "deterministic": torch.get_deterministic_debug_mode(),
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "torch rng": torch.get_rng_state().tolist(),
        "numpy rng": (kind, keys.tolist(), rest),
        "python rng": random.getstate(),
        "warnings": list(warnings.filters),
        "showwarning": warnings.showwarning,
        "path": list(sys.path),
        "environment": {name: value for name, value in os.environ.items() if name not in TORCHS},
        "folder": os.getcwd(),
        "logging": [
            (log.level, list(log.handlers), log.propagate) for log in map(logging.getLogger, ("", "roodbench"))
        ],
        "collecting": gc.isenabled(),
        "streams": (sys.stdout, sys.stderr),
        "recursion": sys.getrecursionlimit(),
    }


def contents(module):
    """What a caller's module is: modes, parameters and their gradients, buffers, hooks, by part; the very objects."""
    found = {}
    for name, part in module.named_modules():
        hooks = {key: dict(value) for key, value in vars(part).items() if key.endswith("_hooks")}
        tensors = {key: id(value) for key, value in {**part._parameters, **part._buffers}.items()}
        found[name] = (part.training, hooks, tensors)
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        grad = None if tensor.grad is None else tensor.grad.tolist()
        found[f"tensor {name}"] = (tensor.requires_grad, tensor.tolist(), grad, id(tensor.grad))
    return found


class Trained(torch.nn.Module):
    """A network in the middle of its training: dropout, batch norm, gradients of the last step."""

    def __init__(self):
        super().__init__()
        self.body = torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(64, 16), torch.nn.BatchNorm1d(16), torch.nn.ReLU(), torch.nn.Dropout()
        )
        self.head = torch.nn.Linear(16, 6)
        generator = torch.Generator().manual_seed(3)
        for parameter in self.parameters():
            parameter.data.normal_(generator=generator)
        self.body[2].eval()  # a part that the caller has frozen
        self.head.bias.requires_grad_(False)

    def features(self, x):
        return self.body(x)

    def forward(self, x):
        return self.head(self.body(x)).amax(1)

    @property
    def net(self):
        return self


def images(n=4):
    return torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float32)


def noise():
    return torch.Generator().manual_seed(0)


def classifier(module):
    return roodbench.Classifier(module, [0.5], [0.5], name="mine")
