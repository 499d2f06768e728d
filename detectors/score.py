"""Base scores: functions of one network's logits and features, fitted on its outputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

import torch
from torch import Tensor, nn

from .care import in_eval, usual_state
from .detector import Batches, Classifier, Detector, Images, Over, autograd
from .given import NeedsError, kind_of_outputs, said_of_outputs, shown
from .head import Headed, LogitsOnly
from .noted import met

if TYPE_CHECKING:
    from typing_extensions import Self


CONSTANT = 1e-5
"""How far scores of different logits of usual size, a few units, lie apart where all of it is rounding."""


class Fitting(NamedTuple):
    """Outputs of the network on a whole ID split: logits (n, K), features (n, D) and labels (n,)."""

    logits: Tensor
    features: Tensor | None
    labels: Tensor


@torch.no_grad()
def collect(net: Classifier, batches: Batches) -> Fitting:
    """One pass of `net` over `batches`; a data set with an `outputs(net)` method answers from its own cache."""
    if hasattr(batches, "outputs"):
        return cast(Fitting, batches.outputs(net))
    device = device_of(net)
    with torch.inference_mode(False), torch.no_grad(), in_eval(net):
        parts = []
        for x, y in batches:
            met(x)
            parts.append((net.outputs(x.to(device)), y.to(device)))
    if not parts:
        raise ValueError("cannot fit on an empty split: expected at least one batch of (images, labels)")
    features = None if parts[0][0].features is None else torch.cat([cast(Tensor, o.features) for o, _ in parts])
    return Fitting(torch.cat([o.logits for o, _ in parts]), features, torch.cat([y for _, y in parts]))


def device_of(net: Any) -> torch.device:
    """Where a network's parameters and buffers lie; the CPU for one without any."""
    tensors = [*net.parameters(), *net.buffers()] if isinstance(net, nn.Module) else []
    return tensors[0].device if tensors else torch.device("cpu")


def as_classifier(net: Any, score: type[Score]) -> Classifier:
    """The network as a score needs it: of one without `outputs` the logits alone, or the features that are found.

    NeedsError for one that says why it shows no features (`headless`) where the score needs them, ValueError for what
    is no network.
    """
    name = score.name or score.__name__
    wants_features = "features" in score.needs
    if callable(getattr(net, "outputs", None)):
        if wants_features and (reason := getattr(net, "headless", "")):
            raise NeedsError(f"{name} needs penultimate features: {reason}", "take gen, ebo, msp or another of logits")
        return cast(Classifier, net)
    if not isinstance(net, nn.Module):
        raise ValueError(f"{name} was given {shown(net)}: expected a network, an nn.Module")
    return cast(Classifier, Headed(net) if wants_features else LogitsOnly(net))


Surrogate = Callable[[Any, Tensor, Tensor | None], Tensor]
"""surrogate(score, z, h) (B,): an objective of a score, a function of the same logits and features."""


