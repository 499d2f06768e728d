"""One detector under one adversary, or under several radii, and what AUROC does as they grow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

from attacks import DIRECTIONS, AttackPlan, Direction

from .. import metrics
from ..data import ImageSet
from ..engine.worker import in_turn
from ..metrics import Components
from .company import check_gradients, check_scores, forgotten
from .evaluator import Evaluator
from .populations import Evaluated, Population
from .probe import probe


def evaluated(
    evaluator: Evaluator,
    attack: str,
    plan: AttackPlan,
    *,
    budget: int | None = None,
    check: bool = True,
    thorough: bool = False,
) -> Evaluated:
    """Clean scores of every population, and attacked ones of ID (`min`), OOD (`max`) or both.

    A `budget` of network passes per image, forward + backward, sets the plan's steps and restarts (`attacker.within`).
    `check` also runs the base score's attack for as many passes (`Evaluator.control`), and the attacks of the
    indicators (`probe`) on a few images, `thorough` whatever they cost.
    """
    bench, directions, each = evaluator.bench, DIRECTIONS[attack], evaluator.worker.each
    everything = [bench.id_test, *bench.ood.values(), *bench.shifted.values()]
    watched = [images for images in everything if images.name not in bench.corruptions]
    clean = each([partial(evaluator.clean, images) for images in everything])
    done = {(images.name, "clean"): population for images, population in zip(everything, clean, strict=True)}
    unrepeatable = max(evaluator.repeated, check_scores(evaluator, watched))
    references = evaluator.references()
    if directions:
        plan = evaluator.within(plan, budget)
        check_gradients(evaluator, plan)

    suites: dict[tuple[str, Direction], Population] = {}

    def attacked(images: ImageSet, direction: Direction) -> Population:
        target, reference = (images.name, direction), references[direction]
        if target not in suites:  # else the control alone was another process's until now
            suites[target] = evaluator.attacked(images, direction, plan, reference)
        if evaluator.keep_images and suites[target].images is None:
            suites[target] = evaluator.pictured(images, direction, plan, reference, suites[target])
        return evaluator.control(images, direction, plan, reference, suites[target]) if check else suites[target]

    targets = [(images, d) for d in directions for images in ([bench.id_test] if d == "min" else bench.ood.values())]
    tasks: list[Callable[[], Any]] = [partial(attacked, *target) for target in targets]
    if directions and check:  # first, since no part of it can be another process's
        tasks.insert(0, partial(probe, evaluator, plan, directions, thorough=thorough))
    found = each(tasks)
    probed = found.pop(0) if directions and check else {}
    done |= {(images.name, d): population for (images, d), population in zip(targets, found, strict=True)}
    agreement = {images.name: evaluator.agreement(images) for images in (bench.id_test, *bench.shifted.values())}
    unrepeatable = max(unrepeatable, forgotten(evaluator, watched))
    return Evaluated(
        evaluator.detector,
        bench,
        done,
        plan if directions else None,
        precision=evaluator.precision,
        cosines=evaluator.draws(plan) if directions else {},
        checked=bool(probed),
        asked=check,
        probe=probed,
        unrepeatable=max([unrepeatable, *(population.unrepeatable for population in done.values())]),
        agreement={name: found for name, found in agreement.items() if found is not None},
        uses_network=evaluator.uses_network,
    )


def sweep(
    evaluator: Evaluator,
    attack: str,
    plans: Sequence[AttackPlan],
    *,
    budget: int | None = None,
    check: bool = True,
    thorough: bool = False,
) -> list[Evaluated]:
    """One evaluation per plan; with several radii, each knows of the largest rise of AUROC between them, and of scores
    that did not repeat at any of them: a memory shows once."""
    one = partial(evaluated, evaluator, attack, budget=budget, check=check, thorough=thorough)
    done = {plan.threat.eps: one(plan) for plan in in_turn(plans, evaluator.worker.turn)}
    found = [done[plan.threat.eps] for plan in plans]
    note_rise([(f, strongest(f)) for f in sorted(found, key=lambda f: f.eps)])
    most = max(f.unrepeatable for f in found)
    return [replace(f, unrepeatable=most) for f in found]


def strongest(found: Evaluated) -> Components:
    """AUROC, averaged over OOD sets, under all that the evaluation attacked."""
    states = {state for _, state in found.populations}
    id_state, ood_state = ("min" if "min" in states else "clean"), ("max" if "max" in states else "clean")
    attacked_id = found.scores(found.bench.id_test.name, id_state)
    scores = {name: found.scores(name, ood_state) for name in found.bench.ood}
    return metrics.average([metrics.components(attacked_id, ood, found.groups(name)) for name, ood in scores.items()])


def note_rise(found: Sequence[tuple[Evaluated, Components]]) -> None:
    """From AUROC over growing epsilon, its largest rise beyond two standard errors, paired: the images are the same."""
    if len(found) < 2:
        return
    rise = rise_of([area for _, area in found])
    for one, _ in found:
        one.probe.setdefault("margins", {})
        one.probe.setdefault("numbers", {})["epsilon-monotone"] = rise


def rise_of(areas: Sequence[Components]) -> float:
    """The largest rise of AUROC from one of them to the next, beyond two standard errors; 0 where there is none."""
    changes = [after.minus(before) for before, after in pairwise(areas)]
    return max([0.0, *(change.value - 2 * change.standard_error() for change in changes)])
