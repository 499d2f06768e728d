"""Does anybody's attack find more than the suite? Attacks of other ideas at the suite's passes, image by image.

usage: python -m studies.hunt [--model digits-cnn --norm l2 --eps 0.5 | --data-root DATA --checkpoint FILE --eps 8/255]
    [--detectors ebo,gen,knn,pro] [--strength quick] [--budget N]

Every hunt makes as many runs as the suite's `attacks.cost` pays for on the detector, on `base` where a look at the
score takes several passes of the network; where it can, it keeps a fifth for a last run with momentum on the score.
AUROC in points with both populations attacked, `lower by` is paired, with two standard errors; `together` is the best
of all per image. Randomised detectors are compared on 8 draws and reported on 10 others.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

import attacks
from attacks import SIGN, AttackPlan, Direction, step_sizes
from detectors import Detector, autograd
from roodbench import metrics
from roodbench.data import ImageSet
from roodbench.engine.worker import Worker
from roodbench.evaluation.evaluator import Evaluator
from roodbench.metrics import Components
from roodbench.setup.setting import Setting, plan_of
from studies.setting import parser_of, print_table, run_config, setting_of

COLUMNS = ("network", "norm", "eps", "detector", "attack", "passes", "min", "max", "both", "lower by", "two std errors")
Gradient = Callable[[Tensor, float], Tensor]
"""Of images at a share of the way through a run."""
Ends = Mapping[Direction, Tensor]
"""The images of both populations, clean or attacked."""


@dataclass
class Hunt:
    """One population under one detector, and what may be spent on an image."""

    detector: Detector
    x: Tensor
    other: Tensor
    """Clean images of the other population."""
    plan: AttackPlan
    sign: int
    generator: torch.Generator
    passes: float
    spent: float = 0.0
    best: Tensor = field(init=False)
    value: Tensor = field(init=False)

    def __post_init__(self) -> None:
        own = self.detector.objectives
        cheap = [name for name in own if self.passes_of(name) == 2]
        self.climbed = "exact" if "exact" in cheap or not cheap else cheap[0]
        self.best, self.value = self.x, self.x.new_full((len(self.x),), -torch.inf)

    def passes_of(self, objective: str) -> int:
        return sum(self.detector.passes(objective, 8 if self.detector.randomized else None))

    def left(self) -> float:
        """What the runs before the last may still take."""
        return 0.8 * self.passes - self.spent

    def slope(self, z: Tensor, objective: str) -> tuple[Tensor, Tensor]:
        """The value and the gradient that climb, paid for."""
        self.spent += self.passes_of(objective)
        draws = 8 if self.detector.randomized else None
        value, grad = self.detector.value_and_grad(z, objective=objective, draws=draws, generator=self.generator)
        return self.sign * value, self.sign * grad

    def offer(self, z: Tensor, value: Tensor) -> None:
        won = value > self.value
        self.best = torch.where(won[:, None, None, None], z, self.best)
        self.value = torch.where(won, value, self.value)

    def climb(self, z: Tensor, steps: int, *, scale: float = 1.0, momentum: float = 0.0, objective: str = "") -> Tensor:
        """pgd on the score from z, every iterate offered; the last step's."""
        velocity, threat = torch.zeros_like(z), self.plan.threat
        for size in step_sizes(scale * threat.eps, steps):
            value, grad = self.slope(z, objective or self.climbed)
            self.offer(z, value)
            velocity = momentum * velocity + threat.unit(grad)
            z = threat.project(z + size * threat.ascent(velocity), self.x)
        return z

    def along(self, z: Tensor, steps: int, gradient: Gradient) -> Tensor:
        """Steps along another gradient, one pass forward and one back each."""
        for number, size in enumerate(step_sizes(self.plan.threat.eps, steps)):
            self.spent += 2
            grad = gradient(z, number / steps)
            z = self.plan.threat.project(z + size * self.plan.threat.ascent(grad), self.x)
        return z

    def random(self) -> Tensor:
        return self.plan.threat.random(self.x, self.generator)

    def corner(self) -> Tensor:
        """A random point far out: of linf a corner, of l2 on the sphere."""
        noise = torch.randn(self.x.shape, generator=self.generator, device=self.x.device)
        return self.plan.threat.project(self.x + self.plan.threat.eps * self.plan.threat.ascent(noise), self.x)

    def net(self, z: Tensor) -> Tensor:
        assert self.detector.network is not None
        return self.detector.network(z)

    def features(self, z: Tensor) -> Tensor:
        assert self.detector.network is not None
        h = self.detector.network.outputs(z).features
        assert h is not None
        return h


