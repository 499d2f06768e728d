"""The transfer attack with the constant step 2.5 eps / steps, against the suite runs that adaptive_gap.py left in OUT.

python benchmarks/constant_step_transfer.py --data-root DATA --checkpoint cifar10_resnet20.safetensors --out OUT
"""

import argparse
import json
from pathlib import Path

import torch
from roodbench.evaluate import REPORT_DRAWS, stream
from safetensors.torch import load_file

import detectors
import roodbench
from attacks import ThreatModel, pgd
from roodbench import metrics

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--data-root", required=True)
parser.add_argument("--checkpoint", required=True)
parser.add_argument("--out", type=Path, required=True)
parser.add_argument("--limit", type=int, default=64, help="one shard")
parser.add_argument("--seeds", type=int, default=3)
options = parser.parse_args()

bench = roodbench.load_benchmark("cifar10", root=options.data_root, ood=["texture"], limit=options.limit)
net = roodbench.load_model("cifar-resnet20", checkpoint=options.checkpoint)
threat, cpu = ThreatModel(1 / 255), torch.device("cpu")
suites = {}
for file in options.out.glob("cifar10-ross-*/result.json"):
    config = json.loads(file.read_text())["config"]
    if (config["method"], config["limit"], config["eps"]) == ("suite", options.limit, [threat.eps]):
        suites[config["seed"]] = load_file(file.with_name("scores.safetensors"))

print("| seed | transfer, constant step | suite | gap | one-sided 95% lower end |\n|---|---|---|---|---|")
for seed in range(options.seeds):
    ross = detectors.create("ross", net, sigma=bench.sigma, seed=seed).fit(bench.id_train, bench.id_val)
    scores = []
    for images, sign in ((bench.id_test, -1), (bench.ood["texture"], 1)):
        x = images.shard(0, options.limit)
        start = stream(seed, "attack/pgd:base", images.name, 0, cpu)
        size = 2.5 * threat.eps / 20
        moved = pgd(ross, x, threat, sign=sign, objective="base", steps=20, step_size=size, generator=start).images
        report = stream(seed, "report", images.name, 0, cpu)
        with torch.no_grad():
            scores.append(torch.stack([ross(moved, generator=report) for _ in range(REPORT_DRAWS)]).numpy())
    transfer, kept = metrics.components(*scores), suites[seed]
    names = [f"ross(gen)/{threat.eps:.6g}/{name}" for name in ("cifar10/min", "texture/max")]
    suite = metrics.components(*(kept[name].numpy() for name in names))
    gap, _, low = metrics.paired_gap(transfer, suite)
    print(f"| {seed} | {transfer.value:.4f} | {suite.value:.4f} | {gap:.4f} | {low:.4f} |", flush=True)
