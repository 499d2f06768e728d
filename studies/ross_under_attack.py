"""The study reports/ross-under-attack: the published evaluation of ROSS and PRO against the suite, on real CIFAR-10.

usage: python -m studies.ross_under_attack --data-root DATA --weights DIR [--out reports/ross-under-attack]
           [--bases gen,fdbd] [--detectors pro,ross] [--images 100] [--larger-eps 8] [--runs DIR]

For every network, detector and base: the protocol ross-2026 (transfer in normalised space) and the suite (pixel space)
at the same radius in pixels (of the mean channel). Finished populations are kept under --runs and finished records
under --out: the same command goes on where it stopped. Writes a record with its scores per run and README's table,
results.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from detectors.pro import OTHERS, PUBLISHED
from roodbench import Result, Row, RunConfig, run
from roodbench.setup.protocols import PROTOCOLS
from roodbench.store.files import save_tensors, save_text
from studies.setting import WEIGHTS, area, long_parser, resume, save_table

PUBLISHED_PROTOCOL, OURS = "ross-2026", "roodbench"
NETWORKS = {"cifar-resnet20": (0.5, 1.0, 2.0, 4.0), "cifar-at-resnet2b": (2.0, 4.0)}
"""Radii in pixels, times 255."""
STD = {"cifar-resnet20": 0.226, "cifar-at-resnet2b": 0.25}
"""A unit of normalised space in pixels, the mean over channels: the protocol's epsilon is the radius over it."""
PRO_SPACE = {"cifar-resnet20": "normalized", "cifar-at-resnet2b": "pixel"}
"""Where PRO's published step size was applied: it is the same step in both runs of a network."""


def configs(options: argparse.Namespace) -> Iterator[tuple[str, RunConfig]]:
    """Name and settings of every run, the fast ones first."""
    for base in options.bases.split(","):
        for model, radii in reversed(NETWORKS.items()):
            for detector in options.detectors.split(","):
                for protocol, unit in ((PUBLISHED_PROTOCOL, 1 / STD[model]), (OURS, 1.0)):
                    params: dict[str, Any] = {"distance_to_mean": False} if base == "fdbd" else {}
                    space = PROTOCOLS[protocol].get("space", "pixel")
                    if detector == "pro" and space != PRO_SPACE[model]:
                        size = PUBLISHED.get(base, OTHERS)[0]
                        params["step_size"] = size * (STD[model] if space == "pixel" else unit)
                    yield (
                        f"{model}-{detector}-{base}-{protocol}",
                        RunConfig(
                            detector=(detector,),
                            base=base,
                            params=params,
                            protocol=protocol,
                            eps=tuple(radius * unit / 255 for radius in (*radii, *options.larger_eps)),
                            benchmark="cifar10",
                            ood=("texture", "cifar100"),
                            data_root=str(options.data_root),
                            model=model,
                            checkpoint=str(options.weights / WEIGHTS[model]),
                            limit=options.images,
                        ),
                    )


def cell(row: Row | None) -> str:
    """AUROC in percent with its interval; a star where an indicator failed."""
    if row is None:
        return "-"
    star = " *" if row.reliable is False else ""
    return f"{100 * row.auroc:.1f} [{100 * row.auroc_ci[0]:.1f}, {100 * row.auroc_ci[1]:.1f}]{star}"


def rows_of(name: str, folders: Sequence[Path]) -> Iterator[list[str]]:
    """The cells of one network, detector and base, from the folders of the published protocol and the suite."""
    published, suite = (Result.load(folder) for folder in folders)
    old, find = (
        {(r.ood, r.condition, round(255 * (r.eps_pixel or 0), 1)): r for r in record.rows}
        for record in (published, suite)
    )
    for ood in suite.config["ood"]:
        clean = find[ood, "clean", 0.0]
        for eps in sorted({key[2] for key in find} - {0.0}):
            min_, max_, both = (find[ood, condition, eps] for condition in ("min", "max", "both"))
            theirs_clean, theirs = old[ood, "clean", 0.0], old[ood, "both", eps]
            hidden = area(published, theirs).minus(area(suite, both))
            low, high = hidden.interval().ci
            forward, backward = (sum(both.passes[p][i] for p in ("id", "ood")) / 2 for i in (0, 1))
            yield [
                name,
                ood,
                f"{eps:g}/255",
                *map(cell, (clean, theirs_clean, theirs)),
                "-" if both.auroc_transfer is None else f"{100 * both.auroc_transfer:.1f}",
                *map(cell, (min_, max_, both)),
                f"{100 * hidden.value:.1f} [{100 * low:.1f}, {100 * high:.1f}]",
                f"{forward:.0f} + {backward:.0f}",
            ]


COLUMNS = (
    "network, detector(base)",
    "OOD set",
    "eps (pixels)",
    "clean",
    "published protocol, clean",
    "published protocol, both",
    "same attack, our space and steps, both",
    "suite, min",
    "suite, max",
    "suite, both",
    "published minus suite (paired)",
    "passes per image (suite)",
)


def write_table(folder: Path, names: Sequence[str]) -> None:
    """results.md, of the runs whose records exist under both protocols."""
    rows: list[list[str]] = []
    for name in dict.fromkeys(name.removesuffix(f"-{p}") for name in names for p in PROTOCOLS if name.endswith(p)):
        folders = [folder / f"{name}-{protocol}" for protocol in (PUBLISHED_PROTOCOL, OURS)]
        if all((f / "scores.safetensors").is_file() for f in folders):
            network, detector, base = name.rsplit("-", 2)
            rows += rows_of(f"{network}, {detector}({base})", folders)
    save_table(folder / "results.md", COLUMNS, rows)


def compute(config: RunConfig, folder: Path, runs: Path | None) -> float:
    """Run and keep the record and the scores; returns the seconds."""
    # the published protocol fails its indicators by its travel alone: no further attacks to show more
    result, _ = run(config, out=runs, check=config.protocol == OURS)
    save_text(result.to_json() + "\n", folder / "result.json")
    save_tensors(result.scores, folder / "scores.safetensors")
    return result.timing.seconds


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is not finished and write the table."""
    parser = long_parser(__doc__, out=Path("reports/ross-under-attack"), images=100)
    parser.add_argument("--bases", default="gen,fdbd")
    parser.add_argument("--detectors", default="pro,ross")
    parser.add_argument("--larger-eps", type=float, nargs="*", default=[], help="further radii, times 255")
    options = parser.parse_args(argv)
    if options.data_root is None or options.weights is None:
        parser.error("give --data-root DATA and --weights DIR, the folder with the networks' safetensors")
    one = partial(compute, runs=options.runs)
    resume(configs(options), options.out, "scores.safetensors", one, partial(write_table, options.out))


if __name__ == "__main__":
    main()
