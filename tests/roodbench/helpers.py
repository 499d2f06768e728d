"""What several test files need: small benchmarks, fitted detectors, evaluators."""

import time

import detectors
import roodbench
from roodbench.engine.worker import Worker
from roodbench.evaluation.evaluator import Evaluator
from roodbench.setup.setting import is_smoothed


def small(limit=20, ood=("unseen-digits",)):
    """The digits with a few images."""
    return roodbench.load_benchmark("digits", ood=list(ood), limit=limit)


def fitted(name, net, bench, **params):
    """A detector as a run makes it."""
    if is_smoothed(name):
        params.setdefault("sigma", bench.sigma)
    return detectors.create(name, net, **params).fit(bench.id_train, bench.id_val)


def few(name):
    """Parameters with which a smoothed detector costs less."""
    return {"copies": 5} if is_smoothed(name) else {}


def evaluator(detector, bench, **settings):
    """An evaluator of a fitted detector; `settings` are a worker's."""
    return Evaluator(Worker(detector, **settings), bench)


def wait_for(what, done, seconds=600.0):
    """Until done(), however loaded the machine is; AssertionError, saying what was waited for, after ten minutes."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"{seconds:g} s were not enough for {what}"
        time.sleep(0.01)
