"""Images and a linear score for the gradient attacks; a test file with other needs has a `shape` of its own."""

import pytest
import torch

from tests.attacks.analytic import SHAPE, generator


@pytest.fixture
def shape():
    return SHAPE


@pytest.fixture
def x(shape):
    return torch.rand(shape, generator=generator(1), dtype=torch.double)


@pytest.fixture
def w(shape):
    return torch.randn(shape[1:], generator=generator(2), dtype=torch.double)
