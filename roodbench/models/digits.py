"""The embedded networks: small CNNs on scikit-learn's digits 0-5, whose trained weights lie in `trained/`."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional as F

from ..data.digits import ID_CLASSES
from .classifier import Classifier
from .weights import load_weights

DIGITS_CNNS = {
    "digits-cnn": "d2aeb2b9071e494e701e49e2168bf8ed6877b41c69e5c50f8607f7b33906f564",
    "digits-cnn-at": "c9a729ee34aa019a054719fc745d3209b326555e080834ce48c6ec28624a414a",
}
"""The SHA-256 of each network's file."""
TRAINED = Path(__file__).parent / "trained"
"""Where the weights are installed; its README says how `train.py` made them."""


class DigitsCNN(nn.Module):
    """Two 3x3 convolutions, the second with stride 2, and one hidden layer; no batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, 1, 1)
        self.conv2 = nn.Conv2d(16, 32, 3, 2, 1)
        self.hidden = nn.Linear(16 * 32, 64)
        self.head = nn.Linear(64, ID_CLASSES)

    def features(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        return F.relu(self.hidden(x.flatten(1)))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def classifier(net: DigitsCNN, name: str) -> Classifier:
    """`net` for images (B, 1, 8, 8) in [0, 1], frozen."""
    return Classifier(net, [0.5], [0.5], name=name)


def digits_cnn(name: str) -> Classifier:
    """The network `name` (see `DIGITS_CNNS`) with its installed weights; OSError where their file is another."""
    net, file = DigitsCNN(), TRAINED / f"{name}.safetensors"
    try:
        load_weights(net, file, name)
        if sha256(file.read_bytes()).hexdigest() != DIGITS_CNNS[name]:
            raise ValueError(f"'{file}' has another hash")
    except ValueError as error:
        raise OSError(
            f"{name}, a part of RoodBench, is missing or damaged ({error}): install roodbench again"
        ) from None
    return classifier(net.eval(), name)
