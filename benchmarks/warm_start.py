"""What the suite gains by attacking the exact score last, from the best that the surrogates found, at equal passes.

usage: python -m benchmarks.warm_start --data-root DATA --checkpoint cifar10_resnet20.safetensors [--model NAME]
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor

import attacks
import detectors
import roodbench
from roodbench import metrics
from roodbench.attacker import stream

EPS = 0.5 / 255
CPU = torch.device("cpu")


def attacked(detector: detectors.Detector, images: dict[int, Tensor], last: bool, seed: int) -> metrics.Components:
    """AUROC of the images by sign; an exact score attacked first starts at random."""
    names = attacks.components_of(detector, "suite", None, attacks.STRENGTHS["quick"])
    assert names[-1] == "pgd:exact"
    scores = {}
    for sign, x in images.items():
        found = attacks.suite(
            detector,
            x,
            attacks.ThreatModel(EPS),
            sign=sign,
            streams=lambda name, sign=sign: stream(seed, name, str(sign), 0, CPU),  # type: ignore[misc]
            components=names if last else (names[-1], *names[:-1]),
        )
        assert found.scores is not None
        scores[sign] = found.scores.double().numpy()
    return metrics.components(scores[-1], scores[1])


def main() -> None:
    """Print a Markdown table, one line per detector and seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--model", default="cifar-resnet20")
    parser.add_argument("--ood", default="texture")
    parser.add_argument("--detectors", default="gen,msp,pro")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    bench = roodbench.load_benchmark("cifar10", root=options.data_root, ood=[options.ood], limit=options.images)
    net = roodbench.load_model(options.model, checkpoint=options.checkpoint)
    net = roodbench.prepare(net, bench.id_val.shard(0, 64), compile="on")
    images = {-1: bench.id_test.shard(0, options.images), 1: bench.ood[options.ood].shard(0, options.images)}
    print("| detector | seed | random start | warm start | lower by | two std errors |\n|---|---|---|---|---|---|")
    for name in options.detectors.split(","):
        settings = {"base": "gen"} if name == "pro" else {}
        detector = detectors.create(name, net, **settings).fit(bench.id_train, bench.id_val)
        for seed in range(options.seeds):
            cold, warm = (attacked(detector, images, last, seed) for last in (False, True))
            gap, error, _ = metrics.paired_gap(cold, warm)
            print(
                f"| {name} | {seed} | {cold.value:.4f} | {warm.value:.4f} | {gap:.4f} | {2 * error:.4f} |", flush=True
            )


if __name__ == "__main__":
    main()
