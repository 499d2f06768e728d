"""Time and peak memory of ROSS under attack against images, copies N and steps; each run in a process of its own.

usage: python -m benchmarks.scaling
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks.loops import TINY

if TYPE_CHECKING:
    import torch

IMAGES, COPIES, STEPS = ((2,), (), ()) if TINY else ((100, 1000, 10_000), (5, 10, 25, 50, 100), (10, 30, 100))


def measure(images: int, copies: int, steps: int) -> None:
    """One evaluation of ROSS(GEN) on random images and an untrained network: prints seconds and MiB as JSON."""
    from roodbench.machine.device import opened

    with opened("auto") as device:
        print(json.dumps(measured(device, images, copies, steps)))


def measured(device: torch.device, images: int, copies: int, steps: int) -> dict[str, float]:
    """Its seconds and its peak memory in MiB, on a device that is open."""
    import numpy as np
    import torch

    import attacks
    import detectors
    from roodbench.data import SHARD, Benchmark, ImageSet
    from roodbench.engine.worker import Worker
    from roodbench.evaluation.evaluator import Evaluator
    from roodbench.machine.prepare import prepare
    from roodbench.models import IMAGENET, Classifier
    from roodbench.models.resnet import ResNet

    rng = np.random.default_rng(0)

    def images_of(name, split, n):
        return ImageSet(name, split, [0] * n, lambda: rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8))

    val, test, ood = (images_of(*s) for s in (("v", "ID val", 64), ("t", "ID test", SHARD), ("o", "OOD test", images)))
    bench = Benchmark("random", val, val, test, val, {"o": ood}, {"o": "far"})
    net = Classifier(ResNet(20), *IMAGENET, name="untrained").to(device)
    net = prepare(net, val.shard(0, 64).to(device), compile="off")
    ross = detectors.create("ross", net, base="gen", copies=copies, chunk=net.backbone.batch).fit(val, val)
    plan = attacks.AttackPlan(attacks.ThreatModel(1 / 255), method="pgd", strength=attacks.Strength(steps, 1, copies))
    evaluator = Evaluator(Worker(ross, device=device), bench)
    reference = evaluator.clean(test).reference
    assert reference is not None
    start = time.perf_counter()
    evaluator.attacked(ood, "max", plan, reference)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated() / 2**20
    return {"seconds": seconds, "peak": peak}


def cases() -> list[dict[str, int]]:
    """The sizes that are measured: one varied at a time, the others small."""
    base = {"images": 64, "copies": 5, "steps": 3}
    found = [{"images": n, "copies": 1, "steps": 2} for n in IMAGES]
    return found + [{**base, "copies": n} for n in COPIES] + [{**base, "steps": n} for n in STEPS]


def main(argv: Sequence[str] | None = None) -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--one", type=int, nargs=3, metavar=("IMAGES", "COPIES", "STEPS"), help="print one case as JSON"
    )
    options = parser.parse_args(argv)
    if options.one is not None:
        measure(*options.one)
        return
    print("| images | copies N | steps | seconds | peak MiB |\n|---|---|---|---|---|")
    for case in cases():
        sizes = [str(size) for size in case.values()]
        command = [sys.executable, "-m", "benchmarks.scaling", "--one", *sizes]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found = json.loads(out.splitlines()[-1])
        print(f"| {' | '.join(sizes)} | {found['seconds']:.1f} | {found['peak']:.0f} |", flush=True)


if __name__ == "__main__":
    main()
