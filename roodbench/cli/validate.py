"""The verb `validate`: what is wrong with a benchmark's images, before hours are spent on them."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from ..setup.config import RunConfig
from ..words import counted
from .console import computing, start_logging
from .given import check_spelt, one_format
from .options import OUTPUT, Context, argument, changed, option, taking

if TYPE_CHECKING:
    from ..data.validation import Validation

SPEC = argument("spec", "Look at this benchmark, as --benchmark names it; default digits.")


@taking(
    SPEC,
    *("data_root", "download", "ood", "train_limit"),
    changed("limit", default=0, help="Look at so many images of each test set, 0 for all."),
    changed("format", help="Print a table or json."),
    option("strict", bool, False, "Exit 1 for a notice too.", OUTPUT, "--strict"),
    "log_format",
    "quiet",
)
def validate(context: Context, *, spec: str | None, **given: Any) -> None:
    """Look for what is wrong with a benchmark's lists, images and classes; exit 1 if a run would end or mislead."""
    one_format(given["format"], ("table", "json"))
    config = RunConfig(
        benchmark=spec or RunConfig.benchmark,
        data_root=given["data_root"],
        download=given["download"],
        ood=given["ood"],
        train_limit=given["train_limit"],
        limit=given["limit"],
    )
    check_spelt(context, config, attacking=False)
    start_logging(given["quiet"], given["log_format"])
    from ..data import load_benchmark
    from ..data.validation import validate as validated
    from ..store.users import here

    computing()
    with here():
        found = validated(
            load_benchmark(
                config.benchmark,
                root=config.data_root,
                ood=None if config.ood is None else list(config.ood),
                limit=config.limit or None,
                train_limit=config.train_limit,
                download=config.download,
            )
        )
    typer.echo(as_text(found) if given["format"] == "table" else json.dumps(asdict(found), indent=1))
    if found.failed or (given["strict"] and found.findings):
        raise typer.Exit(1)


def as_text(found: Validation) -> str:
    """A table of the sets, and one line for every finding."""
    from rich import box
    from rich.table import Table

    from ..record.text import printed

    heads = ("place", "set", "images", "readable", "distinct", "classes", "images a class", "width x height x channels")
    table = Table(title=found.name, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for head in heads:
        table.add_column(head)
    for s in found.sets:
        counts = "" if s.per_class is None else f"{s.per_class[0]} to {s.per_class[1]}"
        cells = (s.place, s.name, s.images, s.readable, s.distinct, s.classes or "", counts, ", ".join(s.sizes))
        table.add_row(*map(str, cells))
    errors = sum(finding.level == "error" for finding in found.findings)
    lines = [f"{finding.level}: {finding.text}" for finding in found.findings]
    verdict = f"{counted(errors, 'error')}, {counted(len(lines) - errors, 'notice')}" if lines else "nothing is wrong"
    return "\n".join([printed(table), *lines, verdict])
