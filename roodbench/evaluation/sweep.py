"""One detector under one adversary, or under several radii, and what AUROC does as they grow."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from attacks import DIRECTIONS, AttackPlan

from .. import metrics
from ..metrics import Components
from .company import check_gradients, check_scores, forgotten
from .evaluator import Evaluator
from .populations import Evaluated
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

    A `budget` of network passes per image, forward + backward, sets the plan's steps and restarts (`budget.within`).
    `check` also runs the base score's attack for as many passes (`Evaluator.control`), and the attacks of the
    indicators (`probe`) on a few images, `thorough` whatever they cost.
    """
    bench, directions = evaluator.bench, DIRECTIONS[attack]
    everything = [bench.id_test, *bench.ood.values(), *bench.shifted.values()]
    done = {(images.name, "clean"): evaluator.clean(images) for images in everything}
    watched = [images for images in everything if images.name not in bench.corruptions]
    unrepeatable = max(evaluator.repeated, check_scores(evaluator, watched))
    references = evaluator.references()
    if directions:
        plan = evaluator.within(plan, budget)
        check_gradients(evaluator, plan)
    for direction in directions:
        for images in [bench.id_test] if direction == "min" else bench.ood.values():
            found = evaluator.attacked(images, direction, plan, references[direction])
            if check:
                found = evaluator.control(images, direction, plan, references[direction], found)
            done[images.name, direction] = found
    agreement = {images.name: evaluator.agreement(images) for images in (bench.id_test, *bench.shifted.values())}
    probed = probe(evaluator, plan, directions, thorough=thorough) if directions and check else {}
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
    """One evaluation per plan; with several radii, each knows of the largest rise of AUROC between them."""
    found = [evaluated(evaluator, attack, plan, budget=budget, check=check, thorough=thorough) for plan in plans]
    note_rise([(f, strongest(f)) for f in sorted(found, key=lambda f: f.eps)])
    return found


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
    rise = 0.0
    for (_, before), (_, after) in pairwise(found):
        change = after.minus(before)
        rise = max(rise, change.value - 2 * change.standard_error())
    for one, _ in found:
        one.probe.setdefault("margins", {})
        one.probe.setdefault("numbers", {})["epsilon-monotone"] = rise
