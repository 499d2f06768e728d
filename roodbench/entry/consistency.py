"""What a record says against itself: numbers that do not follow from its scores, rows that are not there, verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from itertools import islice, product
from typing import Any

import torch

from attacks import DIRECTIONS, SIGN

from ..record.held import of_attacks
from ..record.pairs import OOD, contradictions, oods_of, sizes_of
from ..record.recomputed import of_numbers, of_places, same
from ..record.recomputed_shifted import of_shifted
from ..record.record import Record, score_key
from ..record.row import label_of
from ..record.verdicts import of_verdicts
from ..setup.threats import CORRUPTIONS
from ..words import counted

LISTS = ("detector", "eps", "ood")
KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("detector", "base", "model", "benchmark", "attack", "method", "objective", "strength"), (str,)),
    **dict.fromkeys(("norm", "space", "threat", "protocol", "network_sha256", "ood"), (str,)),
    **dict.fromkeys(("budget", "steps", "restarts", "seed", "limit"), (int,)),
    **{"eps": (float, int), "quantize": (bool,), "search": (bool,), "left_out": (dict,)},
}
"""Types of the settings that a board rests on, of lists those of their entries."""
MOVED = 1e-4
"""Relative: scores of one image twice."""


def contradictions_of(record: Record, *, resampled: bool = True) -> Iterator[str]:
    """One line for everything in a record of `run`, with its scores, that cannot be true of one run.

    What it says of its attack (which code made it, that nothing better was found) no line can tell. All that follows
    from scores is computed again; without `resampled`, as for a board, but for other intervals than AUROC's.
    """
    first = (of_config, of_places, of_rows, of_populations, of_scores)  # what follows rests on them
    numbers = partial(of_numbers, resampled=resampled)
    for check in (*first, numbers, of_verdicts, of_attacks, of_moved, of_shifted):
        try:
            found = list(islice(check(record), 3))
        except ValueError as error:  # populations of different draws, or of fewer than two images
            found = [str(error)]
        yield from found
        if found and check in first:
            return


def of_config(record: Record) -> Iterator[str]:
    """Settings that are no run's, and hashes that are not there."""
    config = record.config
    if "plan" in config or not isinstance(config.get("detector"), list | tuple):
        yield "it is a record of roodbench.evaluate: expected one of a run, which names benchmark and network"
        return
    for name, kind in KINDS.items():
        values = config.get(name) if name in LISTS else [config[name]] if config.get(name) is not None else []
        if not isinstance(values, list | tuple | None) or not all(type(v) in kind for v in values or ()):
            yield f"config, {name} is {config[name]!r}: expected {' or '.join(k.__name__ for k in kind)}"
            return
    if config.get("threat") == CORRUPTIONS or config.get("attack") != "both":
        yield (
            f"its attack is {config.get('attack')}, its threat {config.get('threat')}: a board has what is left with "
            "ID and OOD attacked, expected a run with --attack both"
        )
    if not isinstance(config.get("network_sha256"), str):
        yield "config has no network_sha256: nobody can tell which network it is"
    before: dict[str, int] = {}
    for key, its in record.data.items():
        yield from (f"data, {key}: {fault}" for fault in of_images(its, before))
        before |= {key.removeprefix(OOD): its["images"]} if key.startswith(OOD) else {}
    splits, shifted = Counter(key.partition(": ")[0] for key in record.data), {e.name for e in record.shifted_id}
    if splits["ID test"] != 1 + len(shifted) or not splits["OOD test"]:
        yield (
            f"data has {splits['ID test']} ID and {splits['OOD test']} OOD test sets: expected one, {len(shifted)} "
            "shifted ones, and at least one"
        )


def of_images(its: Mapping[str, Any], oods: Mapping[str, int]) -> Iterator[str]:
    """What a set says of equal images that cannot be; `oods` are the images per OOD set before it."""
    copies, related, shared = its.get("copies", []), its.get("related", its.get("copies", [])), its.get("shared", {})
    for name, found in (("copies", copies), ("related", related)):
        if not are_copies(found, its["images"]):
            yield f"{name} is no list of images, each with an earlier one of the same pixels"
            return
    groups = dict(related)
    if any(groups.get(image) != groups.get(first, first) for image, first in copies):
        yield "related has not all that are copies"
    if not isinstance(shared, dict) or not all(
        are_shared(pairs, its["images"], oods.get(name, 0), {i for i, _ in copies}) for name, pairs in shared.items()
    ):
        yield f"shared is {shared!r}: expected OOD sets before it, each with [image, its image] of what both have"


def are_shared(found: Any, images: int, others: int, repeated: Collection[int]) -> bool:
    """Whether this is [image, image of another set] of some images, either once; none is `repeated` in its own set."""
    if not isinstance(found, list) or not found or not all(isinstance(its, list) and len(its) == 2 for its in found):
        return False
    if not all(type(i) is type(j) is int and 0 <= i < images and 0 <= j < others for i, j in found):
        return False
    return all(len(set(side)) == len(found) for side in zip(*found, strict=True)) and not {i for i, _ in found} & set(
        repeated
    )


