"""What the detectors of a finished run say near its images: one step away, along two directions, of noisy copies.

A run is opened again (`reopen`), and its detectors must have the record's hyper-parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from detectors import Detector, Smoothed, unknown
from detectors.care import borrowed
from detectors.detector import keywords
from detectors.pro import OTHERS, PUBLISHED
from detectors.smoothing import deviation, median

from .data import ImageSet
from .engine.copies import on_copy
from .engine.progress import Progress
from .engine.streams import stream
from .engine.worker import Worker, joined
from .evaluation.attacker import Attacker
from .metrics import threshold95
from .record.record import Record, score_key
from .record.repeated import ODD, TOLERANCE, differ, is_same_noise, spread_of
from .record.row import label_of
from .record.surroundings import Copies, Landscape, Shifts
from .reopen import reopened
from .setup.setting import Setting
from .setup.values import RADIUS, wrong
from .store.cells import Cell

POINTS = 41
"""Of a landscape, along each direction."""
FLOAT = 1e-5
"""Of the largest score: how much of it another machine may round otherwise."""
IMAGES = 2
"""Of ID, and of the first OOD set, around which landscapes are drawn where none are named."""


def shifts(opening: Opening, *, eps: float | None = None) -> list[Shifts]:
    """Of every base score of a run, how far a step of `eps` moves it, by default PRO's published one."""
    found = []
    for name, detector in opening.detectors(innermost=True):
        step = PUBLISHED.get(detector.name, OTHERS)[0] if eps is None else eps
        moved = {s.name: moves(opening.worker(detector), s, step) for s in opening.sets}
        found.append(Shifts(opening.network, name, opening.own.name, step, opening.groups, moved))
    return found


def moves(worker: Worker, images: ImageSet, step: float) -> np.ndarray:
    """s(x - step sign grad s(x)) - s(x) of every image (n,), of a score with noise all on the same."""

    detector = worker.detector

    def move(shard: int, x: Tensor) -> Cell:
        def noise() -> dict[str, Any]:
            return {"generator": worker.stream("landscape/noise", images.name, shard)} if detector.randomized else {}

        _, grad = detector.value_and_grad(x.clone(), **noise())
        with torch.no_grad():
            after, before = detector(x - step * grad.sign(), **noise()), detector(x, **noise())
        return {"moved": (after.double() - before.double()).cpu()}, {}

    return joined(worker.map(images, None, images.name, move))["moved"].numpy()


def landscapes(
    opening: Opening, *, eps: float | None = None, images: Sequence[str] | None = None, gradient: bool = False
) -> list[Landscape]:
    """Of every detector of a run, its score around some images, SET:INDEX, up to `eps` away along each direction.

    `eps` is the run's largest linf radius by default, else its benchmark's. The directions are two of random signs, the
    same for all images; with `gradient` the first is the sign of the score's gradient at each image.
    """
    reach = opening.reach if eps is None else eps
    if not reach > 0:
        raise ValueError("epsilon 0: a landscape needs a radius above 0, such as 8/255")
    offsets = np.linspace(-reach, reach, POINTS)
    chosen = [opening.image(text) for text in images or opening.first(IMAGES)]
    found = []
    for name, detector in opening.detectors():
        worker = opening.worker(detector)
        clean = joined(worker.map(opening.own, None, "", partial(scored, worker, opening.own.name)))["scores"]
        threshold = float(np.mean([threshold95(draw) for draw in clean.double().numpy()]))
        for place, index in chosen:
            grid = worker.guard(place, 0, partial(around, worker, place, index, offsets, gradient=gradient))
            named = ("sign of the gradient" if gradient else "random signs", "random signs")
            said = (f"{place.name}:{index}", named, offsets, grid.double().numpy(), threshold)
            found.append(Landscape(opening.network, name, opening.own.name, *said))
    return found


def scored(worker: Worker, population: str, shard: int, x: Tensor) -> Cell:
    """The report scores (R, B) of a shard."""
    return {"scores": Attacker(worker).scores(x, population, shard)}, {}