def margin(z: Tensor, label: Tensor) -> Tensor:
    own = label[:, None]
    return z.gather(1, own)[:, 0] - z.scatter(1, own, -torch.inf).amax(1)


def restarts(h: Hunt, start: int) -> None:
    h.climb(h.random(), 10)


def corners(h: Hunt, start: int) -> None:
    h.climb(h.corner(), 10)


def targets(h: Hunt, start: int) -> None:
    """Multi-targeted: the score and a class's margin together, the margin's weight falling to nothing."""
    order = h.net(h.x).argsort(1, descending=True)
    label, half = order[:, (start + (h.sign < 0)) % order.shape[1]], 10

    def gradient(z: Tensor, share: float) -> Tensor:
        toward, (_, score) = autograd(lambda z: margin(h.net(z), label), z)[1], h.slope(z, h.climbed)
        return (1 - share) * h.plan.threat.unit(toward) + share * h.plan.threat.unit(score)

    h.climb(h.along(h.random(), half, gradient), half, scale=0.5)


def features(h: Hunt, start: int) -> None:
    """Towards the features of the start-th nearest image of the other population, then the score."""
    own, goals = h.features(h.x), h.features(h.other)
    goal = goals[torch.cdist(own, goals).argsort(1)[:, start % len(goals)]]
    h.climb(h.along(h.random(), 6, lambda z, _: -autograd(lambda z: (h.features(z) - goal).norm(dim=1), z)[1]), 8)


def relays(h: Hunt, start: int) -> None:
    """Another score first: the length of features, the largest logit, the energy, the entropy, the lead."""

    def other(z: Tensor) -> Tensor:
        logits, features = h.net(z), h.features(z)
        top = logits.topk(2, dim=1).values
        scores = (features.norm(dim=1), top[:, 0], logits.logsumexp(1), -F.softmax(logits, 1).square().sum(1).log())
        return (*scores, top[:, 0] - top[:, 1])[start % 5] * (1 if start % 5 != 3 else -1)

    h.climb(h.along(h.random(), 5, lambda z, _: h.sign * autograd(other, z)[1]), 8)


def hops(h: Hunt, start: int) -> None:
    """Basin hopping: from the best so far, a third of the pixels drawn anew."""
    kept = torch.rand(h.x.shape, generator=h.generator, device=h.x.device) > 1 / 3
    h.climb(torch.where(kept, h.best, h.corner()) if start else h.random(), 10, scale=0.5 if start else 1.0)


def long_runs(h: Hunt, start: int) -> None:
    """Two runs, of a thousand steps where that many are paid for, with momentum."""
    steps = max(1, int(h.passes * 0.4 / h.passes_of(h.climbed)))
    h.climb(h.random() if start else h.x, min(1000, steps), momentum=0.75)


HUNTS: Mapping[str, Callable[[Hunt, int], None]] = {
    one.__name__: one for one in (restarts, corners, targets, features, relays, hops, long_runs)
}


def hunted(h: Hunt, method: Callable[[Hunt, int], None]) -> Tensor:
    """The best images: runs until nothing is left for one more, then one with momentum from the best."""
    start, run = 0, 0.0
    while start == 0 or h.left() >= run:
        before = h.spent
        method(h, start)
        start, run = start + 1, h.spent - before
    last = int((h.passes - h.spent) / h.passes_of("exact"))
    if h.climbed != "exact":
        h.value = torch.full_like(h.value, -torch.inf)
    if last > 0:
        h.climb(h.best, last, scale=0.5, momentum=0.75, objective="exact")
    return h.best


