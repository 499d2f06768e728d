"""What the suite's last attack, PGD from the best that the others found, adds: AUROC without and with it, paired.

usage: python -m benchmarks.refine [--data-root DATA --checkpoint cifar10_resnet20.safetensors]

digits against unseen-digits and, with data, CIFAR-10 against texture; strength quick.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from roodbench.attacker import stream

import attacks
import detectors
import roodbench
from roodbench import metrics

EPS = {"digits": (16 / 255, 32 / 255), "cifar10": (0.5 / 255, 1 / 255)}
STRENGTH = attacks.STRENGTHS["quick"]


def scores(detector: detectors.Detector, x: torch.Tensor, sign: int, eps: float, seed: int) -> list[np.ndarray]:
    """Of the images attacked without and with `refine`."""

    def streams(name: str) -> torch.Generator:
        return stream(seed, name, str(sign), 0, torch.device("cpu"))

    names = attacks.components_of(detector, "suite", None, STRENGTH)
    assert names[-1] == "refine:exact"
    found, threat = [], attacks.ThreatModel(eps)
    for components in (names[:-1], names):
        result = attacks.suite(detector, x, threat, sign=sign, streams=streams, components=components)
        assert result.scores is not None
        found.append(result.scores.double().numpy())
    return found


def main() -> None:
    """Print a Markdown table, one line per benchmark, detector, radius and seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root")
    parser.add_argument("--checkpoint")
    parser.add_argument("--detectors", default="gen,msp,knn,vim,pro")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    digits = roodbench.load_benchmark("digits", limit=options.images).only(["unseen-digits"])
    cases = [(digits, roodbench.load_model("digits-cnn"))]
    if options.data_root is not None:
        bench = roodbench.load_benchmark("cifar10", root=options.data_root, ood=["texture"], limit=options.images)
        net = roodbench.load_model("cifar-resnet20", checkpoint=options.checkpoint)
        cases.append((bench, roodbench.prepare(net, bench.id_val.shard(0, 64), compile="on")))
    print("| benchmark | detector | eps | seed | condition | without | with | lower by | two std errors |")
    print("|---|---|---|---|---|---|---|---|---|")
    for bench, net in cases:
        (ood,) = bench.ood.values()
        for name in options.detectors.split(","):
            settings = {"base": "gen"} if name == "pro" else {}
            detector = detectors.create(name, net, **settings).fit(bench.id_train, bench.id_val)
            x_id, x_ood = bench.id_test.shard(0, options.images), ood.shard(0, options.images)
            with torch.no_grad():
                clean = [2 * [detector(x).double().numpy()] for x in (x_id, x_ood)]
            for eps in EPS[bench.name]:
                for seed in range(options.seeds):
                    low, high = scores(detector, x_id, -1, eps, seed), scores(detector, x_ood, 1, eps, seed)
                    for condition, pair in {
                        "min": (low, clean[1]),
                        "max": (clean[0], high),
                        "both": (low, high),
                    }.items():
                        before, after = (metrics.components(a, b) for a, b in zip(*pair, strict=True))
                        gap, error, _ = metrics.paired_gap(before, after)
                        numbers = f"{before.value:.4f} | {after.value:.4f} | {gap:.4f} | {2 * error:.4f}"
                        print(
                            f"| {bench.name} | {name} | {255 * eps:g}/255 | {seed} | {condition} | {numbers} |",
                            flush=True,
                        )


if __name__ == "__main__":
    main()
