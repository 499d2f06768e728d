"""The transfer attack with the constant step 2.5 eps / steps, against the suite runs that adaptive_gap left in OUT.

usage: python -m studies.constant_step_transfer --out OUT [--data-root DATA --checkpoint WEIGHTS]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from attacks import ThreatModel, pgd
from roodbench import Result
from roodbench.data import SHARD
from roodbench.engine.worker import Worker
from roodbench.evaluation.attacker import Attacker
from roodbench.metrics import Components, components, paired_gap
from roodbench.setup.config import RunConfig
from roodbench.setup.setting import Setting
from studies.setting import area, parser_of, print_table, run_config, setting_of

COLUMNS = ("seed", "transfer, constant step", "suite", "gap", "one-sided 95% lower end")
STEPS = 20


def suite_of(config: RunConfig, out: Path) -> Components:
    """DeLong's components of the suite's run of a configuration; ValueError where there is none in a folder of runs."""
    asked = {
        "method": "suite",
        "limit": config.limit,
        "eps": list(config.eps or ()),
        "ood": list(config.ood or ()),
        "model": config.model,
        "steps": config.steps,
        "restarts": config.restarts,
        "seed": config.seed,
    }
    for file in sorted(out.glob(f"{config.benchmark}-ross-*/result.json")):
        record = Result.load(file)
        if all(record.config.get(name) == value for name, value in asked.items()):
            (both,) = (row for row in record.rows if row.condition == "both")
            return area(record, both)
    raise ValueError(f"no run of {asked} in '{out}': run studies.adaptive_gap with the same options first")


def transfer_of(setting: Setting) -> Components:
    """The same under the transfer attack with a constant step, scored on the suite run's own report noise."""
    (eps,), (ood,) = setting.config.eps or (), setting.bench.ood.values()
    ross, _ = setting.fitted("ross")
    worker, threat = Worker(ross, seed=setting.config.seed, device=setting.device), ThreatModel(eps)
    scores = []
    for sign, images in ((-1, setting.bench.id_test), (1, ood)):
        x = images.shard(0, len(images)).to(setting.device)
        start = worker.stream("attack/pgd:base", images.name, 0)
        size = 2.5 * eps / STEPS
        moved = pgd(ross, x, threat, sign=sign, objective="base", steps=STEPS, step_size=size, generator=start).images
        scores.append(Attacker(worker).scores(moved, images.name, 0).numpy())
    id_scores, ood_scores = scores
    return components(id_scores, ood_scores)


def rows_of(options: argparse.Namespace) -> Iterator[list[str]]:
    """The cells of the table, one row per seed."""
    eps = options.eps or (16 if options.data_root is None else 1)
    for seed in range(options.seeds):
        config = run_config(options, detector=("ross",), eps=(eps / 255,), seed=seed, compile="off")
        suite = suite_of(config, options.out)
        with setting_of(config) as setting:
            transfer = transfer_of(setting)
        gap, _, low = paired_gap(transfer, suite)
        yield [str(seed), *(f"{value:.4f}" for value in (transfer.value, suite.value, gap, low))]


def main(argv: Sequence[str] | None = None) -> None:
    """Print a Markdown table, one line per seed."""
    parser = parser_of(__doc__, images=SHARD, seeds=3)
    parser.add_argument("--eps", type=float, help="in 255ths; default 16, on CIFAR-10 1")
    parser.add_argument("--out", type=Path, required=True, help="the folder of adaptive_gap's runs")
    options = parser.parse_args(argv)
    if not 2 <= options.images <= SHARD:
        parser.error(f"images {options.images}: expected 2 to {SHARD}, one shard")
    try:
        print_table(COLUMNS, rows_of(options))
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