def rows_of(options: argparse.Namespace) -> Iterator[list[str]]:
    """The cells of the table, one row per detector and attack; the suite first."""
    with setting_of(run_config(options, base=options.base, compile="off")) as setting:
        for name in options.detectors.split(","):
            yield from found_on(setting, name, options)


def found_on(setting: Setting, name: str, options: argparse.Namespace) -> Iterator[list[str]]:
    detector, _ = setting.fitted(name)
    evaluator = Evaluator(Worker(detector, device=setting.device), setting.bench)
    attacker, references = evaluator.attacker, evaluator.references()
    plan = plan_of(setting.bench, eps=options.eps, norm=options.norm, strength=options.strength)
    plan = evaluator.within(plan, options.budget)
    sized = evaluator.sized(plan)
    (ood,) = setting.bench.ood.values()
    directions: tuple[Direction, ...] = ("min", "max")
    sets: dict[Direction, ImageSet] = {"min": setting.bench.id_test, "max": ood}
    clean = {d: s.shard(0, len(s)).to(setting.device) for d, s in sets.items()}
    allowed = sum(attacks.cost(detector, plan, sized))

    def chosen(d: Direction, *candidates: Tensor) -> Tensor:
        stream = lambda: torch.Generator(setting.device).manual_seed(1)  # noqa: E731
        return attacks.select(detector, candidates, sign=SIGN[d], stream=stream, reference=references[d])[0]

    def area(side: Ends) -> Components:
        low, high = (attacker.scores(side[d], f"hunt {d}", 0).double().numpy() for d in directions)
        return metrics.components(low, high)

    def row(method: str, passes: float, ends: Ends, before: Components | None) -> list[str]:
        both = area(ends)
        areas = [*(area({**clean, d: ends[d]}).value for d in directions), both.value]
        gap = None if before is None else before.minus(both)
        paired = ["-", "-"] if gap is None else [f"{100 * gap.value:.2f}", f"{200 * gap.standard_error():.2f}"]
        head = [setting.plain.name, options.norm, f"{options.eps:.4g}", detector.label, method, f"{passes:.0f}"]
        return [*head, *(f"{100 * value:.2f}" for value in areas), *paired]

    runs = {d: attacker.find(clean[d], sets[d].name, 0, d, plan, references[d], sized) for d in directions}
    suite = together = {d: chosen(d, clean[d], run.images) for d, run in runs.items()}
    before, spent = area(suite), sum(sum(run.passes) for run in runs.values()) / 2
    yield row(f"suite, {options.strength}", spent, suite, None)
    for method in options.hunts.split(","):
        ends: dict[Direction, Tensor] = {}
        spent = 0.0
        for d, other in zip(directions, reversed(directions), strict=True):
            generator = torch.Generator(setting.device).manual_seed(0)
            hunt = Hunt(detector, clean[d], clean[other], plan, SIGN[d], generator, allowed)
            ends[d] = chosen(d, clean[d], hunted(hunt, HUNTS[method]))
            spent += hunt.spent / 2
        together = {d: chosen(d, together[d], ends[d]) for d in directions}
        yield row(method.replace("_", " "), spent, ends, before)
    yield row("together", 0.0, together, before)


def main(argv: Sequence[str] | None = None) -> None:
    """Print a Markdown table, one line per detector and attack."""
    parser = parser_of(__doc__, images=64)
    parser.add_argument("--detectors", default="ebo,gen,knn,pro")
    parser.add_argument("--base", default="gen")
    parser.add_argument("--norm", default="linf")
    parser.add_argument("--eps", type=parsed, default=16 / 255, help="of pixels, as 8/255; default 16/255")
    parser.add_argument("--strength", default="quick")
    parser.add_argument("--budget", type=int, help="network passes an image; default what the strength costs")
    parser.add_argument("--hunts", default=",".join(HUNTS))
    print_table(COLUMNS, rows_of(parser.parse_args(argv)))


def parsed(text: str) -> float:
    whole, _, part = text.partition("/")
    return float(whole) / float(part or 1)


if __name__ == "__main__":
    main()
