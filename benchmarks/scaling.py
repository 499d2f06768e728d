"""Time and peak memory of ROSS under attack against images, copies N and steps; each run in a process of its own.

usage: python -m benchmarks.scaling
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

IMAGES, COPIES, STEPS = (100, 1000, 10_000), (5, 10, 25, 50, 100), (10, 30, 100)


def measure(images: int, copies: int, steps: int) -> None:
    """One evaluation of ROSS(GEN) on random images and an untrained network: prints seconds and MiB as JSON."""
    import numpy as np
    import torch
    from roodbench.evaluate import AttackPlan, Evaluator
    from roodbench.prepare import prepare

    import attacks
    import detectors
    from roodbench.data import SHARD, Benchmark, ImageSet
    from roodbench.models import IMAGENET, Classifier
    from roodbench.models.resnet import ResNet

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rng = np.random.default_rng(0)

    def images_of(name, split, n):
        return ImageSet(name, split, [0] * n, lambda: rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8))

    val, test, ood = (images_of(*s) for s in (("v", "ID val", 64), ("t", "ID test", SHARD), ("o", "OOD test", images)))
    bench = Benchmark("random", val, val, test, val, {"o": ood}, {"o": "far"})
    net = Classifier(ResNet(20), *IMAGENET, name="untrained").to(device)
    net = prepare(net, val.shard(0, 64).to(device), compile="off")
    ross = detectors.create("ross", net, base="gen", copies=copies, chunk=net.backbone.batch).fit(val, val)
    plan = AttackPlan(attacks.ThreatModel(1 / 255), method="pgd", strength=attacks.Strength(steps, 1, copies))
    evaluator = Evaluator(ross, bench, device=device)
    reference = evaluator.clean(test).reference
    start = time.perf_counter()
    evaluator.attacked(ood, "max", plan, reference)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated() / 2**20
    print(json.dumps({"seconds": seconds, "peak": peak}))


def main() -> None:
    """Print a Markdown table: one size varied at a time, the others small."""
    print("| images | copies N | steps | seconds | peak MiB |\n|---|---|---|---|---|")
    base = {"images": 64, "copies": 5, "steps": 3}
    cases = [{"images": n, "copies": 1, "steps": 2} for n in IMAGES]
    cases += [{**base, "copies": n} for n in COPIES] + [{**base, "steps": n} for n in STEPS]
    for case in cases:
        command = [sys.executable, "-m", "benchmarks.scaling", "one", *(str(v) for v in case.values())]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found = json.loads(out.splitlines()[-1])
        sizes = " | ".join(str(v) for v in case.values())
        print(f"| {sizes} | {found['seconds']:.1f} | {found['peak']:.0f} |", flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 5 and sys.argv[1] == "one":
        measure(*(int(v) for v in sys.argv[2:]))
    elif len(sys.argv) == 1:
        main()
    else:
        sys.exit(__doc__)
