import pytest

import roodbench
from tests.roodbench.entry import made


@pytest.fixture(scope="session")
def small_run(tmp_path_factory):
    """The record and the folder of a small run on the digits."""
    return roodbench.run(made.config(), out=tmp_path_factory.mktemp("runs"), check=False)
