"""An entry against the network and the images: hashes, clean scores of random images, and an attack on some of them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch

from attacks import SIGN, Direction
from detectors import Detector
from detectors.care import borrowed, usual_state

from ..certify.certificate import code_in
from ..data import SHARD, ImageSet
from ..engine.progress import Progress
from ..engine.worker import Worker
from ..evaluation.attacker import Attacker
from ..evaluation.evaluator import Evaluator
from ..machine.device import opened
from ..metrics import auroc
from ..record.build import described
from ..record.record import Record, score_key
from ..record.repeated import ERROR, ODD, TOLERANCE, differ, is_same_noise, spread_of
from ..record.row import label_of
from ..setup.config import RunConfig
from ..setup.setting import Setting
from .file import Entry
from .verdict import Verdict, inner, open_of

ROUNDING = 1e-5
"""By which an image may lie beyond its radius."""
MATERIAL = 0.05
"""Of the same range: how much further an attack of ours must move images, on average, before it counts."""
COUNTS = (1, 5, 20, 100, 500, 2000)
"""Images of a set with forged clean scores of which the verdict says with which probability they are found."""


def validate(
    entry: Entry,
    *,
    again: int = 0,
    seed: int | None = None,
    device: str = "auto",
    progress: Progress | bool = False,
    **overrides: Any,
) -> Verdict:
    """Hold an entry against itself, and against the network and the images that it names.

    Of every test set one random shard of 64 images is scored again by every detector, as the run did, with `again` so
    many random images of each set are attacked again too. `seed`, random by default, draws them: nobody who hands an
    entry in knows it. `overrides` are settings that are the assessor's own: data_root, checkpoint, denoiser_checkpoint,
    model_dir, download, trust_checkpoint; code that the entry names runs where the assessor names the same. ValueError
    where images or network cannot be loaded.
    """
    verdict, record = inner(entry), entry.record
    if verdict.failures:
        return verdict
    verdict.seed = secrets.randbits(32) if seed is None else seed
    own = {"download": False, "trust_checkpoint": False, **{k: v for k, v in overrides.items() if v is not None}}
    refuse_code(record, own)
    with opened(device) as place:
        setting = Setting(replace(config_of(record), device=device, **own), place)
        setting.compile(0.0)
        verdict.failures += others(record, setting)
        if verdict.failures:
            return verdict
        rng = np.random.default_rng(verdict.seed)
        sets = [setting.bench.id_test, *setting.bench.ood.values()]
        shards = {images: int(rng.integers(images.shard_count)) for images in sets}
        verdict.images = {s.name: [min(SHARD, len(s) - SHARD * n), len(s)] for s, n in shards.items()}
        chosen = {images: np.sort(rng.permutation(len(images))[:again]) for images in sets}
        same = is_same_noise(record, place)
        for name in setting.names:
            detector, _ = setting.fitted(name)
            with usual_state(place.type), borrowed(detector):
                worker = Worker(detector, seed=setting.config.seed, device=place, progress=progress)
                verdict.failures += parameters(record, detector)
                verdict.failures += accuracy(record, worker, *next(iter(shards.items())))
                verdict.failures += rescored(record, worker, shards, same=same)
                verdict.failures += pictured(entry, setting, worker)
                if again:
                    worker = Worker(detector, seed=verdict.seed, device=place, progress=progress)
                    verdict.failures += attacked_again(record, setting, worker, chosen)
        verdict.attacked = again
        noisy = not same and any(setting.detector(name).randomized for name in setting.names)
    verdict.finds = {k: min(found_of(n, k) for _, n in verdict.images.values()) for k in COUNTS}
    verdict.pictures = max((len(images) for images in entry.images.values()), default=0)
    verdict.unchecked = list(open_of(verdict, record, noisy=noisy))
    return verdict


def config_of(record: Record) -> RunConfig:
    """The settings of an entry; ValueError for what is no run's."""
    kept = {f.name: record.config[f.name] for f in fields(RunConfig) if f.name in record.config}
    try:
        return RunConfig(**kept)
    except TypeError as error:
        raise ValueError(f"the entry's config is malformed: {error}") from None