class Score(Detector):
    """A base score: a function `score(z, h)` of one network's logits z (B, K) and features h (B, D).

    `surrogates` are increasing functions of the score, or bounds of it, whose gradient does not vanish where the
    score saturates; they are further objectives of the attack.

    >>> from detectors import Outputs
    >>> class Margin(Score):
    ...     name = "margin"
    ...     surrogates = {"log-p": lambda self, z, h: z.log_softmax(1).amax(1)}
    ...     def score(self, z, h):
    ...         top = z.topk(2, dim=1).values
    ...         return top[:, 0] - top[:, 1]
    >>> class Logits(torch.nn.Module):  # a network whose logits are its input
    ...     def outputs(self, x):
    ...         return Outputs(x, None)
    >>> margin = Margin(Logits())
    >>> margin(torch.tensor([[4.0, 1.0, 0.0], [2.0, 2.0, 0.0]]))
    tensor([3., 0.])
    >>> margin.value_and_grad(torch.tensor([[4.0, 1.0, 0.0]]))
    (tensor([3.]), tensor([[ 1., -1.,  0.]]))
    >>> margin.objectives
    ('exact', 'log-p')
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    """Beyond logits: `features`, the linear `last layer`, the splits `train` and `val` that `fit` reads."""
    surrogates: ClassVar[Mapping[str, Surrogate]] = {}

    def __init__(self, net: Classifier) -> None:
        super().__init__()
        self.net = as_classifier(net, type(self))
        self.objectives = ("exact", *self.surrogates)

    @property
    def _last_layer(self) -> nn.Linear:
        """The network's `head`; NeedsError for a network that shows none."""
        head = getattr(self.net, "head", None)
        if head is None or getattr(head, "weight", None) is None:
            raise NeedsError(
                f"{self.name} needs the last linear layer of {type(self.net).__name__} as its attribute `head`, and "
                f"that is {shown(head)} (docs/custom-detector.md)"
            )
        return cast(nn.Linear, head)

    @property
    def _classes(self) -> float:
        """The number of logits; infinite where the network shows no last layer."""
        return getattr(getattr(self.net, "head", None), "out_features", math.inf)

    @torch.no_grad()
    def check_network(self, x: Tensor) -> None:
        """NeedsError where the network lacks what the score needs, as far as images x (B, C, H, W) show.

        That are features, a last layer, and logits whose size says something: a score that is the same of all logits
        with a logsumexp of 0 says nothing of a network that ends in a log-softmax.
        """
        z, h = self.net.outputs(x)
        if "features" in self.needs and h is None:
            raise NeedsError(f"{self.name} needs penultimate features, and this network shows none")
        if "last layer" in self.needs:
            _ = self._last_layer
        if self.needs & {"train", "val"} or kind_of_outputs(z) != "log-probabilities":
            return
        drawn = torch.randn(z.shape, generator=torch.Generator().manual_seed(0)).to(z).log_softmax(1)
        low, high = self.score(drawn, h).aminmax()
        if float(high - low) <= CONSTANT:
            said = said_of_outputs(getattr(self.net, "name", type(self.net).__name__), "log-probabilities")
            raise NeedsError(f"{self.name} is the same for every image: {said}")

    def score(self, z: Tensor, h: Tensor | None) -> Tensor:
        raise NotImplementedError

    @usual_state()
    def fit(self, train: Batches, val: Batches) -> Self:
        """One pass of the network over each split that the score needs, then `fit_outputs`."""
        if self.needs & {"train", "val"}:
            self.fit_outputs(
                collect(self.net, train) if "train" in self.needs else None,
                collect(self.net, val) if "val" in self.needs else None,
            )
        return self

    def fit_outputs(self, train: Fitting | None, val: Fitting | None) -> None:
        """Fit from the network's outputs on the splits that `needs` names; the other is None."""

    def _fitted(self, name: str) -> Tensor:
        """A buffer that `fit` estimates; ValueError before."""
        value = getattr(self, name)
        if value is None:
            raise ValueError(f"{self.name} is not fitted yet: call fit(train, val)")
        return value

    @torch.no_grad()
    def scores_on(self, images: Images, over: Over[Images]) -> Tensor:
        """Scores (n,) of a set of images, from the network's outputs where the set keeps them.

        A score that overrides `forward` because it depends on more than outputs needs `Detector.scores_on` back.
        """
        if not hasattr(images, "outputs"):
            return super().scores_on(images, over)
        return self.score(*cast(Fitting, images.outputs(self.net))[:2])

    def forward(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        return self.score(*self.net.outputs(x))

    def value_and_grad(
        self,
        x: Tensor,
        *,
        objective: str = "exact",
        draws: int | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        self.check_objective(objective)
        return self._value_and_grad(x, objective)

    def _value_and_grad(self, x: Tensor, objective: str) -> tuple[Tensor, Tensor]:
        """The same of a known objective, without noise: what a score overrides that depends on more than outputs."""
        if objective == "exact":
            return autograd(self, x)
        return autograd(lambda x: self.surrogates[objective](self, *self.net.outputs(x)), x)
