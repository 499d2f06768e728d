"""A detector as a two-class network, for the attacks of torchattacks, foolbox and AutoAttack."""

from __future__ import annotations

import difflib
import importlib
import inspect
import warnings
from typing import Any, cast

import torch
from torch import Tensor, nn

from .threat import Detector, ThreatModel

LIBRARIES = {"torchattacks": "torchattacks", "foolbox": "foolbox", "autoattack": "pyautoattack"}
"""Method prefix and the package it needs."""
DECISIONS = ("FAB", "APGDT", "AutoAttack", "MultiAttack")
"""Attacks of torchattacks that need more than two classes, or stop at the first image that crosses the threshold."""
FARTHEST = 5.0
"""Of a clean score from the threshold, in the view's logits: further below, cross-entropy loses its gradient."""
ID, OOD = 0, 1
"""The classes of the two-logit view."""


class TwoLogits(nn.Module):
    """logits ((s - t) scale, (t - s) scale): class 0 is ID, class 1 OOD; cross-entropy is monotone in the score s.

    s is the detector's score and its gradient the detector's own `value_and_grad` of `objective`, through its
    randomness (`draws` copies from `generator`) and inner loops. `TwoLogits.of(detector, x)` takes threshold t and
    scale from clean images (`view_of`).
    """

    def __init__(
        self,
        detector: Detector,
        threshold: float,
        scale: float = 1.0,
        *,
        objective: str = "exact",
        draws: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if not hasattr(detector, "value_and_grad"):
            raise ValueError(
                f"{type(detector).__name__} is no Detector: wrap a module of scores, detectors.Plain(module)"
            )
        if detector.randomized and generator is None:
            raise ValueError("a randomised detector needs a torch.Generator (generator=...)")
        self.detector, self.objective, self.draws, self.generator = detector, objective, draws, generator
        device = next((p.device for p in parts_of(detector)), None)
        self.threshold = nn.Parameter(torch.tensor(float(threshold), device=device), requires_grad=False)
        self.scale = scale
        self.spent = [0, 0]
        """Network passes (forward, backward) so far, over all images."""
        self.eval()

    @classmethod
    @torch.no_grad()
    def of(cls, detector: Detector, x_id: Tensor, x_ood: Tensor | None = None, **settings: Any) -> TwoLogits:
        """The view of a detector by clean images (B, C, H, W) of ID and, if any, OOD; `settings` as of the class."""
        view = cls(detector, 0.0, **settings)
        id_scores = view.score(x_id)
        threshold, scale = view_of(id_scores, id_scores[:0] if x_ood is None else view.score(x_ood))
        return cls(detector, threshold, scale, **settings)

    def forward(self, x: Tensor) -> Tensor:
        differentiated = torch.is_grad_enabled() and x.requires_grad
        s = cast(Tensor, Score.apply(x, self)) if differentiated else self.score(x)
        margin = (s - self.threshold) * self.scale
        return torch.stack([margin, -margin], 1)

    @torch.no_grad()
    def score(self, x: Tensor) -> Tensor:
        """The detector's score (B,)."""
        self.spend(len(x), self.detector.score_passes())
        return self.detector(x, generator=self.generator) if self.detector.randomized else self.detector(x)

    def spend(self, images: int, passes: tuple[int, int]) -> None:
        self.spent = [total + images * n for total, n in zip(self.spent, passes, strict=True)]


class Score(torch.autograd.Function):
    """A detector's score with the gradient that it gives itself for an objective."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, view: TwoLogits) -> Tensor:
        value, grad = view.detector.value_and_grad(
            x, objective=view.objective, draws=view.draws, generator=view.generator
        )
        view.spend(len(x), view.detector.passes(view.objective, view.draws))
        ctx.save_for_backward(grad)
        return value if view.objective == "exact" else view.score(x)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (grad,) = ctx.saved_tensors
        return grads[0].view(-1, *[1] * (grad.ndim - 1)) * grad, None


def parts_of(detector: Detector) -> list[Tensor]:
    """The tensors of a detector that is an nn.Module."""
    return [*detector.parameters(), *detector.buffers()] if isinstance(detector, nn.Module) else []


def is_search(method: str) -> bool:
    """Whether another library's attack asks for scores alone."""
    return is_external(method) and method.endswith(":Square")


def view_of(id_scores: Tensor, ood_scores: Tensor) -> tuple[float, float]:
    """Threshold and scale of the two-logit view by clean scores (n,) and (m,).

    t = sorted_id[floor(0.05 n)], which 95% of ID reach; the scale is 1 over the interquartile range of ID, or over a
    fifth of the largest distance of any score from t where that is more.
    """
    s = id_scores.double().sort().values
    threshold, (low, high) = s[int(0.05 * len(s))], torch.quantile(s, s.new_tensor([0.25, 0.75]))
    farthest = (torch.cat([s, ood_scores.to(s)]) - threshold).abs().max()
    spread = float(torch.maximum(high - low, farthest / FARTHEST))
    return float(threshold), 1 / spread if spread > 0 else 1.0


def is_external(method: str) -> bool:
    return method.partition(":")[0] in LIBRARIES and ":" in method


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
            package = load(library)
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


def load(library: str) -> Any:
    """The package of a library; ValueError with the install command where it is missing."""
    try:
        return importlib.import_module(LIBRARIES[library])
    except (ImportError, RuntimeError) as error:
        extra = "autoattack" if library == "autoattack" else library
        raise ValueError(f"{library} is not installed ({error}): pip install 'roodbench[{extra}]'") from None


def attack_class(method: str, threat: ThreatModel) -> Any:
    """The class of `LIBRARY:NAME`; ValueError where it does not exist or cannot attack a score within `threat`."""
    library, _, name = method.partition(":")
    module = load(library)
    if library == "foolbox":
        module = module.attacks
    elif threat.bounds != (0.0, 1.0):
        raise ValueError(f"{method} clips images to [0, 1]: leave out --space normalized, or use foolbox:NAME")
    if library == "autoattack":
        module = importlib.import_module("pyautoattack.square" if name == "Square" else "pyautoattack.autopgd_base")
        name = {"APGD": "APGDAttack", "Square": "SquareAttack"}.get(name, name)
    cls = getattr(module, name, None)
    if not inspect.isclass(cls):
        names = {known.lower(): known for known in dir(module) if known[0].isupper()}
        near = difflib.get_close_matches(name.lower(), names, 1)
        hint = f", did you mean {names[near[0]]!r}?" if near else ""
        raise ValueError(f"unknown attack {method!r}: {module.__name__} has no {name}{hint}")
    fixed = issubclass(cls, module.base.FixedEpsilonAttack) if library == "foolbox" else takes(cls, "eps")
    if not fixed or name in DECISIONS:
        raise ValueError(f"{method} looks for a change of decision, not of a score in a ball: try PGD, APGD or Square")
    norm = "l2" if "L2" in name else "linf"
    if not takes(cls, "norm") and norm != threat.norm:
        raise ValueError(
            f"{method} is an {norm} attack and the norm is {threat.norm}: choose another, or --norm {norm}"
        )
    return cls


def takes(cls: Any, name: str) -> bool:
    """Whether a class is made with an argument of this name."""
    return name in inspect.signature(cls).parameters
