"""The study reports/papers-figures: figures of the PRO and the ROSS paper from runs on public CIFAR-10 networks.

usage: python -m studies.papers_figures --data-root DATA --weights DIR [--out reports/papers-figures] [--runs DIR]
           [--images 500] [--attacked 64] [--device auto] [--only cifar-resnet20-pro,sigma-0.0125] [--draw | --tables]

Clean runs of base scores and of PRO over three of them, its steps searched as published (PRO, Fig. 1 and 4); one
step's shift of MSP on six networks (Fig. 3 and 7); landscapes of MSP (Fig. 6); ROSS under the suite at several sigmas,
and its medians and instabilities. Every part writes its records and numbers into --out. `--draw` draws all figures and
tables of what lies there and needs matplotlib, `--tables` makes the tables of the PRO paper; both compute nothing.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from roodbench import Result, RunConfig, run
from roodbench.record.surroundings import Copies, Landscape, Shifts
from roodbench.record.table import cell
from roodbench.reopen import reopened
from roodbench.report.figures import figure, save
from roodbench.report.tables import papers_table
from roodbench.store.files import save_text
from roodbench.surroundings import Opening, landscapes, measured, shifts
from studies.setting import long_parser, markdown

log = logging.getLogger("roodbench")

NETWORKS = {
    "cifar-resnet20": "cifar10_resnet20.safetensors",
    "cifar-resnet32": "cifar10_resnet32.safetensors",
    "cifar-resnet44": "cifar10_resnet44.safetensors",
    "cifar-resnet56": "cifar10_resnet56.safetensors",
    "cifar-at-resnet2b": "cifar10_at_resnet2b.safetensors",
    "cifar-at-resnet4b": "cifar10_at_resnet4b.safetensors",
}
COMPARED = ("cifar-resnet20", "cifar-at-resnet2b", "cifar-at-resnet4b")
"""Networks of Fig. 1 and 4; the others show their shift alone."""
NEAR, FAR = ("cifar100", "tin"), ("mnist", "texture")
BASES = (
    *("msp", "msp-t", "ent", "gen", "ebo", "mls", "odin", "react", "ash", "scale"),
    *("fdbd", "mds", "knn", "vim", "she", "gradnorm"),
)
MORE = ("rmds", "klm", "openmax", "dice", "relation", "nnguide", "rankfeat", "approximate-mass")
"""Base scores that are in the tables alone."""
OVER: dict[str, dict[str, Any]] = {"msp": {}, "ent": {}, "gen": {"gamma": 0.1, "top": 100}}
"""Base scores of PRO's own variants, and their parameters, which a search would choose too: here they stand still."""
SIGMAS, RADII, SMOOTHED = (0.00625, 0.0125, 0.025, 0.0625), (1.0, 2.0, 4.0), "cifar-at-resnet2b"
"""The published grid in pixels, radii times 255, and their network."""
SHOWN = ("cifar10:0", "cifar10:1", "cifar100:0", "cifar100:1")
FEW = 500
"""Training images where nothing is fitted on them: the others need not be read."""
REACH, STEP, STD = 8 / 255, 0.003, 0.226
"""Of landscapes, in pixels; PRO-MSP's published step, of adversarially trained networks in pixels, of the others in
normalised space, a unit of which is so many pixels."""
KINDS: dict[str, type] = {"shift": Shifts, "landscape": Landscape, "gradient": Landscape, "smoothing": Copies}


def config(options: argparse.Namespace, model: str, **settings: Any) -> RunConfig:
    """A run on CIFAR-10."""
    own: dict[str, Any] = {"attack": "none", "ood": (*NEAR, *FAR), "limit": options.images, **settings}
    return RunConfig(
        benchmark="cifar10",
        data_root=str(options.data_root),
        model=model,
        checkpoint=str(options.weights / NETWORKS[model]),
        device=options.device,
        **own,
    )


def runs_of(part: str, options: argparse.Namespace) -> Iterator[tuple[str, RunConfig]]:
    """Name and settings of a part's runs."""
    if part.startswith("sigma-"):
        params = {"sigma": float(part.removeprefix("sigma-"))}
        eps = tuple(radius / 255 for radius in RADII)
        attacked = {
            "attack": "both",
            "ood": ("texture", "cifar100"),
            "eps": eps,
            "limit": options.attacked,
            "train_limit": FEW,
        }
        yield part, config(options, SMOOTHED, detector=("ross",), params=params, **attacked)
    elif part.endswith("-pro"):
        for base, params in OVER.items():
            over = {"base": base, "params": params, "search": True, "train_limit": FEW}
            yield f"{part}-{base}", config(options, part.removesuffix("-pro"), detector=("pro",), **over)
    elif part.endswith("-more"):
        model = part.removesuffix("-more")
        yield part, config(options, model, detector=MORE)
        step = {"step_size": STEP * (1.0 if "-at-" in model else STD), "steps": 1}
        yield (
            f"{model}-pro-msp-t",
            config(options, model, detector=("pro",), base="msp-t", params=step, train_limit=FEW),
        )
    elif part in COMPARED:
        yield f"{part}-bases", config(options, part, detector=BASES)
    else:
        yield f"{part}-bases", config(options, part, detector=("msp",), train_limit=FEW)