def are_copies(found: Any, images: int) -> bool:
    """Whether this is [image, the first with the same pixels] of some of so many images, each once and never first."""
    if not isinstance(found, list) or not all(isinstance(its, list) and len(its) == 2 for its in found):
        return False
    if not all(type(i) is int for its in found for i in its) or not all(0 <= first < i < images for i, first in found):
        return False
    repeated = {i for i, _ in found}
    return len(repeated) == len(found) and not repeated & {first for _, first in found}


def of_rows(record: Record) -> Iterator[str]:
    """Its detectors, radii, attack and network are those of its settings."""
    config, labels = record.config, list(dict.fromkeys(entry.detector for entry in record.detectors))
    radii = dict.fromkeys(row.eps for row in record.rows if row.eps is not None)
    if config.get("eps") and not same(sorted(config["eps"]), sorted(radii)):
        yield f"config attacks within {config['eps']}, its rows within {list(radii)}"
    said = {row.detector for row in record.rows}
    if len(labels) != len(config["detector"]) - len(config.get("left_out") or {}):
        named = counted(len(config["detector"]), "detector")
        yield f"config names {named}, the rows {len(said)}: {', '.join(sorted(said))}"
    if unnamed := sorted(said - set(config["detector"])) if not any(":" in name for name in config["detector"]) else []:
        yield f"config names {', '.join(config['detector'])}: its rows are of {', '.join(unnamed)}"
    method = config.get("method") if config.get("objective") is None else f"{config['method']}:{config['objective']}"
    for row in record.rows:
        is_clean, where = row.condition == "clean", f"{label_of(row)} on {row.ood}, {row.condition}:"
        if (row.attack, row.norm) != ((None, None) if is_clean else (method, config.get("norm"))):
            yield f"{where} attack {row.attack}, {row.norm}: config says {method}, {config.get('norm')}"
        if {side: len(its) for side, its in row.passes.items()} != {"id": 2, "ood": 2}:
            yield f"{where} passes {row.passes}: expected forward and backward ones of id and of ood"
        if {side: len(its) for side, its in (row.passes_equal or row.passes).items()} != {"id": 2, "ood": 2}:
            yield f"{where} passes_equal {row.passes_equal}: expected forward and backward ones of id and of ood"
        if row.space != config.get("space") or (row.space == "pixel" and row.eps_pixel != row.eps):
            yield f"{where} eps {row.eps} in {row.space} space is {row.eps_pixel} in pixels: config says otherwise"
    denoiser = f" behind {config['denoiser']}" if config.get("denoiser") else ""
    if any(row.model != f"{config.get('model')}{denoiser}" for row in record.rows if row.model is not None):
        yield f"config names network {config.get('model')}, its rows another"


def of_scores(record: Record) -> Iterator[str]:
    """Scores of other images than the rows', or that are not finite."""
    for key, scores in record.scores.items():
        if not bool(torch.as_tensor(scores).isfinite().all()):
            yield f"scores, {key}: expected finite numbers"
            return
    yield from islice(contradictions(record) if record.scores else [], 1)


def of_populations(record: Record) -> Iterator[str]:
    """Every population is attacked at every radius."""
    radii = dict.fromkeys(row.eps for row in record.rows if row.eps is not None)
    own, others = next(iter(sizes_of(record))), oods_of(record)
    states = [(own, DIRECTIONS["min"][0]), *((name, DIRECTIONS["max"][0]) for name in others)]
    labels = dict.fromkeys(entry.detector for entry in record.detectors)
    wanted = Counter((label, *state, eps) for label, state, eps in product(labels, states, radii))
    have = Counter((a.detector, a.population, a.condition, a.eps) for a in record.attacks)
    for label, population, condition, eps in (wanted - have) + (have - wanted):
        yield f"the attacks do not have {population}, {condition}, of {label} at eps {eps:.6g} once"


def of_moved(record: Record) -> Iterator[str]:
    """Attacked images with a better score than the clean ones, which were candidates too."""
    for a in record.attacks:
        where = f"{a.detector} on {a.population}, {a.condition}, at eps {a.eps:.6g}"
        moved = record.scores.get(score_key(a.detector, a.population, a.condition, a.eps))
        clean = record.scores.get(score_key(a.detector, a.population, "clean", None))
        if moved is None or clean is None or record.config.get("quantize") or "clean" not in a.components:
            continue
        if record.config.get("threat", "fresh") == "fresh":
            stayed = torch.tensor(a.winner) == a.components.index("clean")
            change, near = (moved - clean).double(), MOVED * float(clean.double().abs().max())
            if bool((change.abs().amax(0) > near)[stayed].any()):
                yield f"{where}: an image that nothing moved has another score than the clean one"
            if len(clean) == 1 and bool((change * SIGN[a.condition] < -near).any()):  # type: ignore[index]
                yield f"{where}: an image is easier to tell than the clean one, which was a candidate too"
