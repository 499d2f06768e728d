"""A score must be a function of one image: some images are scored again in other company.

Batches hold one population, so a score that looks at its batch can tell ID from OOD by it, and shows an AUROC that no
single image would get.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

import torch
from torch import Tensor

import attacks
from attacks import AttackPlan
from detectors import Detector

from ..data import SHARD, ImageSet
from ..engine.copies import OnCopies
from ..engine.errors import EvaluationError
from ..store.cells import Cell
from ..store.listed import is_listed
from .attacker import REPORT_DRAWS
from .checks import REPEATABLE
from .evaluator import Evaluator

ROUNDING, RESIZED = 1e-3, 0.02
"""Of the scores' spread: what rounding may change in a batch of the same size, and of another one, where half precision
rounds otherwise. The 22 detectors stay below 2e-5 on digits and CIFAR-10."""
JUMP = 0.05
"""Of the spread, from which one image is enough: of smaller steps, rounding may trigger one or another."""
SIGMAS = 8
"""Standard errors by which means over draws must differ."""
TURN = 0.05
"""Largest distance between unit gradients, median over images; rounding gives 1e-5."""
PAIRS, GRADIENTS, REPEATS = 4, 16, 5
"""Batches of two images, images in a batch of gradients, and looks at it again before it is said to turn."""


class Company(NamedTuple):
    """A batch, where in it some images lie (set, index in the set, place in the batch), and how to call it.

    `noise` is the population whose report noise meets these images again, empty where none does.
    """

    batch: Tensor
    kept: list[tuple[ImageSet, int, int]]
    words: str
    rounding: float
    noise: str = ""

    @property
    def places(self) -> list[int]:
        return [place for _, _, place in self.kept]


class Companies:
    """The first shards of some populations, the first of them ID, and their reported scores."""

    def __init__(self, evaluator: Evaluator, sets: Sequence[ImageSet]) -> None:
        self.evaluator, self.sets, self.detector = evaluator, sets, evaluator.detector
        self.images = {s.name: s.shard(0, SHARD).to(evaluator.worker.device) for s in sets}
        scores = {s.name: evaluator.clean(s).scores for s in sets}
        dtype = scores[sets[0].name].dtype
        self.unit = torch.finfo(dtype if dtype in (torch.float16, torch.bfloat16) else torch.float32).eps
        self.reported = {name: s.double() for name, s in scores.items()}
        self.spread = spread(torch.cat([s[0] for s in self.reported.values()]))

    def gap(self) -> float:
        """The largest difference between reported and repeated scores; EvaluationError where company changes them.

        A score that differs on repetition cannot be compared: `randomness` says so.
        """
        gap = max(self.repeated(self.sets[:1]), self.remembered(self.sets[::-1]), self.threaded())
        if gap > REPEATABLE:
            return gap
        for company in (*(self.mixed(s) for s in self.sets), *self.pairs(), *self.filled()):
            fault = self.fault(company)
            if fault is not None:
                gap = max(self.repeated(self.sets), self.repeated(self.sets, offset=False))
                if gap > max(REPEATABLE, company.rounding):
                    return gap  # it remembers earlier calls, or draws noise that is small beside the scores
                raise EvaluationError(f"{self.detector.label}: {fault}: it must be a function of that image alone")
        return self.repeated(self.sets)

    def repeated(self, sets: Sequence[ImageSet], *, offset: bool = True, by: Detector | None = None) -> float:
        """The largest difference of first shards, scored again on the same noise, over the scores' size and spread.

        Without `offset`, over their spread alone; `by` another detector than the one that reported.
        """
        return max(self.change(s, self.scores(self.images[s.name], s.name, by=by)[0], offset=offset) for s in sets)

    def change(self, images: ImageSet, again: Tensor, *, offset: bool) -> float:
        """The largest difference of other scores (B,) of a set's first shard, over the scores' size and spread."""
        reported = self.reported[images.name][0, :SHARD]
        size = (offset * reported.abs() + self.spread).clamp_min(torch.finfo(torch.double).tiny)
        beyond = ((again - reported).abs() - self.rounding(reported)).clamp_min(0)
        return float((beyond / size).nan_to_num(torch.inf).max())

    def remembered(self, sets: Sequence[ImageSet]) -> float:
        """The largest difference where a copy that has met no image yet meets sets in another order, ID last."""
        if self.evaluator.unmet is None:
            return 0.0
        with suppress(Exception):  # a copy of a user's own that does not work says nothing
            return self.repeated(sets, offset=False, by=self.evaluator.unmet)
        return 0.0

    def apart(self, sets: Sequence[ImageSet]) -> float:
        """The largest difference in a copy of the process that had met no image yet; 0 for what rounding does."""
        apart = self.evaluator.apart
        found = None if apart is None else apart.found()
        gap = 0.0 if found is None else max(self.change(s, torch.from_numpy(found[s.name]), offset=False) for s in sets)
        return gap if gap > ROUNDING else 0.0

    def threaded(self) -> float:
        """The largest difference where that copy scores ID with another number of threads; 0 for what rounding does."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1 if threads > 1 else 2)
        try:
            gap = self.remembered(self.sets[:1])
        finally:
            torch.set_num_threads(threads)
        return gap if gap > ROUNDING else 0.0

    def mixed(self, images: ImageSet) -> Company:
        """Its first shard with most of its images replaced by other populations': some stay, the extremes among them.

        They keep their places and their noise.
        """
        own, scores = self.images[images.name], self.reported[images.name][0, :SHARD]
        kept = sorted({*range(0, len(own), 4 if len(own) > 8 else 2), int(scores.argmax()), int(scores.argmin())})
        batch = self.others(images, len(own))
        batch[kept] = own[kept]
        places = [(images, i, i) for i in kept]
        return Company(batch, places, "among other populations' images", ROUNDING, noise=images.name)

    def others(self, images: ImageSet, n: int) -> Tensor:
        """n images of the other populations, some of them several times where they are few."""
        found = torch.cat([x for name, x in self.images.items() if name != images.name])
        order = torch.randperm(len(found), generator=torch.Generator().manual_seed(0))
        return found[order.repeat(-(-n // len(found)))[:n].to(found.device)]

    def filled(self) -> Iterator[Company]:
        """The last shard of every population, filled up with images of others to the largest batch of all."""
        full = max(len(x) for x in self.images.values())
        for images in self.sets:
            start, n = (len(images) - 1) // SHARD * SHARD, len(images)
            if n - start < full:
                batch = self.others(images, full)
                batch[: n - start] = images.shard(start, n).to(batch.device)
                kept = [(images, i, i - start) for i in range(start, n)]
                yield Company(batch, kept, f"in a batch of {full}", RESIZED)

    def pairs(self) -> Iterator[Company]:
        """Batches of an ID and an OOD image, from other places than they had."""
        first, *others = self.sets
        for n in range(PAIRS):
            pair = [(first, 3 + 5 * n), (others[n % len(others)], 2 + 5 * n)]
            chosen = [(s, i % len(self.images[s.name])) for s, i in pair]
            batch = torch.stack([self.images[s.name][i] for s, i in chosen])
            kept = [(s, i, place) for place, (s, i) in enumerate(chosen)]
            yield Company(batch, kept, "in a batch of two", RESIZED)

    def fault(self, company: Company) -> str | None:
        """What company changes, in words; None for nothing beyond rounding, or beyond what noise explains."""
        reported = torch.stack([self.reported[s.name][:, i] for s, i, _ in company.kept], 1)
        if company.noise or not self.detector.randomized:
            found, none = self.scores(company.batch, company.noise)[:, company.places], torch.zeros(len(company.kept))
            place = self.differs(reported[:1], found, none, company.rounding)
            if place is None or not self.detector.randomized:
                return None if place is None else self.said(company, place, reported[:1], found)
        # other noise, or a detector whose draws depend on the images: means must differ significantly; where the noise
        # is the same after all, pairs of draws differ by what the company does alone
        found = self.scores(company.batch, company.noise, REPORT_DRAWS)[:, company.places]
        spread = (reported - found).var(0) if company.noise else reported.var(0) + found.var(0)
        error = (spread / REPORT_DRAWS).sqrt()
        place = self.differs(reported, found, error, company.rounding)
        return None if place is None else self.said(company, place, reported, found)

    def differs(self, reported: Tensor, found: Tensor, error: Tensor, rounding: float) -> int | None:
        """The image whose mean score (draws, m) changes most, where too many change, or one by much, or all together.

        `error` (m,) are the standard errors of the changes, `rounding` is granted beside them, in units of the spread.
        """
        change = found.mean(0) - reported.mean(0)
        slack = self.rounding(reported.mean(0)) + SIGMAS * error
        beyond = (change.abs() - slack).nan_to_num(torch.inf)
        many = int((beyond > rounding * self.spread).sum()) >= max(2, len(beyond) / 10)
        shift = float(change.mean().abs() - slack.mean() / len(slack) ** 0.5)
        together = bool(error.any()) and shift > rounding * self.spread
        one = bool((beyond > JUMP * self.spread).any())
        return int(change.abs().nan_to_num(torch.inf).argmax()) if many or one or together else None

    def rounding(self, scores: Tensor) -> Tensor:
        """What rounding may change in scores."""
        return 8 * self.unit * scores.abs()

    def said(self, company: Company, place: int, reported: Tensor, found: Tensor) -> str:
        (images, index, _), before, after = company.kept[place], reported.mean(0)[place], found.mean(0)[place]
        return (
            f"the score of {images.name}, index {index} ({images.names[index]}) is {before:.6g} among its own "
            f"population and {after:.6g} {company.words}"
        )

    @torch.no_grad()
    def scores(self, x: Tensor, population: str, draws: int = 1, *, by: Detector | None = None) -> Tensor:
        """(draws, B) scores on the report noise of a population's first shard, or on noise of their own."""
        worker, detector = self.evaluator.worker, self.evaluator.plain.detector
        if by is not None:
            detector = OnCopies(by, by.label)
        generator = worker.stream("report" if population else "company", population, 0)
        return torch.stack([detector(x, generator=generator) for _ in range(draws)]).double().cpu()


def spread(scores: Tensor) -> float:
    """The range of the middle 90% of scores (n,), as a standard deviation: a few outliers do not widen it.

    The standard deviation itself where that range is 0.
    """
    size = float(scores.abs().max())
    if size == 0:
        return 0.0
    low, high = torch.quantile(scores / size, scores.new_tensor([0.05, 0.95])).tolist()
    return size * ((high - low) / 3.29 or float((scores / size).std()))


def check_scores(evaluator: Evaluator, sets: Sequence[ImageSet]) -> float:
    """EvaluationError where clean scores depend on the batch; how much they differ on repetition after all that."""

    def compute() -> Cell:
        return {"none": torch.zeros(1)}, {"gap": Companies(evaluator, sets).gap()}

    what = {"condition": "company", "sets": {s.name: s.digest for s in sets}}
    return float(evaluator.worker.once(sets[0], what, compute)[1]["gap"])


def forgotten(evaluator: Evaluator, sets: Sequence[ImageSet]) -> float:
    """How much the scores of the first shards differ after everything else, or in a process that met nothing else.

    A score may change from some call on. Never kept; 0 for a detector that is listed whole, which has nothing to
    remember with.
    """
    if is_listed(evaluator.detector):
        return 0.0
    companies = Companies(evaluator, sets)
    return max(companies.repeated(sets), companies.apart(sets))


def check_gradients(evaluator: Evaluator, plan: AttackPlan) -> None:
    """EvaluationError where the gradient of an objective that the plan follows depends on the other images.

    Every second one of some ID images keeps its place and its noise, the others are replaced by OOD images; without
    noise, two are also looked at in a batch of two. What the gradient turns on repetition, on other noise where it has
    any, is granted. Gradients that turn on the same noise too cannot be compared: `randomness` says why.
    """
    worker, bench, seen = evaluator.worker, evaluator.bench, evaluator.plain.detector
    components = attacks.components_of(seen, plan)
    names = list(dict.fromkeys(c.objective for c in components if c.objective and not c.is_peer))
    sized, images = evaluator.sized(plan), bench.id_test

    def unit(x: Tensor, objective: str, places: Sequence[int], noise: str = "") -> Tensor:
        generator = worker.stream(f"company/{objective}{noise}", images.name, 0)
        _, grad = seen.value_and_grad(x, objective=objective, draws=sized.get(objective), generator=generator)
        g = grad.flatten(1)[places].double()
        return g / g.norm(dim=1, keepdim=True).clamp_min(torch.finfo(torch.double).tiny)

    def compute() -> Cell:
        own = images.shard(0, GRADIENTS).to(worker.device)
        ood = torch.cat([s.shard(0, GRADIENTS) for s in bench.ood.values()]).to(worker.device)
        mixed, kept = own.clone(), list(range(0, len(own), 2))
        mixed[1::2] = ood[torch.arange(len(own) // 2, device=ood.device) * 7 % len(ood)]
        two = [kept[-1], 0]
        for name in names:
            alike = unit(own, name, kept)
            turns = [(unit(mixed, name, kept) - alike).norm(dim=1)]
            if not attacks.is_noisy(seen, name):
                turns.append((unit(own[two], name, [0, 1]) - alike[[-1, 0]]).norm(dim=1))
            if max(float(turn.median()) for turn in turns) <= TURN:
                continue
            repeated = [(unit(own, name, kept) - alike).norm(dim=1).median() for _ in range(REPEATS)]
            if max(map(float, repeated)) > TURN:
                continue
            granted = float((unit(own, name, kept, "/again") - alike).norm(dim=1).median())
            for turn, places in zip(turns, (kept, two), strict=False):
                if float(turn.median()) > TURN + 1.5 * granted:
                    index = places[int(turn.argmax())]
                    raise EvaluationError(
                        f"{evaluator.detector.label}: the gradient of {name} on {images.name}, index {index} "
                        f"({images.names[index]}) turns when the other images of its batch change: it must be a "
                        "function of that image alone"
                    )
        return {"none": torch.zeros(1)}, {}

    if names:
        sets = {s.name: s.digest for s in bench.ood.values()}
        what = {"condition": "company of gradients", "objectives": names, "sets": sets, "draws": sized}
        worker.once(images, what, compute)