def refuse_code(record: Record, own: dict[str, Any]) -> None:
    """ValueError for code that an entry names and the assessor does not; what both name is the entry's already."""
    named = {**code_in({"config": {"run": record.config}}), "detector": ",".join(record.config["detector"])}
    given = {name: own.pop(name, None) for name in ("detector", "base", "model", "benchmark", "denoiser")}
    for name, code in named.items():
        if (name != "detector" or ":" in code) and given[name] != code:
            said = code[:200]
            raise ValueError(
                f"the entry's {name} is code, {said!r}: to load it runs it; give --{name} {said} too if you trust it"
            )


def others(record: Record, setting: Setting) -> Iterator[str]:
    """Network, images, detectors and radii that are not those of the record."""
    if setting.network["sha256"] != record.config["network_sha256"]:
        yield f"the network is {setting.network['sha256']} here, the entry's {record.config['network_sha256']}"
    here = described(setting.bench)
    for key in here.keys() | record.data.keys():
        if here.get(key) != record.data.get(key):
            yield f"{key} has other images here: {here.get(key)}, the entry's {record.data.get(key)}"
    groups = {name: setting.bench.groups[name] for name in setting.bench.ood}
    if {row.ood: row.group for row in record.rows} != groups or record.rows[0].benchmark != setting.bench.name:
        said = ", ".join(f"{name} {group}" for name, group in groups.items())
        yield f"the benchmark is {setting.bench.name} here, with {said}: its rows say otherwise"
    rows, made = {label_of(row) for row in record.rows}, {setting.detector(name).label for name in setting.names}
    if made != rows:
        yield f"its config makes {', '.join(sorted(made))}: its rows are of {', '.join(sorted(rows))}"
    radii = {plan.threat.eps for plan in setting.plans}
    if radii != {row.eps for row in record.rows if row.eps is not None}:
        yield f"its config attacks within {', '.join(f'{eps:.6g}' for eps in radii)}: its rows say otherwise"


def parameters(record: Record, detector: Detector) -> Iterator[str]:
    """Hyper-parameters of a fitted detector that are not those of the record."""
    said = next(row.params for row in record.rows if label_of(row) == detector.label)
    here = {k: v for d in reversed(detector.chain) for k, v in d.hyperparameters().items()}
    if json.loads(json.dumps(here)) != said:
        yield f"{detector.label} has parameters {here} here: its rows say {said}"


def accuracy(record: Record, worker: Worker, images: ImageSet, number: int) -> Iterator[str]:
    """An ID accuracy that the network cannot have, by the images of the drawn shard alone."""
    net, label = worker.detector.network, worker.detector.label
    said = next(row.id_accuracy for row in record.rows if label_of(row) == label)
    if net is None or said is None:
        return
    ((_, x),) = images.shards([number])
    with torch.no_grad():
        wrong = net(x.to(worker.device)).argmax(1).cpu() != images.labels[SHARD * number : SHARD * number + len(x)]
    k, n, odd = int(wrong.sum()), len(images), len(x) // ODD
    most, least = n - k + odd, len(x) - k - odd
    if not least - ROUNDING <= said * n <= most + ROUNDING:
        yield f"{label}: ID accuracy {said:.1%}: the network is wrong on {k} of {len(x)} images of {images.name} here"


def rescored(record: Record, worker: Worker, shards: Mapping[ImageSet, int], *, same: bool) -> Iterator[str]:
    """The sets of whose drawn shard the clean scores are not what the network gives."""
    label, attacker = worker.detector.label, Attacker(worker)
    allowed = TOLERANCE * spread_of(clean_of(record, label, images) for images in shards)
    for images, number in shards.items():
        ((_, x),) = images.shards([number])
        here = attacker.scores(x.to(worker.device), images.name, number).double().numpy()
        have = clean_of(record, label, images)[:, SHARD * number : SHARD * number + len(x)]
        wrong = differ(have, here, allowed, same=same or not worker.detector.randomized)
        if wrong.sum() > len(wrong) // ODD:
            i = int(np.flatnonzero(wrong)[0])
            yield (
                f"{label} on {images.name}: {int(wrong.sum())} of {len(wrong)} clean scores are not those of the "
                f"network, the first of {images.names[SHARD * number + i]}: {have[:, i].mean():.6g}, "
                f"here {here[:, i].mean():.6g}"
            )


def clean_of(record: Record, label: str, images: ImageSet) -> np.ndarray:
    return record.scores[score_key(label, images.name, "clean", None)].double().numpy()


