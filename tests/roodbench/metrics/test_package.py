"""What importing the metrics brings along."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import roodbench
from roodbench import metrics

CODE = """
import importlib, sys, types
sys.modules["roodbench"] = face = types.ModuleType("roodbench")  # the metrics alone, without the package's own face
face.__path__ = [sys.argv[1]]
importlib.import_module("roodbench.metrics" + sys.argv[2])
print(*sys.modules)
"""


@pytest.mark.parametrize(
    ("module", "brought"),
    [("", []), (".bounds", ["scipy.special"]), (".gauroc", []), (".deployed", ["scipy.special"])],
)
def test_no_metric_imports_more_than_it_needs(module, brought):
    command = [sys.executable, "-c", CODE, str(Path(roodbench.__file__).parent), module]
    modules = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert "numpy" in modules
    assert [name for name in modules if name in ("torch", "sklearn", "scipy.special", "scipy.stats")] == brought
    own = {name for name in modules if name.partition(".")[0] in ("roodbench", "attacks", "detectors")}
    assert all(name.startswith("roodbench.metrics") for name in own - {"roodbench", "roodbench.words"})


def test_certified_metrics_are_functions_as_the_others():
    assert roodbench.metrics.gauroc([2.0, 3.0], [1.0, 2.5]) == 0.75
    assert roodbench.metrics.gfpr95([2.0, 3.0], [1.0, 2.5]) == 0.5


@pytest.mark.parametrize("wrong", [[1.0, float("nan")], [1.0, float("inf")], [], [1j, 2.0]])
@pytest.mark.parametrize("rate", [metrics.fpr95_id, metrics.fpr95_ood, metrics.aupr_in, metrics.aupr_out])
def test_scores_that_are_no_numbers_have_no_rate(rate, wrong):
    for populations in ((wrong, [0.0, 1.0]), ([0.0, 1.0], wrong)):
        with pytest.raises(ValueError, match=r"expected (a finite number|real numbers)"):
            rate(*map(np.array, populations))
