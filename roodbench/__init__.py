"""RoodBench: how well does an OOD detector separate ID from OOD when an adversary who knows all of it attacks?

>>> import detectors, roodbench
>>> bench = roodbench.load_benchmark("digits", ood=["unseen-digits"], limit=8)
>>> net = roodbench.load_model("digits-cnn")
>>> pro = detectors.create("pro", net, base="gen").fit(bench.id_train, bench.id_val)
>>> result = roodbench.evaluate(pro, bench, attack="both", eps=16 / 255, check=False)  # printed, it is the table
>>> [row.condition for row in result.rows]
['clean', 'min', 'max', 'both']
>>> result.rows[3].auroc < result.rows[0].auroc
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .lazy import exporter

if TYPE_CHECKING:
    from . import certify, metrics
    from .api import evaluate, run
    from .data import Benchmark, benchmark_from, load_benchmark
    from .engine.errors import EvaluationError
    from .machine.prepare import prepare
    from .models import Classifier, load_model
    from .plotting import plot
    from .record.result import Result
    from .record.row import Row
    from .setup.config import RunConfig
    from .store.cells import Store

__version__ = "0.1.0"

PUBLIC = {
    "Benchmark": "data",
    "Classifier": "models",
    "EvaluationError": "engine.errors",
    "Result": "record.result",
    "Row": "record.row",
    "RunConfig": "setup.config",
    "Store": "store.cells",
    "benchmark_from": "data",
    "certify": "certify",
    "cli": "cli",
    "evaluate": "api",
    "load_benchmark": "data",
    "load_model": "models",
    "metrics": "metrics",
    "plot": "plotting",
    "prepare": "machine.prepare",
    "run": "api",
}
"""The module of every public name: the command line's help needs no torch."""
__getattr__, __dir__ = exporter(__name__, PUBLIC)

__all__ = [
    "Benchmark",
    "Classifier",
    "EvaluationError",
    "Result",
    "Row",
    "RunConfig",
    "Store",
    "benchmark_from",
    "certify",
    "evaluate",
    "load_benchmark",
    "load_model",
    "metrics",
    "plot",
    "prepare",
    "run",
]