def pictured(entry: Entry, setting: Setting, worker: Worker) -> Iterator[str]:
    """Of the attacked images that the run kept, those beyond the radius, and those of other scores."""
    record, label, attacker = entry.record, worker.detector.label, Attacker(worker)
    sets = {images.name: images for images in (setting.bench.id_test, *setting.bench.ood.values())}
    allowed = TOLERANCE * spread_of(clean_of(record, label, images) for images in sets.values())
    plans = {plan.threat.eps: plan for plan in setting.plans}
    for a in record.attacks:
        key = score_key(a.detector, a.population, a.condition, a.eps)
        if a.detector != label or key not in entry.images:
            continue
        moved, where = entry.images[key], f"{label} on {a.population}, {a.condition}, at eps {a.eps:.6g}"
        clean = sets[a.population].shard(0, len(moved))
        if moved.shape != clean.shape or not plans[a.eps].threat.violation(moved, clean) <= ROUNDING:
            yield f"{where}: kept images do not lie within the radius of the clean ones"
            continue
        direction: Direction = "min" if a.condition == "min" else "max"
        x = moved.to(worker.device)
        here = attacker.rescored(x, a.population, 0, direction, plans[a.eps]).double().numpy()
        have = record.scores[key].double().numpy()[:, : len(moved)]
        wrong = differ(have, here, allowed, same=not worker.detector.randomized)
        if wrong.sum() > len(wrong) // ODD:
            yield f"{where}: {int(wrong.sum())} of {len(wrong)} kept images have other scores than the entry says"


def attacked_again(
    record: Record, setting: Setting, worker: Worker, chosen: Mapping[ImageSet, np.ndarray]
) -> Iterator[str]:
    """The radii at which an attack with a seed of ours moves some images further than the record says.

    Of one attack with two seeds each is as likely as the other to move an image further. So the mean gain, in
    interquartile ranges of clean scores, is held against its standard error over images.
    """
    from scipy.special import stdtr

    own, *sets = chosen
    ood = {images.name: images.at(chosen[images]) for images in sets}
    small = replace(setting.bench, id_test=own.at(chosen[own]), ood=ood)
    evaluator, label = Evaluator(worker, small), worker.detector.label
    clean = {images: clean_of(record, label, images) for images in chosen}
    for plan in setting.plans:
        plan = evaluator.within(plan, setting.config.budget)
        gains, both = list[np.ndarray](), list[tuple[np.ndarray, np.ndarray]]()
        for images, index in chosen.items():
            direction: Direction = "min" if images is own else "max"
            opposing = np.concatenate([clean[s] for s in (sets if images is own else [own])], axis=1)[:2]
            part = small.id_test if images is own else ood[images.name]
            here = evaluator.attacked(part, direction, plan, torch.tensor(opposing).float()).scores.double().numpy()
            key = score_key(label, images.name, direction, plan.threat.eps)
            have = record.scores[key].double().numpy()[:, index]
            gains.append(SIGN[direction] * (here.mean(axis=0) - have.mean(axis=0)))
            both.append((have, here))
        gain = np.concatenate(gains) / spread_of(clean.values())
        error = max(float(gain.std(ddof=1)) / len(gain) ** 0.5, 1e-300)
        p = float(stdtr(len(gain) - 1, -gain.mean() / error))
        if gain.mean() > MATERIAL and p < ERROR:
            said, found = (np.mean([auroc(both[0][k], other[k]) for other in both[1:]]) for k in (0, 1))
            yield (
                f"{label} at eps {plan.threat.eps:.6g}: an attack here moves {len(gain)} images {gain.mean():.2g} "
                f"interquartile ranges further than the entry says (p = {p:.1g}), AUROC on them is {found:.3f} and not "
                f"{said:.3f}: was its attack weaker, or are its scores others?"
            )


def found_of(n: int, k: int) -> float:
    """The probability that forged scores of k images of n are found in a random shard, wherever they lie, at least.

    A forger puts into every shard as many as are passed over there, and the others into as few shards as hold them.

    >>> found_of(50, 1), found_of(64, 1), found_of(640, 20), found_of(640, 100)
    (0.0, 0.0, 0.1, 0.2)
    """
    shards = [min(SHARD, n - start) for start in range(0, n, SHARD)]
    left, seen = min(k, n) - sum(size // ODD for size in shards), 0
    for size in shards:
        seen += left > 0
        left -= size - size // ODD
    return seen / len(shards)
