"""The model zoo of RobustBench, from its own folder layout, and the cure of its imports.

It imports `autoattack`, which its dependency installs as `pyautoattack`; another dependency imports `pkg_resources`,
which setuptools has until 81.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import pickle
import sys
from pathlib import Path
from typing import Any

from torch import nn

from detectors import unknown

from ..store.files import replacing
from ..store.users import described
from ..store.vision import import_torchvision
from .checkpoint import read_start, say_unpickled
from .source import Loaded, Wanted, file_hash, missing, only_weights, silent

THREATS = ("Linf", "L2", "corruptions")
DATASETS = ("cifar10", "cifar100", "imagenet")


def import_robustbench() -> Any:
    """robustbench.utils; ValueError with the install command where it or a part of it is missing."""
    import_torchvision()
    try:
        with silent():
            if "autoattack" not in sys.modules and importlib.util.find_spec("autoattack") is None:
                sys.modules["autoattack"] = importlib.import_module("pyautoattack")
            return importlib.import_module("robustbench.utils")
    except (ImportError, RuntimeError) as error:
        raise missing("robustbench", "robustbench", error) from None


def load(name: str, wanted: Wanted) -> Loaded:
    """The network `name` of RobustBench for a threat model (default Linf) and a data set (default cifar10).

    Its weights lie at FOLDER/DATASET/THREAT/NAME.pt, those of an ensemble at NAME.pt_m0.pt and so on; they are
    downloaded there only where that is wanted. It normalises inside.
    """
    utils, args = import_robustbench(), dict(wanted.args)
    dataset, threat = args.pop("dataset", "cifar10"), wanted.threat_model or "Linf"
    if dataset not in DATASETS:
        raise ValueError(unknown("data set of RobustBench", dataset, DATASETS))
    if threat not in THREATS:
        raise ValueError(unknown("threat model", threat, THREATS))
    if args:
        raise ValueError(f"model-arg {next(iter(args))}: robustbench:{name} takes dataset alone")
    zoo = {key.value: {t.value: models for t, models in its.items()} for key, its in utils.all_models.items()}
    check_name(name, dataset, threat, zoo)
    ids = zoo[dataset][threat][name]["gdrive_id"]
    if not ids and not wanted.download:
        raise ValueError(
            f"model robustbench:{name} has no file: RobustBench fetches it as it makes it, give --download"
        )
    folder = wanted.folder / dataset / threat
    wants = (
        {folder / f"{name}.pt": ids}
        if isinstance(ids, str)
        else {folder / f"{name}.pt_m{i}.pt": each for i, each in enumerate(ids or ())}
    )
    wants = {file: each for file, each in wants.items() if each}
    for file, each in wants.items():
        provide(file, name, lambda place, each=each: utils.download_gdrive_new(each, place), wanted)
    return Loaded(
        made(utils, name, wanted.folder, dataset, threat, trust=wanted.trust),
        size=(224, 224) if dataset == "imagenet" else (32, 32),
        files={file.name: file_hash(file) for file in wants},
    )


def check_name(name: str, dataset: str, threat: str, zoo: Any) -> None:
    """ValueError for a network that the zoo does not have, with where it has it or the nearest name."""
    if name in zoo[dataset][threat]:
        return
    others = [(d, t) for d in DATASETS for t in THREATS if name in zoo[d].get(t, {})]
    if others:
        places = ", ".join(f"--model-arg dataset={d} --threat-model {t}" for d, t in others)
        raise ValueError(f"model robustbench:{name} is not one of {dataset}, {threat}: give {places}")
    raise ValueError(unknown(f"model of RobustBench ({dataset}, {threat})", name, zoo[dataset][threat]))


def provide(file: Path, name: str, download: Any, wanted: Wanted) -> None:
    """See that a file of weights is there and is one; ValueError where it is not, OSError where a download fails."""
    if not file.is_file():
        if not wanted.download:
            raise ValueError(f"model robustbench:{name} needs '{file}': give --model-dir DIR, or --download")
        try:
            with replacing(file) as temporary, contextlib.redirect_stdout(sys.stderr):
                download(str(temporary))
                read_start(temporary)
        except Exception as error:  # of gdown and of requests
            raise OSError(f"model robustbench:{name} cannot be downloaded to '{file}': {described(error)}") from None
    read_start(file)


def made(utils: Any, name: str, folder: Path, dataset: str, threat: str, *, trust: bool) -> nn.Module:
    """The network as RobustBench makes it; ValueError where its file does not fit, or would run untrusted code."""
    try:
        with silent(), only_weights(), contextlib.redirect_stdout(sys.stderr):
            return utils.load_model(name, model_dir=folder, dataset=dataset, threat_model=threat)
    except pickle.UnpicklingError:
        if trust:
            say_unpickled(folder / dataset / threat / f"{name}.pt")
            with silent(), only_weights(trust=True), contextlib.redirect_stdout(sys.stderr):
                return utils.load_model(name, model_dir=folder, dataset=dataset, threat_model=threat)
        said = "holds more than tensors and is not unpickled: save its state dict alone, or give --trust-checkpoint"
    except (RuntimeError, KeyError, AttributeError, TypeError, EOFError) as error:
        said = f"does not fit ({' '.join(described(error).split())[:200]})"
    raise ValueError(f"model robustbench:{name}: the checkpoint in '{folder / dataset / threat}' {said}") from None
