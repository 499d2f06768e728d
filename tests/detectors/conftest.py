"""Features of four classes for the detectors that are fitted on them."""

import pytest
import torch

from tests.detectors.table import Table


@pytest.fixture
def table():
    return Table()


@pytest.fixture
def train():
    g = torch.Generator().manual_seed(1)
    means = torch.randn(4, 12, generator=g, dtype=torch.double)
    return (torch.randn(200, 12, generator=g, dtype=torch.double) + means[torch.arange(200) % 4]).relu()


@pytest.fixture
def h():
    return torch.randn(30, 12, generator=torch.Generator().manual_seed(2), dtype=torch.double).relu() + 0.01