def around(worker: Worker, images: ImageSet, index: int, offsets: np.ndarray, *, gradient: bool) -> Tensor:
    """The scores (k, k) at x + b u + c v, of a randomised detector each on the same noise."""
    detector, x = worker.detector, images.shard(index, index + 1).to(worker.device)
    cpu = torch.device("cpu")
    u, v = (
        (2 * torch.randint(0, 2, x.shape, generator=stream(worker.seed, f"landscape/{d}", "", 0, cpu)) - 1).to(x)
        for d in "uv"
    )
    noise = partial(worker.stream, "landscape/noise", images.name, index)
    if gradient:
        u = detector.value_and_grad(x.clone(), generator=noise() if detector.randomized else None)[1].sign()
    steps = torch.as_tensor(offsets, dtype=x.dtype, device=x.device).view(-1, 1, 1, 1)
    rows = [x + c * v + steps * u for c in steps]
    with torch.no_grad():
        if not detector.randomized:
            return torch.stack([detector(row) for row in rows]).cpu()
        points = [[detector(z[None], generator=noise()) for z in row] for row in rows]
    return torch.stack([torch.cat(row) for row in points]).cpu()


def copies(opening: Opening) -> list[Copies]:
    """Of every smoothed detector of a run, median and instability of all images' noisy copies.

    They are drawn from the stream of the instability that a record speaks of.
    """
    found = []
    for name, detector in opening.detectors():
        if not isinstance(detector, Smoothed):
            continue
        worker = opening.worker(detector)
        parts = {s.name: joined(worker.map(s, None, s.name, partial(copied, worker, s.name))) for s in opening.sets}
        medians, instabilities = ({n: p[k].double().numpy() for n, p in parts.items()} for k in ("m", "D"))
        tau = detector.fitted().get("tau")
        said = (opening.network, name, opening.own.name, detector.sigma, detector.copies)
        found.append(Copies(*said, medians, instabilities, tau))
    if not found:
        labels = ", ".join(opening.labels)
        raise ValueError(f"{labels}: no detector over noisy copies, expected one of median, mad, cov, ross, ross-q")
    return found


def copied(worker: Worker, population: str, shard: int, x: Tensor) -> Cell:
    """Median and deviation (B,) of the scores of noisy copies."""
    detector, generator = cast(Smoothed, worker.detector), worker.stream("instability", population, shard)
    with torch.no_grad():
        s = on_copy(lambda x: detector.matrix(x, generator=generator), x, detector.label)
        m = median(s)[0]
        return {"m": m.cpu(), "D": deviation(s, m).cpu()}, {}


MEASURES: dict[str, Callable[..., Sequence[Any]]] = {"shift": shifts, "landscape": landscapes, "smoothing": copies}
"""By the name of the figure that is drawn of it."""