def compute(part: str, options: argparse.Namespace) -> None:
    """A part's records, and the numbers that their networks say again."""
    for name, its in runs_of(part, options):
        result, _ = run(its, out=options.runs, check=False, workers=1)
        save_text(result.to_json() + "\n", options.out / name / "result.json")
        if part.startswith("sigma-"):
            keep(options.out / name, "smoothing", measured("smoothing", result))
        elif name.endswith("-bases"):
            with reopened(result, result.config, {"device": options.device}) as setting:  # once for all of them
                opening = Opening(result, setting, ["msp"])
                keep(options.out / name, "shift", shifts(opening, eps=STEP * (1.0 if "-at-" in part else STD)))
                for kind in ("landscape", "gradient") if part in COMPARED else ():
                    found = landscapes(opening, images=SHOWN, eps=REACH, gradient=kind == "gradient")
                    keep(options.out / name, kind, found)


def keep(folder: Path, kind: str, found: Sequence[Any]) -> None:
    """Write measurements as JSON, in five digits."""
    save_text(json.dumps([plain(asdict(its)) for its in found]) + "\n", folder / f"{kind}.json")


def plain(value: Any) -> Any:
    """JSON-like, arrays as lists of numbers in five digits."""
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {name: plain(its) for name, its in value.items()}
    if isinstance(value, list | tuple):
        return [plain(its) for its in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def kept(folder: Path, kind: str) -> list[Any]:
    """What `keep` wrote; nothing where it has not."""
    file = folder / f"{kind}.json"
    entries = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    arrays = {f.name for f in fields(KINDS[kind]) if "ndarray" in str(f.type)}

    def array(value: Any) -> Any:
        return {name: np.array(its) for name, its in value.items()} if isinstance(value, dict) else np.array(value)

    return [KINDS[kind](**{k: array(v) if k in arrays else v for k, v in entry.items()}) for entry in entries]


def records_in(folder: Path) -> dict[str, Result]:
    """The records in a folder by the names of their runs."""
    return {file.parent.name: Result.load(file) for file in sorted(folder.glob("*/result.json"))}


def draw(folder: Path) -> None:
    """Every figure of the records and numbers in a folder, as SVG, landscapes as PNG."""
    records = records_in(folder)
    tabled = ("-more", "-msp-t")
    clean = {name: its for name, its in records.items() if not (name.startswith("sigma-") or name.endswith(tabled))}
    robust = {name: its for name, its in clean.items() if name.startswith("cifar-at-resnet4b")}
    over = [*OVER, *(f"pro({base})" for base in OVER)]
    compared = {name: its for name, its in clean.items() if name.startswith(COMPARED)}
    shifts = [its for model in NETWORKS for its in kept(folder / f"{model}-bases", "shift")]
    pair = [its for its in shifts if its.network.endswith(("cifar-resnet20", "cifar-at-resnet4b"))]
    smoothing = [its for sigma in SIGMAS for its in kept(folder / f"sigma-{sigma:g}", "smoothing")]
    drawn: dict[str, Any] = {
        "pro-figure-1": ("scatter", robust, {}),
        "pro-figure-3": ("shift", pair, {}),
        "pro-figure-4": ("bars", compared, {"ood": "near", "detectors": over}),
        "pro-figure-7": ("shift", shifts, {}),
        "ross-sigma": ("epsilon", {n: its for n, its in records.items() if n.startswith("sigma-")}, {"ood": "texture"}),
        "ross-histograms": ("smoothing", [its for its in smoothing if its.sigma == SIGMAS[2]], {"ood": "texture"}),
    }
    for model, kind in (("resnet20", "landscape"), ("at-resnet4b", "landscape"), ("at-resnet4b", "gradient")):
        end = "" if kind == "landscape" else "-gradient"
        drawn[f"pro-figure-6-{model}{end}"] = ("landscape", kept(folder / f"cifar-{model}-bases", kind), {})
    for name, (kind, found, choice) in drawn.items():
        if found:
            ending = "png" if kind == "landscape" else "svg"  # of contours an SVG is large
            save(figure(kind, found, **choice), folder / f"{name}.{ending}")


def tables(folder: Path) -> Iterator[str]:
    """What the figures show, as Markdown tables."""
    records = records_in(folder)
    yield "## Near OOD, clean: FPR95 (OpenOOD's) / AUROC, %\n"
    heads: tuple[str, ...] = (
        "network",
        "base score",
        "alone",
        "with PRO",
        "AUROC gained",
        "PRO's step and number of steps",
    )
    yield from markdown(heads, gained(records))
    yield f"\n## One step against MSP's gradient, PRO's {STEP:g}: median change, and AUROC of the change alone, %\n"
    shifts = [its for model in NETWORKS for its in kept(folder / f"{model}-bases", "shift")]
    sets = (*NEAR, *FAR)
    heads = ("network", "ID", *(f"{name}, median" for name in sets), *(f"{name}, AUROC" for name in sets))
    yield from markdown(heads, map(shift_row, shifts))
    yield "\n## ROSS over GEN against sigma: AUROC % [95% interval], both populations attacked by the suite\n"
    heads = ("sigma", "OOD set", "clean", *(f"{radius:g}/255" for radius in RADII), "AUROC of the median", "of low D")
    yield from markdown(heads, ross_rows(folder, records))
    yield "\n## MSP around images: the score there, its range over random signs and with the gradient's signs\n"
    yield from markdown(("network", "image", "score", "random signs", "gradient's signs"), landscape_rows(folder))


def papers_tables(folder: Path) -> Iterator[tuple[str, str]]:
    """Names of files and their texts: the table of every compared network, as the papers print theirs."""
    records = {name: its for name, its in records_in(folder).items() if not name.startswith("sigma-")}
    for model in COMPARED:
        its = {name: record for name, record in records.items() if name.startswith(f"{model}-")}
        for format, ending in (("markdown", "md"), ("latex", "tex"), ("csv", "csv")):
            yield f"pro-table-{model}.{ending}", papers_table(its, format).rstrip() + "\n"


def gained(records: Mapping[str, Result]) -> Iterator[list[str]]:
    """Of each network and base score, near OOD alone and with PRO."""
    for model in COMPARED:
        own = records.get(f"{model}-bases")
        for base in OVER if own is not None else ():
            over = records.get(f"{model}-pro-{base}")
            if own is None or over is None:
                continue
            alone = next(r for r in own.averages if (r.detector, r.group) == (base, "near"))
            pro = next(r for r in over.averages if r.group == "near")
            pair = [f"{100 * row.fpr95_ood:.1f} / {100 * row.auroc:.1f}" for row in (alone, pro)]
            steps = f"{pro.params['step_size']:g}, {pro.params['steps']}"
            yield [model, base, *pair, f"{round(100 * (pro.auroc - alone.auroc), 1) + 0.0:+.1f}", steps]


def shift_row(its: Shifts) -> list[str]:
    """Medians of the shift and how well it separates, by set."""
    sets = (*NEAR, *FAR)
    medians = [f"{round(float(np.median(its.moved[name])), 4) + 0.0:.4f}" for name in (its.own, *sets)]
    return [its.network.partition(", ")[2], *medians, *(f"{100 * its.separates(name):.1f}" for name in sets)]


def ross_rows(folder: Path, records: Mapping[str, Result]) -> Iterator[list[str]]:
    """Of each sigma and OOD set, clean and attacked."""
    for sigma in SIGMAS:
        record, copies = records.get(f"sigma-{sigma:g}"), kept(folder / f"sigma-{sigma:g}", "smoothing")
        for ood in ("texture", "cifar100") if record is not None and copies else ():
            rows = [row for row in record.rows if row.ood == ood and row.condition in ("clean", "both")]  # type: ignore[union-attr]
            rows.sort(key=lambda row: row.eps or 0.0)
            yield [f"{sigma:g}", ood, *map(cell, rows), *(f"{100 * area:.1f}" for area in copies[0].separates(ood))]


def landscape_rows(folder: Path) -> Iterator[list[str]]:
    """Of each network and image, how far the score moves."""
    for model in COMPARED:
        pairs = (kept(folder / f"{model}-bases", kind) for kind in ("landscape", "gradient"))
        for plain_one, uphill in zip(*pairs, strict=True):
            middle = len(plain_one.offsets) // 2
            ranges = [f"{its.scores.min():.3f} to {its.scores.max():.3f}" for its in (plain_one, uphill)]
            yield [model, plain_one.image, f"{plain_one.scores[middle, middle]:.3f}", *ranges]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = long_parser(__doc__, out=Path("reports/papers-figures"), images=500)
    parts = [*NETWORKS, *(f"{model}-{end}" for model in COMPARED for end in ("pro", "more"))]
    parts += [f"sigma-{sigma:g}" for sigma in SIGMAS]
    parser.add_argument("--attacked", type=int, default=64, help="images a population under attack; default 64")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda; default auto")
    parser.add_argument("--only", default=",".join(parts), help="parts, NAME[,NAME]; default all")
    parser.add_argument("--draw", action="store_true", help="draw the figures of what lies in --out")
    parser.add_argument("--tables", action="store_true", help="make the papers' tables of what lies in --out")
    options = parser.parse_args(arguments)
    if options.tables:
        for name, text in papers_tables(options.out):
            save_text(text, options.out / name)
    if options.draw:
        draw(options.out)
        save_text("\n".join(tables(options.out)) + "\n", options.out / "results.md")
    if options.draw or options.tables:
        return
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    for part in options.only.split(","):
        if part not in parts:
            parser.error(f"unknown part {part!r}: expected some of {', '.join(parts)}")
        start = time.perf_counter()
        compute(part, options)
        log.info("%s: %.0f s", part, time.perf_counter() - start)


if __name__ == "__main__":
    main()
