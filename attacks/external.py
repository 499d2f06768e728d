"""The attacks of torchattacks, foolbox and AutoAttack on the two-logit view, and the quirks of these libraries."""

from __future__ import annotations

import difflib
import importlib
import inspect
import warnings
from importlib.metadata import version
from typing import Any, cast

import torch
from torch import Tensor

from .threat import ThreatModel
from .two_logits import ID, OOD, TwoLogits

LIBRARIES = {"torchattacks": "torchattacks", "foolbox": "foolbox", "autoattack": "pyautoattack"}
"""Method prefix and the package it needs."""
DECISIONS = ("FAB", "APGDT", "AutoAttack", "MultiAttack", "Jitter", "TPGD", "GenAttack", "VirtualAdversarialAttack")
"""Attacks that need more than two classes, stop once an image crosses the threshold (as do foolbox's repeated draws of
noise), or follow another loss than cross-entropy: the distance from clean outputs."""
PARTS = {"APGD": ("autopgd_base", "APGDAttack"), "Square": ("square", "SquareAttack")}
"""Of AutoAttack, the parts that move a score: module and class."""
WHOLE = ("standard", "plus", "rand", "custom", "AutoAttack")
"""Names of all of AutoAttack."""


def is_external(method: str) -> bool:
    """Whether a method is another library's attack, LIBRARY:NAME."""
    return method.partition(":")[0] in LIBRARIES and ":" in method


def is_search(method: str) -> bool:
    """Whether another library's attack asks for scores alone."""
    return is_external(method) and method.endswith(":Square")


def external(
    view: TwoLogits,
    x: Tensor,
    threat: ThreatModel,
    *,
    sign: int,
    method: str,
    steps: int,
    restarts: int = 1,
    queries: int = 500,
    seed: int,
) -> Tensor:
    """The images that another library's attack `LIBRARY:NAME` makes of x against the two-logit view of a detector.

    `sign=-1` attacks ID images (class 0), +1 OOD images; `queries` are those of Square. Raises ValueError for a missing
    library, naming the install command, for an attack that it does not have or that is of another norm, and outside
    [0, 1], to which torchattacks and AutoAttack clip.
    """
    threat.check(x)
    cls = attack_class(method, threat)
    library = method.partition(":")[0]
    y = torch.full((len(x),), ID if sign < 0 else OOD, device=x.device, dtype=torch.long)
    settings: dict[str, Any] = {
        "eps": threat.eps,
        "alpha": 2.5 * threat.eps / steps,
        "steps": steps,
        "n_iter": steps,
        "n_queries": queries,
        "rel_stepsize": 2.5 / steps,
        "n_restarts": restarts,
        "norm": {"linf": "Linf", "l2": "L2"}[threat.norm],
        "loss": "ce",
        "seed": seed,
        "device": x.device,
        "verbose": False,
    }
    devices = [x.device] if x.is_cuda else []
    with warnings.catch_warnings(), torch.random.fork_rng(devices):
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)  # these libraries draw from the global generator
        settings = {key: value for key, value in settings.items() if takes(cls, key)}
        if library == "foolbox":
            package = import_library(library)
            low, high = threat.bounds if threat.bounds[1] < float("inf") else (float(x.min()) - 9, float(x.max()) + 9)
            model = package.PyTorchModel(view, bounds=(low, high), device=x.device)
            found = cls(**settings).run(model, x.clone(), package.criteria.Misclassification(y), epsilon=threat.eps)
        else:
            found = strongest(cls(view, **settings), view, x.clone(), y, sign)
    return threat.project(found.detach().to(x), x)


