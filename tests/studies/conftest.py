"""Small runs whose records several tests read, and the tables that the studies print."""

from pathlib import Path

import pytest

import roodbench
from roodbench import RunConfig

SMALL = RunConfig(detector=("gen", "ross"), ood=("unseen-digits",), limit=4, steps=2)


@pytest.fixture(scope="session")
def small_run(private_cache, tmp_path_factory) -> Path:
    """The folder of a run of GEN and ROSS on four digits and four unseen ones."""
    return roodbench.run(SMALL, out=tmp_path_factory.mktemp("runs"), check=False)[1]


@pytest.fixture
def printed(capsys):
    """The rows of the Markdown table that a study has printed, as dicts by column."""

    def read():
        heading, rule, *rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()]
        assert rule == ["|".join(["---"] * len(heading))]
        assert all(len(row) == len(heading) for row in rows)
        return [dict(zip(heading, row, strict=True)) for row in rows]

    return read
