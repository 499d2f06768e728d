"""Kill runs at random moments and compare what they end with: python -m tests.roodbench.store.kills KIND KILLS SEED.

KIND is run or certify, with `-2` two processes that share the folder. It prints how often it killed, and what differs,
after every run that came to its end: a process lives a quarter of what an uninterrupted run took, so 200 kills take 50
times as long as that, which on cores that others use too are hours.
"""

import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch

from roodbench import api
from roodbench.certify import CertifyConfig, certify
from roodbench.setup.config import RunConfig

SMALL = {"ood": ("photos",), "limit": 70, "device": "cpu"}
RUN = RunConfig(detector=("ebo", "ross"), steps=2, restarts=1, params={"copies": 5}, **SMALL)
CERTIFY = CertifyConfig(run=RunConfig(detector=("median",), norm="l2", steps=1, restarts=1, **SMALL), samples=2000)


def compute(kind, out):
    """A run of this kind, to its end."""
    if kind.startswith("certify"):
        certify(CERTIFY, out=out, workers=1)
    else:
        api.run(RUN, out=out, workers=1)


def started(kind, out):
    """The number of a process that computes it."""
    pid = os.fork()
    if pid == 0:
        try:
            compute(kind, out)
        except BaseException as error:
            print(f"raised {error!r}", flush=True)  # noqa: T201
            os._exit(1)
        os._exit(0)
    return pid


def kept(out):
    """What the run's folder holds but for times: the record, and every other file as it is."""
    (folder,) = [p for p in out.iterdir() if (p / "manifest.json").is_file()]
    found = {}
    for file in sorted(p for p in folder.iterdir() if p.is_file() and p.name not in ("manifest.json", "table.txt")):
        found[file.name] = file.read_bytes()
        if file.name in ("result.json", "certified.json"):
            record = json.loads(found[file.name])
            found[file.name] = {k: v for k, v in record.items() if k != "timing"}
    return found


def main(kind, kills, seed):
    torch.set_num_threads(1)
    draw, done, rounds, faults = random.Random(seed), 0, 0, []
    with tempfile.TemporaryDirectory() as place:
        whole = Path(place) / "whole"
        start = time.perf_counter()
        os.waitpid(started(kind, whole), 0)
        took, wanted = time.perf_counter() - start, kept(whole)
        while done < kills:
            out = Path(place) / str(rounds)
            rounds += 1
            running = [started(kind, out) for _ in range(2 if kind.endswith("-2") else 1)]
            while running:
                time.sleep(draw.uniform(0, took / 2))
                pid = draw.choice(running)
                running.remove(pid)
                ended, status = os.waitpid(pid, os.WNOHANG)
                faults += [f"status {status} of a process that nobody killed"] if status else []
                if not ended:
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                    done += 1
                    running.append(started(kind, out))
            found = kept(out)
            faults += [name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)]
            faults += [p.name for p in (out / "cells").iterdir() if p.suffix != ".safetensors"]
            shutil.rmtree(out)
            print(f"{done} kills in {rounds} runs of {took:.1f} s, differing: {faults}", flush=True)  # noqa: T201
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
