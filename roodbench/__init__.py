"""RoodBench: how well does an OOD detector separate ID from OOD when an adversary who knows all of it attacks?

bench = roodbench.load_benchmark("digits")
net = roodbench.load_model("digits-cnn")
ross = detectors.create("ross", net, base="gen", sigma=bench.sigma).fit(bench.id_train, bench.id_val)
print(roodbench.evaluate(ross, bench, attack="both"))
"""

from .config import RunConfig
from .data import Benchmark, load_benchmark
from .evaluate import EvaluationError
from .models import Classifier, load_model
from .prepare import prepare
from .result import Result, Row
from .run import evaluate, run
from .store import Store

__version__ = "0.1.0"

__all__ = [
    "Benchmark",
    "Classifier",
    "EvaluationError",
    "Result",
    "Row",
    "RunConfig",
    "Store",
    "evaluate",
    "load_benchmark",
    "load_model",
    "prepare",
    "run",
]
