"""Images and a linear score for the gradient attacks; a test file with other needs has its own."""

import pytest
import torch

from tests.attacks.analytic import SHAPE, generator


@pytest.fixture
def x():
    return torch.rand(SHAPE, generator=generator(1), dtype=torch.double)


@pytest.fixture
def w():
    return torch.randn(SHAPE[1:], generator=generator(2), dtype=torch.double)
