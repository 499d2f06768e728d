"""What is asked of a network besides its name, and what a source of networks gives."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..store.files import replacing
from ..store.trust import check_cache
from ..store.users import described
from .checkpoint import read_state, stripped
from .weights import put_weights

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CIFAR10 = ((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616))
CIFAR100 = ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761))
OPENOOD = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
"""Mean and standard deviation per channel that published weights were trained with."""
Normalisation = tuple[Sequence[float], Sequence[float]]


@dataclass(frozen=True)
class Wanted:
    """What is asked of a network besides its name."""

    checkpoint: Path | None = None
    args: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the function or class that makes it."""
    model_dir: Path | None = None
    threat_model: str | None = None
    download: bool = False
    trust: bool = False
    """Whether files of weights may run code."""

    @property
    def folder(self) -> Path:
        """Where downloaded weights lie: `model_dir`, or a folder in the user's cache, if that is theirs alone."""
        from platformdirs import user_cache_path

        folder = user_cache_path("roodbench") / "models" if self.model_dir is None else self.model_dir
        check_cache(folder)
        return folder


@dataclass(frozen=True)
class Loaded:
    """A network with its weights, and how images become its input: resized to `size`, then (x - mean) / std."""

    net: nn.Module
    normalisation: Normalisation | None = None
    """None for one that normalises inside, or of which that is not known."""
    size: tuple[int, int] | None = None
    """Height and width that it needs; None for one that takes images as they are."""
    native: tuple[int, int] | None = None
    """Height and width that it was made for: those of images whose own it cannot take."""
    interpolation: str = "bilinear"
    files: Mapping[str, str] = field(default_factory=dict)
    """The SHA-256 of each file of weights, by its name."""
    shows_features: bool = False
    """Whether it is a `Backbone`."""


def file_hash(file: Path) -> str:
    """The SHA-256 of a file."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else digest(opened)


def digest(opened: Any) -> str:
    found = hashlib.sha256()
    while block := opened.read(2**20):
        found.update(block)
    return found.hexdigest()


def needed_weights(name: str, file: Path | None) -> Path:
    """The file of weights; ValueError where none is given."""
    if file is None:
        raise ValueError(f"model {name} needs weights: give --checkpoint FILE (.safetensors, .th or .pt)")
    return file


def classes_in(state: Mapping[str, Tensor], net: nn.Module) -> int | None:
    """The number of classes of a state dict that fits `net` but for that number; None where it fits, or does not.

    >>> classes_in(nn.Linear(4, 10).state_dict(), nn.Linear(4, 1000))
    10
    """
    own = net.state_dict()
    odd = {key for key in state if key in own and state[key].shape != own[key].shape}
    classes = {state[key].shape[0] for key in odd if state[key].ndim}
    same = all(state[key].shape[1:] == own[key].shape[1:] for key in odd)
    return classes.pop() if same and len(classes) == 1 and len({own[key].shape[0] for key in odd}) == 1 else None


def with_classes(
    make: Any, file: Path, name: str, state: Mapping[str, Tensor] | None = None, *, trust: bool = False
) -> nn.Module:
    """`make(classes)` with the weights in a file, which say how many classes there are; `make(None)` has the usual.

    `state` are those weights where their names are not the file's.
    """
    net, state = made(make, None, name), read_state(file, trust=trust) if state is None else state
    classes = classes_in(stripped(state, net.state_dict()), net)
    net = net if classes is None else made(make, classes, name)
    put_weights(net, state, file, name)
    return net


def made(make: Any, classes: int | None, name: str) -> nn.Module:
    """What a library makes with a user's arguments; ValueError where it refuses them."""
    try:
        return make(classes)
    except Exception as error:  # whatever a library raises
        raise ValueError(f"model {name} cannot be made: {described(error)}") from None


def fetched(name: str, url: str, wanted: Wanted, file: Path) -> Path:
    """`file`, from `url` where it is not there and a download is wanted; ValueError where it is not wanted.

    OSError where the download fails.
    """
    if file.is_file():
        return file
    if not wanted.download:
        raise ValueError(
            f"model {name} needs weights: give --checkpoint FILE, or --download for {url} (looked for '{file}')"
        )
    try:
        with replacing(file) as temporary:
            torch.hub.download_url_to_file(url, str(temporary), progress=False)
            read_state(temporary)
    except ValueError as error:
        raise OSError(f"model {name}: what {url} gives {str(error).partition(chr(39) + ' ')[2]}") from None
    except OSError as error:
        raise OSError(f"model {name} cannot be downloaded from {url}: {error}") from None
    return file


def missing(package: str, extra: str, error: Exception) -> ValueError:
    """What to raise for a package that is not there."""
    said = " ".join(str(error).split())
    return ValueError(f"{package} is not installed ({said}): pip install 'roodbench[{extra}]'")


@contextmanager
def silent() -> Iterator[None]:
    """Without warnings: those of other libraries about themselves tell nobody here anything."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def only_weights(*, trust: bool = False) -> Iterator[None]:
    """`torch.load`, by whomever it is called, unpickles no code; trusted, it does where its caller leaves that open."""
    names = ("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")
    before = {name: os.environ.pop(name, None) for name in names}
    os.environ[names[trust]] = "1"
    try:
        yield
    finally:
        os.environ.pop(names[trust], None)
        os.environ.update({name: value for name, value in before.items() if value is not None})