def strongest(attack: Any, view: TwoLogits, x: Tensor, y: Tensor, sign: int) -> Tensor:
    """The images with the highest loss; APGD and Square would give those that cross the threshold, and stop there."""
    if not hasattr(attack, "attack_single_run"):
        return cast(Tensor, attack(x, y))
    if "best_loss" in inspect.signature(attack.perturb).parameters:  # APGD
        found = attack.perturb(x, y, best_loss=True)
        return cast(Tensor, found[1] if isinstance(found, tuple) else found)
    attack.init_hyperparam(x)
    attack.loss = "margin"
    threshold = view.threshold.clone()
    view.threshold.add_(sign * 100 / view.scale)  # out of reach
    try:
        return cast(Tensor, attack.attack_single_run(x, y)[1])
    finally:
        view.threshold.copy_(threshold)


def import_library(library: str) -> Any:
    """The package of a library; ValueError with the install command where it is missing."""
    try:
        return importlib.import_module(LIBRARIES[library])
    except (ImportError, RuntimeError) as error:
        extra = "autoattack" if library == "autoattack" else library
        raise ValueError(f"{library} is not installed ({error}): pip install 'roodbench[{extra}]'") from None


def library_version(method: str) -> str:
    """The installed version of the library of `LIBRARY:NAME`; ValueError where it is missing."""
    import_library(library := method.partition(":")[0])
    return version(LIBRARIES[library])


def attack_class(method: str, threat: ThreatModel) -> Any:
    """The class of `LIBRARY:NAME`; ValueError where it does not exist or cannot attack a score within `threat`."""
    library, _, name = method.partition(":")
    known = classes_of(library)
    if library != "foolbox" and threat.bounds != (0.0, 1.0):
        raise ValueError(f"{method} clips images to [0, 1]: leave out --space normalized, or use foolbox:NAME")
    if library == "autoattack" and name in WHOLE:
        raise ValueError(
            f"{method} is all of AutoAttack, which leaves an image alone once it crosses the threshold: take a part, "
            "autoattack:APGD or autoattack:Square, or suite, which keeps the worst of many"
        )
    if name not in known:
        lower = {other.lower(): other for other in known}
        near = difflib.get_close_matches(name.lower(), lower, 1)
        hint = f", did you mean {lower[near[0]]!r}?" if near else ";"
        taken = ", ".join(other for other, cls in known.items() if not misfit(library, cls, threat.norm))
        raise ValueError(
            f"unknown attack {method!r}: {library} has no {name or 'attack without a name'}{hint} for {threat.norm} "
            f"it has {taken}"
        )
    if reason := misfit(library, known[name], threat.norm):
        raise ValueError(f"{method} {reason}")
    return known[name]


def classes_of(library: str) -> dict[str, Any]:
    """The classes of attacks that a library has, by the names under which it has them."""
    module = import_library(library)
    if library == "autoattack":
        modules = {name: importlib.import_module(f"{LIBRARIES[library]}.{place}") for name, (place, _) in PARTS.items()}
        return {name: getattr(modules[name], cls) for name, (_, cls) in PARTS.items()}
    module = module.attacks if library == "foolbox" else module
    return {name: cls for name in dir(module) if name[0].isupper() and inspect.isclass(cls := getattr(module, name))}


def misfit(library: str, cls: Any, norm: str) -> str:
    """Why an attack cannot move a score within a ball of a norm; "" where it can."""
    fixed = takes(cls, "eps")
    if library == "foolbox":
        fixed = issubclass(cls, import_library(library).attacks.base.FixedEpsilonAttack)
    if not fixed or cls.__name__ in DECISIONS or "Repeated" in cls.__name__:
        return "looks for a change of decision, not of a score in a ball: try PGD, APGD or Square"
    own = next((n for n in ("L1", "L2", "L0") if n in cls.__name__), "Linf").lower()
    if not takes(cls, "norm") and own != norm:
        choices = f"choose another, or --norm {own}" if own in ("linf", "l2") else "choose another"
        return f"is an {own} attack and the norm is {norm}: {choices}"
    return ""


def takes(cls: Any, name: str) -> bool:
    """Whether a class is made with an argument of this name."""
    return name in inspect.signature(cls).parameters
