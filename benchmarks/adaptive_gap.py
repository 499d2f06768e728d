"""How much the published transfer attack misses, over seeds: at equal steps and restarts, and at equal passes.

usage: python -m benchmarks.adaptive_gap [--data-root DATA --checkpoint cifar10_resnet20.safetensors]

Without data, on digits. For equal passes transfer gets the restarts that cost what the suite spent on these images,
a backward pass counted as two forwards.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from attacks import STRENGTHS
from roodbench import Result, RunConfig, metrics, run
from roodbench.metrics import Components


def configuration(options: argparse.Namespace) -> RunConfig:
    """The suite's run on the chosen benchmark."""
    config = RunConfig(detector=(options.detector,), base=options.base, limit=options.limit)
    if options.data_root is None:
        return replace(config, ood=("unseen-digits",), eps=((options.eps or 16) / 255,))
    return replace(
        config,
        benchmark="cifar10",
        data_root=options.data_root,
        ood=(options.ood,),
        model=options.model,
        checkpoint=options.checkpoint,
        eps=((options.eps or 1) / 255,),
    )


def attacked(config: RunConfig, out: Path | None) -> tuple[Result, Components, float]:
    """The record, DeLong's components of ID under min against OOD under max, and the passes per image."""
    result, _ = run(config, out=out, check=False)
    (both,) = (row for row in result.rows if row.condition == "both" and row.ood != "average")
    ((eps,), (ood,)) = config.eps or (), config.ood or ()
    label = next(key for key in result.scores if key.endswith(f"/{config.benchmark}/min")).rsplit("/", 2)[0]
    assert label.endswith(f"/{eps:.6g}")
    scores = [result.scores[f"{label}/{name}"].numpy() for name in (f"{config.benchmark}/min", f"{ood}/max")]
    passes = [forward + 2 * backward for forward, backward in (both.passes["id"], both.passes["ood"])]
    return result, metrics.components(*scores), sum(passes) / 2


def main() -> None:
    """Print a Markdown table, one line per seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root")
    parser.add_argument("--checkpoint")
    parser.add_argument("--model", default="cifar-resnet20")
    parser.add_argument("--detector", default="ross")
    parser.add_argument("--base", default="gen")
    parser.add_argument("--ood", default="texture")
    parser.add_argument("--eps", type=float, help="in 255ths; default 1, on digits 16")
    parser.add_argument("--limit", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    columns = (
        "seed",
        "clean",
        "transfer",
        "transfer, equal passes",
        "its restarts",
        "suite",
        "gap",
        "lower end",
        "gap, equal passes",
        "lower end",
    )
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for seed in range(options.seeds):
        config = replace(configuration(options), seed=seed)
        result, suite, spent = attacked(config, options.out)
        _, transfer, each = attacked(replace(config, method="transfer"), options.out)
        steps = STRENGTHS[config.strength].steps
        look = each / (steps + 2)  # a run looks at the clean images, too, and once more after its last step
        restarts = max(1, round((spent / look - 1) / (steps + 1)))
        _, equal, _ = attacked(replace(config, method="transfer", restarts=restarts), options.out)
        clean = next(row.auroc for row in result.rows if row.condition == "clean")
        cells = [clean, transfer.value, equal.value, restarts, suite.value]
        for other in (transfer, equal):
            gap, _, low = metrics.paired_gap(other, suite)
            cells += [gap, low]
        text = [str(cell) if isinstance(cell, int) else f"{cell:.3f}" for cell in cells]
        print(f"| {seed} | {' | '.join(text)} |", flush=True)


if __name__ == "__main__":
    main()
