"""The seam every attack and every report goes through: `Classifier` in, one score per image out."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, TypeVar, cast

import torch
from torch import Tensor, nn

from .care import in_eval
from .given import GivenError, fault_of_scores, shown
from .noted import NOTED, noting

if TYPE_CHECKING:
    from typing_extensions import Self

Batches = Iterable[tuple[Tensor, Tensor]]
Images = TypeVar("Images", bound=Batches)
"""A set of images as batches of (images, labels); where it has a method `outputs(net)`, that gives a `Fitting`."""
Scoring = Callable[[Tensor, torch.Generator], Tensor]
Over = Callable[[Images, Scoring], Tensor]
"""over(images, score): score(x, generator) (..., B) of every batch of a set, side by side (..., n)."""


class Outputs(NamedTuple):
    """What a network says of a batch: logits (B, K) and penultimate features (B, D), None where it has none."""

    logits: Tensor
    features: Tensor | None


class Classifier(Protocol):
    """A frozen network in eval mode that takes images of the input space and normalises them itself.

    `outputs(x)` gives logits and features with `logits = head(features)`; calling it gives the logits alone.
    """

    @property
    def head(self) -> nn.Linear: ...

    def outputs(self, x: Tensor) -> Outputs: ...

    def __call__(self, x: Tensor) -> Tensor: ...


class Detector(nn.Module):
    """One score per image, higher = more in-distribution, differentiable almost everywhere in the image.

    A subclass gives `forward`; it overrides `value_and_grad` and `objectives` where autograd through `forward` is not
    the best way (or not the only way) to attack it. Images are (B, C, H, W) in the network's input space, scores (B,).
    A randomised detector sets `randomized = True` and draws all its randomness from the generator it is given.
    """

    name: ClassVar[str] = ""
    symbols: ClassVar[Mapping[str, str]] = {}
    """The paper's symbol of a hyper-parameter, where it differs from the argument's name."""
    grid: ClassVar[Mapping[str, tuple[Any, ...]]] = {}
    """The published search grid: values per hyper-parameter."""
    shared: ClassVar[tuple[str, ...]] = ()
    """Hyper-parameters whose candidates come from the same network passes: see `together`."""
    reference: ClassVar[str] = ""
    """The paper: authors, year, title and arXiv number, or where it was published."""
    incidental: ClassVar[frozenset[str]] = frozenset()
    """Attributes that trade memory for time and change no score: no part of what the detector is; its whole numbers
    are halved when memory runs out."""
    run_settings: ClassVar[frozenset[str]] = frozenset()
    """Arguments of the constructor that belong to a run and not to the method: no hyper-parameters."""
    eager: ClassVar[bool] = False
    """Whether the network must not be compiled: a second derivative is asked of it, or what happens inside it."""
    randomized: bool = False
    objectives: tuple[str, ...] = ("exact",)
    whole: frozenset[str] = frozenset()
    """Noisy objectives of which `draws` below the detector's own number give the gradient of another score, such as a
    spread of copies: attacks always draw all of them."""
    jumps: frozenset[str] = frozenset()
    """Objectives without noise whose gradient is another one a step further: attacks average over their steps."""

    def __init__(self, *given: Any) -> None:
        if given:
            raise ValueError(
                f"Detector.__init__ of {type(self).__name__} is given {shown(given[0])}: it takes nothing; write "
                "__init__(self, net) with super().__init__() and then self.net = net"
            )
        super().__init__()

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        if callable(fit := vars(cls).get("fit")):
            cls.fit = noting(fit)  # type: ignore[method-assign]

    def load_state_dict(self, *given: Any, **settings: Any) -> Any:
        """As for every module; what the detector was fitted on before is forgotten."""
        for part in self.chain:
            vars(part).pop(NOTED, None)
        return super().load_state_dict(*given, **settings)

    def fit(self, train: Batches, val: Batches) -> Self:
        """Estimate what the score needs from ID training and validation batches of (images, labels).

        Both may be read more than once: give a list or a data set, not an iterator.
        """
        return self

    def forward(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        raise NotImplementedError

    def __call__(self, x: Tensor, *rest: Any, **settings: Any) -> Tensor:
        """The scores (B,) that `forward` gives; GivenError where it gives anything else."""
        given = super().__call__(x, *rest, **settings)
        if fault := fault_of_scores(given, x):
            raise GivenError(f"{self.label} {fault}")
        return given

    def value_and_grad(
        self,
        x: Tensor,
        *,
        objective: str = "exact",
        draws: int | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The objective (B,) and its gradient with respect to each image (like x), both detached.

        Every objective grows with the score. An image the objective does not depend on gets a zero gradient.
        """
        self.check_objective(objective)
        if not self.randomized:
            return autograd(self, x)
        n = draws or 1
        pairs = [autograd(lambda x: self(x, generator=generator), x) for _ in range(n)]
        return sum(v for v, _ in pairs) / n, sum(g for _, g in pairs) / n  # type: ignore[return-value]

    def passes(self, objective: str = "exact", draws: int | None = None) -> tuple[int, int]:
        """Network passes (forward, backward) that one `value_and_grad` spends on one image."""
        n = (draws or 1) if self.randomized else 1
        return n, n

    def score_passes(self) -> tuple[int, int]:
        """Network passes (forward, backward) that one score costs."""
        return 1, 0

    def extremes(self) -> tuple[float, float]:
        """The lowest and the highest score that any image can have; infinite where no bound is known."""
        return -math.inf, math.inf

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """The hyper-parameters and their defaults: the constructor's keyword-only arguments but for `run_settings`."""
        return {name: default for name, default in keywords(cls).items() if name not in cls.run_settings}

    def hyperparameters(self) -> dict[str, Any]:
        """The hyper-parameters with their values (a fitted one after `fit`), as far as attributes show them."""
        return {name: getattr(self, name) for name in self.defaults() if hasattr(self, name)}

    @classmethod
    def grid_over(cls, base: str) -> dict[str, tuple[Any, ...]]:
        """The published search grid over the base score `base`; without one, the empty string."""
        return dict(cls.grid)

    @classmethod
    def together(
        cls, members: Sequence[Self], train: Batches, sets: Sequence[Images], over: Over[Images]
    ) -> list[list[Tensor]]:
        """Scores (n,) of every member on every one of `sets`: one list per member, as fitted on `train` and `sets[0]`.

        `members` are not fitted yet and differ in `shared` hyper-parameters alone; what they share is computed once,
        so not every one of them need be fitted afterwards. `sets[0]` is ID validation. `over` calls a scoring function
        without gradients on the batches of a set, each with a generator of its own that is the same at every call.
        """
        found = []
        for member in members:
            member.fit(train, sets[0])
            found.append([member.scores_on(images, over) for images in sets])
        return found

    def scores_on(self, images: Images, over: Over[Images]) -> Tensor:
        """Scores (n,) of a set of images."""
        return over(images, lambda x, generator: self(x, generator=generator) if self.randomized else self(x))

    @property
    def wrapped(self) -> Detector | None:
        """The detector whose scores this one is made of, its attribute `base`; None where it has none."""
        base = getattr(self, "base", None)
        return base if isinstance(base, Detector) else None

    @property
    def chain(self) -> tuple[Detector, ...]:
        """This detector and what it wraps, outermost first."""
        return (self,) if self.wrapped is None else (self, *self.wrapped.chain)

    @property
    def label(self) -> str:
        """`ross(gen)` for ross over gen, `gen` for gen alone; a class name where there is no name."""
        names = [detector.name or type(detector).__name__ for detector in self.chain]
        return "(".join(names) + ")" * (len(names) - 1)

    @property
    def network(self) -> Classifier | None:
        """The network below: `net` of the innermost detector, None for one that does not show it."""
        if "network" in self._modules:  # a detector that keeps it under this name
            return cast("Classifier | None", self._modules["network"])
        innermost = self.chain[-1]
        return getattr(innermost, "net", None) if innermost is self else innermost.network

    def __setattr__(self, name: str, value: Tensor | nn.Module) -> None:
        if name == "network" and not isinstance(value, nn.Module):
            raise AttributeError(f"{type(self).__name__}.network is {shown(value)}: only an nn.Module has this name")
        if name in ("chain", "label", "wrapped"):  # nn.Module would keep a module that the property then hides
            raise AttributeError(f"{type(self).__name__}.{name} is read-only: give your attribute another name")
        super().__setattr__(name, value)

    def fitted(self) -> dict[str, float]:
        """The numbers that `fit` estimated, for the record."""
        return {}

    def check_objective(self, objective: str) -> None:
        if objective not in self.objectives:
            raise ValueError(
                f"unknown objective {objective!r} of {self.name}: expected one of {', '.join(self.objectives)}"
            )


