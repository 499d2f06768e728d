"""A record in an experiment tracker: MLflow's own files, or the server that MLFLOW_TRACKING_URI names."""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .result import Result

INSTALL = "track mlflow needs mlflow: pip install 'roodbench[mlflow]'"
EXPERIMENT = "roodbench"
REPORT = ("result.json", "result.csv", "table.txt", "table.md")
METRICS = ("auroc", "fpr95_id", "fpr95_ood", "aupr_in", "aupr_out", "adaptive_gap")
LONGEST = 500
"""Characters of a parameter's value that every version takes."""
SETTINGS = {"MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet"}
"""What mlflow reads from its environment, where nothing else is said: it keeps files, sends nothing, needs no git."""


def library() -> Any:
    """mlflow; ValueError, with the command that installs it, where it is not there."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import mlflow
    except ImportError:
        raise ValueError(INSTALL) from None
    return mlflow


def track(result: Result, folder: Path) -> str:
    """Log a record and its files, which lie in `folder`, as a run of MLflow's experiment roodbench; returns where to.

    That is the server of MLFLOW_TRACKING_URI, or `mlruns` beside the folder.
    """
    mlflow = library()
    place = os.environ.get("MLFLOW_TRACKING_URI") or (folder.absolute().parent / "mlruns").as_uri()
    client, now = mlflow.MlflowClient(tracking_uri=place), int(time.time() * 1000)
    found = client.get_experiment_by_name(EXPERIMENT)
    experiment = client.create_experiment(EXPERIMENT) if found is None else found.experiment_id
    run = client.create_run(experiment, run_name=folder.name).info.run_id
    for name, value in parameters_of(result).items():
        client.log_param(run, name, value)
    for name, number in metrics_of(result).items():
        client.log_metric(run, name, number, timestamp=now)
    for name in REPORT:
        client.log_artifact(run, str(folder / name))
    client.set_terminated(run)
    return place


def parameters_of(result: Result) -> Mapping[str, str]:
    """The settings that say something, as text: lists as on the command line."""
    said = {name: value for name, value in result.config.items() if value not in (None, (), [], {})}
    texts = {name: ",".join(map(str, v)) if isinstance(v, list | tuple) else str(v) for name, v in said.items()}
    return {name: text[:LONGEST] for name, text in texts.items()}


def metrics_of(result: Result) -> Mapping[str, float]:
    """The numbers of all rows and averages, as DETECTOR/OOD/CONDITION[ EPS]/METRIC, and the seconds."""
    found = {"seconds": result.timing.seconds}
    for row in [*result.rows, *result.averages]:
        where = f"{row.detector}/{row.ood}/{row.condition}{'' if row.eps is None else f' {row.eps:.4g}'}"
        found |= {f"{allowed(where)}/{name}": getattr(row, name) for name in METRICS}
    return {name: number for name, number in found.items() if number is not None and math.isfinite(number)}


def allowed(name: str) -> str:
    """A name in the characters that MLflow takes.

    >>> allowed("ross(gen)/photos/both 0.031")
    'ross.gen/photos/both 0.031'
    """
    return re.sub(r"[^\w./ -]", ".", name.replace(")", ""))
