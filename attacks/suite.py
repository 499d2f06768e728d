"""The per-image worst case over a detector's objectives, chosen on noise that neither attacked nor reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .components import Component, Job, Passes, component
from .methods import components_of
from .plan import SIGN, AttackPlan, Direction
from .seam import Detector
from .selection import Best, indexed
from .trace import Trace
from .waiting import at_once, sent


@dataclass(frozen=True)
class Suite:
    """The chosen images, the component that won each of them (an index into `components`), and the cost."""

    images: Tensor
    winner: Tensor
    components: tuple[str, ...]
    """`clean` first, then one name per attack, such as `pgd:exact`."""
    traces: Mapping[str, Trace]
    """Of images decided before a component ran, the objective is NaN."""
    passes: Passes
    """Network passes (forward, backward) per image, selection included."""
    scores: Tensor | None = None
    """(B,) of the images, where the detector is deterministic and selected them."""
    transfer: Tensor | None = None
    """The images of PGD on the base score alone, where the suite ran it: the published attack."""
    begun: Tensor | None = None
    """(B,) `winner` before `refine`; None where that did not run."""

    @property
    def origin(self) -> Tensor:
        """(B,) like `winner`; for images that `refine` won, the component from whose images it went on."""
        if self.begun is None:
            return self.winner
        goes_on = [name != "clean" and component(name).goes_on for name in self.components]
        went_on = sent(goes_on, self.winner.device, torch.bool)[self.winner]
        return torch.where(went_on, self.begun, self.winner)

    def unseen(self, sign: int) -> int | None:
        """How many images have a visited iterate with a better score than the returned one.

        None where nothing shows it: without `scores`, or if no attack noted the score itself. A thousandth of the
        returned scores' interquartile range, or 1e-5 of a score, is rounding.
        """
        scored = [trace.values for name, trace in self.traces.items() if component(name).shows_score]
        if self.scores is None or not scored:
            return None
        quartiles = torch.quantile(self.scores, sent([0.25, 0.75], self.scores.device, self.scores.dtype))
        rounding = 1e-3 * (quartiles[1] - quartiles[0]) + 1e-5 * self.scores.abs() + 1e-6
        worse = torch.zeros_like(self.winner, dtype=torch.bool)
        for values in scored:  # NaN, so not ahead, where an attack did not run
            worse |= (sign * (values - self.scores) > rounding).any(0)
        return int(worse.sum())

    def late_gain(self, sign: int) -> Tensor | None:
        """(B,) share of what gradients gained on the score that came in the last 10 steps (Pintor et al. 2022).

        Of all runs, one after the other. 0 for images decided on the way, which have nothing left to gain; NaN for
        those whose last run was on a surrogate, and does not show it; None with noise, or where no gradient was
        followed.
        """
        followed = {a: trace for name, trace in self.traces.items() if (a := component(name)).follows_gradient}
        shown = [trace.values for attack, trace in followed.items() if attack.shows_score]
        if self.scores is None or not shown:
            return None
        values = sign * torch.cat(shown)
        if not len(values):
            return torch.zeros_like(self.scores)
        visit = (~values.isnan()).cumsum(0)
        values = values.nan_to_num(nan=-torch.inf)
        early = values.masked_fill(visit > visit[-1] - 10, -torch.inf).amax(0)
        first = values.gather(0, (visit == 1).int().argmax(0)[None])[0]
        gained = (values.amax(0) - first).clamp_min(torch.finfo(values.dtype).tiny)
        late = ((values.amax(0) - torch.maximum(early, first)) / gained).nan_to_num(0.0)
        attack, last = list(followed.items())[-1]
        if not attack.shows_score:
            last = last.hidden()
        stopped = last.zero_gradient.float().isnan()
        return late.masked_fill(last.values.isnan().all(0), torch.nan).masked_fill(stopped, 0.0)


Streams = Callable[[str], torch.Generator]
"""A fresh, always equal generator for a named use of randomness."""


def suite(
    detector: Detector,
    x: Tensor,
    plan: AttackPlan,
    direction: Direction,
    *,
    streams: Streams,
    draws: Mapping[str, int] | None = None,
    reference: Tensor | None = None,
    view: tuple[float, float] = (0.0, 1.0),
    components: Sequence[Component] | None = None,
    start: Tensor | None = None,
) -> Suite:
    """Per image of x (B, C, H, W), the candidate that the detector misjudges most, x itself among them.

    Scores are pushed down (`min`) or up (`max`). The candidates come from the components of the plan's method, one
    after the other, or from `components` if given; `start` (like x) is another candidate, from which those go on that
    start from the best so far. The method `transfer` is the published evaluation: pgd on `base`,
    its best iterate by the base score, not compared by the full detector. Other libraries' attacks see the detector as
    `TwoLogits` with `view` = (threshold, scale).

    Uses the streams `attack/...` and `select`: report on another one. `draws` are copies per gradient by objective.
    `reference` are clean scores of the opposing population, see `Best`: an image past all of them is decided, and later
    components leave it alone. Candidates are compared as the threat model submits them: rounded to 8 bits, or by the
    best of several tries.
    """
    plan.threat.check(x)
    sign, threat, spent = SIGN[direction], plan.threat, torch.zeros(2, dtype=torch.double)
    attacks = tuple(components_of(detector, plan) if components is None else components)
    names = tuple(attack.name for attack in attacks)

    objectives = ["", *(attack.objective for attack in attacks)]

    def job(attack: Component, best: Tensor, winner: Sequence[int] = ()) -> Job:
        found_by = [objectives[place] for place in winner]
        return Job(sign, streams(f"attack/{attack.name}"), best, draws or {}, found_by, view)

    if plan.method == "transfer":
        with at_once():
            (*_, found), passes = attacks[0].run(detector, x, plan, job(attacks[0], x))
        images, winner = threat.submitted(found.images, x), torch.zeros(len(x), dtype=torch.long, device=x.device)
        return Suite(images, winner, names, {names[0]: found.trace}, passes, transfer=images)
    traces: dict[str, Trace] = {}
    transfer, begun = x if "pgd:base" in names else None, None
    with at_once() as demands:
        best = Best(
            detector,
            x,
            sign=sign,
            stream=lambda: streams("select"),
            reference=reference,
            tries=threat.tries,
            draws=plan.strength.compared,
        )
        if start is not None:
            best.offer(threat.submitted(start, x))
        for number, attack in enumerate(attacks, 1):
            best.component = number
            decided, won_by = demands.look(best.decided, best.winner)  # the one wait for the device per component
            left = [place for place, over in enumerate(decided) if not over]
            if not left:
                traces[attack.name] = Trace.empty(x)
                continue
            begun = best.winner.clone() if attack.goes_on else begun
            alive = sent(left, x.device)
            with indexed(alive):
                here = job(attack, best.images[alive], [won_by[place] for place in left])
                results, passes = attack.run(detector, x[alive], plan, here)
            spent += len(alive) * torch.tensor(passes, dtype=torch.double)
            traces[attack.name] = results[0].trace.spread(alive, len(x))
            submitted = [threat.submitted(found.images, x[alive]) for found in results]
            for images in submitted:
                best.offer(images, alive)
            if attack.name == "pgd:base":
                transfer = x.index_copy(0, alive, submitted[-1])
    spent += best.scored * torch.tensor(detector.score_passes(), dtype=torch.double)
    forward, backward = (spent / len(x)).tolist()
    scores = None if detector.randomized else best.scores[0]
    return Suite(best.images, best.winner, ("clean", *names), traces, (forward, backward), scores, transfer, begun)
