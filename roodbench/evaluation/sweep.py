"""One detector under several radii, and what AUROC does as they grow."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from attacks import AttackPlan

from .. import metrics
from ..metrics import Components
from .evaluator import Evaluator
from .populations import Evaluated


def sweep(evaluator: Evaluator, attack: str, plans: Sequence[AttackPlan], *, check: bool = True) -> list[Evaluated]:
    """One evaluation per plan; with several radii, each knows of the largest rise of AUROC between them."""
    found = [evaluator.run(attack, plan, check=check) for plan in plans]
    note_rise([(f, strongest(f)) for f in sorted(found, key=lambda f: f.eps)])
    return found


def strongest(found: Evaluated) -> Components:
    """AUROC, averaged over OOD sets, under all that the evaluation attacked."""
    states = {state for _, state in found.populations}
    id_state, ood_state = ("min" if "min" in states else "clean"), ("max" if "max" in states else "clean")
    attacked_id = found.scores(found.bench.id_test.name, id_state)
    return metrics.average([metrics.components(attacked_id, found.scores(n, ood_state)) for n in found.bench.ood])


def note_rise(found: Sequence[tuple[Evaluated, Components]]) -> None:
    """From AUROC over growing epsilon, its largest rise beyond two standard errors, paired: the images are the same."""
    if len(found) < 2:
        return
    rise = 0.0
    for (_, before), (_, after) in pairwise(found):
        change = after.minus(before)
        rise = max(rise, change.value - 2 * change.standard_error())
    for evaluated, _ in found:
        evaluated.probe.setdefault("margins", {})
        evaluated.probe.setdefault("numbers", {})["epsilon-monotone"] = rise
