"""How much the published transfer attack misses: suite against transfer at equal steps and restarts, over seeds.

python benchmarks/adaptive_gap.py --data-root DATA --checkpoint cifar10_resnet20.safetensors
"""

import argparse
from pathlib import Path

from roodbench import RunConfig, metrics, run

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--data-root", required=True)
parser.add_argument("--checkpoint", required=True)
parser.add_argument("--model", default="cifar-resnet20")
parser.add_argument("--detector", default="ross")
parser.add_argument("--base", default="gen")
parser.add_argument("--ood", default="texture")
parser.add_argument("--eps", type=float, default=1.0, help="in 255ths")
parser.add_argument("--limit", type=int, default=64)
parser.add_argument("--seeds", type=int, default=3)
parser.add_argument("--out", type=Path)
options = parser.parse_args()

print("| seed | clean | transfer | suite | gap | one-sided 95% lower end |\n|---|---|---|---|---|---|")
for seed in range(options.seeds):
    areas, clean = {}, 0.0
    for method in ("transfer", "suite"):
        config = RunConfig(
            detector=(options.detector,),
            base=options.base,
            method=method,
            eps=(options.eps / 255,),
            benchmark="cifar10",
            data_root=options.data_root,
            ood=(options.ood,),
            model=options.model,
            checkpoint=options.checkpoint,
            limit=options.limit,
            seed=seed,
        )
        result, _ = run(config, out=options.out)
        label = f"{options.detector}({options.base})/{options.eps / 255:.6g}"
        scores = [result.scores[f"{label}/{name}"].numpy() for name in ("cifar10/min", f"{options.ood}/max")]
        areas[method] = metrics.components(*scores)
        clean = next(row.auroc for row in result.rows if row.condition == "clean")
    gap, _, low = metrics.paired_gap(areas["transfer"], areas["suite"])
    transfer, suite = areas["transfer"].value, areas["suite"].value
    print(f"| {seed} | {clean:.3f} | {transfer:.3f} | {suite:.3f} | {gap:.3f} | {low:.3f} |", flush=True)