class Opening:
    """A finished run, opened again: its detectors, fitted anew, and its test sets."""

    def __init__(
        self,
        record: Record,
        setting: Setting,
        wanted: Sequence[str] | None = None,
        ood: str | None = None,
        progress: Progress | bool = False,
    ) -> None:
        self.record, self.setting, self.wanted, self.progress = record, setting, wanted, progress
        bench = setting.bench
        if ood is not None and ood not in bench.ood:
            raise ValueError(unknown("OOD set", ood, bench.ood))
        self.own = bench.id_test
        self.sets = [self.own, *(images for name, images in bench.ood.items() if ood in (None, name))]
        self.groups = {s.name: bench.groups.get(s.name, "ID") for s in self.sets}
        self.network = f"{bench.name}, {setting.plain.name}"
        self.labels = list(dict.fromkeys(entry.detector for entry in record.detectors))

    @property
    def reach(self) -> float:
        """The run's largest linf radius, else its benchmark's default."""
        radii = [row.eps for row in self.record.rows if row.eps is not None and row.norm == "linf"]
        return max(radii, default=self.setting.bench.eps)

    def worker(self, detector: Detector) -> Worker:
        """What maps over images; nothing is kept."""
        seed = self.setting.config.seed
        return Worker(detector, seed=seed, device=self.setting.device, progress=self.progress)

    def detectors(self, *, innermost: bool = False) -> Iterator[tuple[str, Detector]]:
        """Label and fitted detector of those that are wanted, `innermost` their base scores, each once.

        ValueError for one that the record has not, or whose hyper-parameters are not the record's.
        """
        for label in self.wanted or ():
            if label not in self.labels:
                raise ValueError(unknown("detector", label, self.labels))
        done = set()
        for name in self.setting.names:
            if self.wanted is not None and self.setting.detector(name).label not in self.wanted:
                continue
            detector, _ = self.setting.fitted(name)
            self.check(detector)
            self.check_scores(detector)
            found = detector.chain[-1] if innermost else detector
            if found.label not in done:
                done.add(found.label)
                with borrowed(found):
                    yield found.label, found

    def check(self, detector: Detector) -> None:
        """ValueError where the record speaks of another detector of this label."""
        params = {k: v for d in reversed(detector.chain) for k, v in d.hyperparameters().items()}
        kept = next((row.params for row in self.record.rows if label_of(row) == detector.label), None)
        if kept is None:
            raise ValueError(unknown("detector", detector.label, self.labels))
        for key, value in params.items():
            if not alike(kept.get(key), value):
                raise ValueError(f"{detector.label} has {key} {value} now, in the record {kept.get(key)}: run it again")

    def check_scores(self, detector: Detector) -> None:
        """ValueError where the first ID images have other scores than in the record: of another code, or fit."""
        clean = {s.name: self.record.scores.get(score_key(detector.label, s.name, "clean", None)) for s in self.sets}
        if (have := clean[self.own.name]) is None:
            return
        with borrowed(detector):
            worker = self.worker(detector)
            ((_, x),) = self.own.shards([0])
            here = Attacker(worker).scores(x.to(worker.device), self.own.name, 0).double().numpy()
        known, same = have.double().numpy(), is_same_noise(self.record, worker.device) or not detector.randomized
        spread = spread_of(its.double().numpy() for its in clean.values() if its is not None)
        allowed = max(TOLERANCE * spread, FLOAT * np.abs(known).max())
        wrong = differ(known[:, : len(x)], here, allowed, same=same)
        if wrong.sum() > len(wrong) // ODD:
            i = int(np.flatnonzero(wrong)[0])
            before, now = known[:, i].mean(), here[:, i].mean()
            where = f"{detector.label} scores {self.own.name}, index {i},"
            raise ValueError(f"{where} {now:.6g} now, in the record {before:.6g}: run it again")

    def first(self, count: int) -> list[str]:
        """The first images of ID and of the first OOD set, as SET:INDEX."""
        return [f"{images.name}:{i}" for images in self.sets[:2] for i in range(min(count, len(images)))]

    def image(self, text: str) -> tuple[ImageSet, int]:
        """The set and the index that SET:INDEX names."""
        name, colon, index = text.rpartition(":")
        sets = {images.name: images for images in self.sets}
        if not (colon and index.isdecimal()):
            raise ValueError(f"image {text!r}: expected SET:INDEX, such as {self.own.name}:0")
        if name not in sets:
            raise ValueError(unknown("set", name, sets))
        if int(index) >= len(sets[name]):
            raise ValueError(f"image {text!r}: {name} has {len(sets[name])} images, 0 to {len(sets[name]) - 1}")
        return sets[name], int(index)


def alike(kept: Any, now: Any) -> bool:
    """Whether a hyper-parameter in a record is what it is now; fitted ones as closely as fits repeat."""
    if isinstance(now, float) and isinstance(kept, float | int):
        return math.isclose(kept, now, rel_tol=1e-3)
    return kept == (list(now) if isinstance(now, tuple) else now)


def measured(
    name: str,
    record: Record,
    *,
    config: Mapping[str, Any] | None = None,
    detectors: Sequence[str] | None = None,
    ood: str | None = None,
    trust_code: bool = False,
    progress: Progress | bool = False,
    places: Mapping[str, Any] | None = None,
    **asked: Any,
) -> Sequence[Shifts | Landscape | Copies]:
    """What the figure `name` (`MEASURES`) draws of a run.

    `config` and `places` are those of `reopened`; `asked` goes to the measure: `eps`, `images`, `gradient`. ValueError
    where the run cannot be opened again, or is another one now.
    """
    for key in asked:
        if key not in (known := keywords(MEASURES[name])):
            raise ValueError(f"figure {name} takes no {key}: expected one of {', '.join(known) or 'nothing'}")
    eps = asked.get("eps")
    if eps is not None and not 0 < eps < float("inf"):
        raise wrong("epsilon", eps, f"{RADIUS}, above 0")
    with reopened(record, config or record.config, places or {}, trust_code=trust_code) as setting:
        return MEASURES[name](Opening(record, setting, detectors, ood, progress), **asked)
