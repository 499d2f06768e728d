"""PGD's default step sizes and momentum against the constant step 2.5 eps / steps, at equal passes.

python benchmarks/step_schedule.py --data-root DATA --checkpoint cifar10_resnet20.safetensors
"""

import argparse

import torch

import detectors
import roodbench
from attacks import ThreatModel, pgd
from roodbench import metrics

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--data-root", required=True)
parser.add_argument("--checkpoint", required=True)
parser.add_argument("--limit", type=int, default=64)
options = parser.parse_args()

bench = roodbench.load_benchmark("cifar10", root=options.data_root, ood=["texture"], limit=options.limit)
net = roodbench.load_model("cifar-resnet20", checkpoint=options.checkpoint)
x_id, x_ood = bench.id_test.shard(0, options.limit), bench.ood["texture"].shard(0, options.limit)
STEPS = 20


def auroc(detector: detectors.Detector, id_images: torch.Tensor, ood_images: torch.Tensor) -> float:
    rows = []
    for images in (id_images, ood_images):
        with torch.no_grad():
            if detector.randomized:
                g = torch.Generator().manual_seed(99)
                rows.append(torch.stack([detector(images, generator=g) for _ in range(5)]).numpy())
            else:
                rows.append(detector(images).numpy())
    return metrics.auroc(*rows)


print("| detector | objective | eps | constant | geometric | geometric + momentum 0.75 |\n|---|---|---|---|---|---|")
for name, objective, eps in (
    ("msp", "exact", 0.5),
    ("gen", "exact", 0.5),
    ("pro", "exact", 0.5),
    ("ross", "mean", 1.0),
    ("ross", "soft-median", 1.0),
):
    detector = detectors.create(name, net).fit(bench.id_train, bench.id_val)
    threat = ThreatModel(eps / 255)
    cells = []
    for settings in ({"step_size": 2.5 * threat.eps / STEPS}, {}, {"momentum": 0.75}):
        moved = [
            pgd(
                detector,
                x,
                threat,
                sign=sign,
                objective=objective,
                steps=STEPS,
                draws=8,
                generator=torch.Generator().manual_seed(2 + sign),
                **settings,
            ).images
            for x, sign in ((x_id, -1), (x_ood, 1))
        ]
        cells.append(f"{auroc(detector, *moved):.4f}")
    print(f"| {name} | {objective} | {eps}/255 | {' | '.join(cells)} |", flush=True)