class Plain(Detector):
    """Any nn.Module that maps images (B, C, H, W) to scores (B,), attacked by autograd through its forward pass.

    It scores, and is fitted, in eval mode; between calls the module is as the caller left it.
    """

    def __init__(self, module: nn.Module, params: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.module = module
        self.name = type(module).__name__  # type: ignore[misc]
        self.params = dict(params or {})

    def hyperparameters(self) -> dict[str, Any]:
        """The parameters that the module was made with."""
        return self.params

    def fit(self, train: Batches, val: Batches) -> Self:
        if hasattr(self.module, "fit"):
            with in_eval(self.module):
                cast(Any, self.module).fit(train, val)
        return self

    def forward(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        with in_eval(self.module):
            return self.module(x)


def autograd(objective: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """Value (B,) and gradient of a batch-separable objective; the gradient is zero where none flows."""
    with torch.inference_mode(False), torch.enable_grad():
        x = (x.clone() if x.is_inference() else x.detach()).requires_grad_()
        value = objective(x)
        if not value.requires_grad:
            return value, torch.zeros_like(x)
        (grad,) = torch.autograd.grad(value.sum(), x, allow_unused=True)
    return value.detach(), torch.zeros_like(x) if grad is None else grad


def keywords(cls: Callable[..., Any]) -> dict[str, Any]:
    """The keyword-only arguments of a class's constructor, or of a function, and their defaults."""
    signature = inspect.signature(cls)
    return {p.name: p.default for p in signature.parameters.values() if p.kind is p.KEYWORD_ONLY}
