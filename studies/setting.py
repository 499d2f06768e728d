"""What the studies share: options, the network and images they name, tables, and AUROCs read from a record."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from roodbench import Result, Row, RunConfig
from roodbench.machine.device import opened
from roodbench.metrics import Components, components
from roodbench.setup.setting import Setting
from roodbench.store.files import save_text

log = logging.getLogger("roodbench")
Config = TypeVar("Config")

WEIGHTS = {"cifar-resnet20": "cifar10_resnet20.safetensors", "cifar-at-resnet2b": "cifar10_at_resnet2b.safetensors"}
"""The file of every CIFAR-10 network of the long studies, in the folder that `--weights` names."""


def parser_of(doc: str | None, *, images: int, seeds: int | None = None) -> argparse.ArgumentParser:
    """The options of a comparison on the digits or, with `--data-root`, on CIFAR-10."""
    parser = plain_parser(doc)
    parser.add_argument("--data-root", type=Path, help="OpenOOD's data: CIFAR-10 instead of the digits")
    parser.add_argument("--checkpoint", type=Path, help="the CIFAR-10 network's weights")
    parser.add_argument("--model", help="default digits-cnn, on CIFAR-10 cifar-resnet20")
    parser.add_argument("--ood", help="default unseen-digits, on CIFAR-10 texture")
    parser.add_argument("--images", type=int, default=images, help=f"a population; default {images}")
    if seeds is not None:
        parser.add_argument("--seeds", type=int, default=seeds, help=f"from 0 on; default {seeds}")
    return parser


def long_parser(doc: str | None, *, out: Path, images: int) -> argparse.ArgumentParser:
    """The options of a study that goes on where it stopped, and whose records are kept under reports/."""
    parser = plain_parser(doc)
    parser.add_argument("--data-root", type=Path, help="OpenOOD's data")
    parser.add_argument("--weights", type=Path, help="folder with the networks' safetensors")
    parser.add_argument("--out", type=Path, default=out, help=f"folder of the records and the table; default {out}")
    parser.add_argument("--runs", type=Path, help="where finished parts are kept; default the user's cache")
    parser.add_argument("--images", type=int, default=images, help=f"a CIFAR-10 population; default {images}")
    return parser


def plain_parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser that shows a module's docstring as it is written."""
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def run_config(options: argparse.Namespace, **settings: Any) -> RunConfig:
    """The run that `parser_of`'s options name, with further settings."""
    digits = options.data_root is None
    return RunConfig(
        benchmark="digits" if digits else "cifar10",
        data_root=None if digits else str(options.data_root),
        model=options.model or ("digits-cnn" if digits else "cifar-resnet20"),
        checkpoint=None if options.checkpoint is None else str(options.checkpoint),
        ood=(options.ood or ("unseen-digits" if digits else "texture"),),
        limit=options.images,
        **settings,
    )


@contextmanager
def setting_of(config: RunConfig) -> Iterator[Setting]:
    """A configuration's benchmark, network and detectors on its open device, compiled only with `compile="on"`."""
    with opened(config.device) as device:
        setting = Setting(config, device)
        setting.compile(0.0)
        yield setting


def markdown(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """The lines of a Markdown table, one by one as the rows come."""
    yield f"| {' | '.join(columns)} |"
    yield "|" + "---|" * len(columns)
    for row in rows:
        yield f"| {' | '.join(map(str, row))} |"


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a Markdown table, every row as soon as it is there."""
    for line in markdown(columns, rows):
        print(line, flush=True)


def save_table(file: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a Markdown table."""
    save_text("\n".join(markdown(columns, rows)) + "\n", file)


def label_of(row: Row) -> str:
    """The detector's label, under which its scores lie."""
    return f"{row.detector}({row.base})" if row.base else row.detector


def area(record: Result, row: Row) -> Components:
    """DeLong's components of a row's AUROC, from the record's scores."""
    sides = {"id": (row.benchmark, "min"), "ood": (row.ood, "max")}
    attacked = {"clean": (), "min": ("id",), "max": ("ood",), "both": ("id", "ood")}[row.condition]
    id_scores, ood_scores = (
        record.scores_of(label_of(row), name, state if side in attacked else "clean", row.eps)
        for side, (name, state) in sides.items()
    )
    return components(id_scores, ood_scores)


def resume(
    configs: Iterable[tuple[str, Config]],
    folder: Path,
    last: str,
    compute: Callable[[Config, Path], float],
    tabulate: Callable[[list[str]], None],
) -> None:
    """Do every named run that has not written its `last` file below `folder`; after each one, make the table anew.

    `compute` writes the files of a run into its folder and returns the seconds that it took.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    names = []
    for name, config in configs:
        if not (folder / name / last).is_file():
            log.info("%s: %.0f s", name, compute(config, folder / name))
        names.append(name)
        tabulate(names)
