"""From a fitted detector and a benchmark to scores per population and condition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cached_property, partial
from typing import Any, cast

import torch
from torch import Tensor

import attacks
from attacks import SIGN, AttackPlan, Direction
from detectors import Smoothed

from ..data import SHARD, Benchmark, ImageSet
from ..engine.copies import on_copy
from ..engine.errors import EvaluationError
from ..engine.worker import Worker, joined
from ..store.cells import Cell
from ..store.identity import tensor_hash
from ..store.listed import is_listed
from .attacker import Attacker, within
from .behaviour import COMPARED, gradients_of, scored_apart, scores_of, unmet
from .differences import differing
from .populations import Population, kept_of, pictures_of, population_of
from .usage import uses_network

REFERENCE_DRAWS = 2
EOT_IMAGES = 16
"""On which the cosine of noisy gradients is measured."""
USAGE_IMAGES = 8
"""Of ID test, on which a detector is scored with its network changed."""
REPEATS = 1e-4
"""Relative difference of scores up to which an attack that is made again found the same images."""


class Evaluator:
    """Scores and attacks the populations of one benchmark for the fitted detector of a worker.

    `precision` bfloat16 computes the attack's gradients in it, on a prepared network. What is kept is kept for a
    detector that does the same (`behaviour`). With `keep_images` the first attacked images are kept too (`pictured`).
    """

    def __init__(
        self, worker: Worker, bench: Benchmark, *, precision: str = "float32", keep_images: bool = False
    ) -> None:
        self.worker, self.detector, self.bench, self.precision = worker, worker.detector, bench, precision
        self.keep_images, self._pictures = keep_images, dict[str, dict[str, Tensor]]()
        self.plain = Attacker(worker)
        self._cleaned: dict[str, Population] = {}
        self._draws: dict[str, dict[str, tuple[int, float]]] = {}
        self._gradients: dict[str, str] = {}
        self.apart = scored_apart(self.plain, bench)
        self.unmet = unmet(self.plain, bench)
        if worker.store is not None:
            worker.key["behaviour"] = scores_of(self.plain, bench)
            worker.store.grounds = "" if is_listed(self.detector) else COMPARED

    def gradients(self, plan: AttackPlan, *sets: ImageSet) -> list[str]:
        """A hash, per population, of what a plan's attack sees of the detector near its images (`behaviour`).

        Empty where nothing is kept, or the key already says all of the detector.
        """
        if self.worker.store is None or is_listed(self.detector):
            return []
        names = {images: f"{images.name} {plan}" for images in sets}
        for images, name in names.items():
            if name not in self._gradients:
                direction: Direction = "min" if images is self.bench.id_test else "max"
                self._gradients[name] = gradients_of(self.plain, images, plan, direction)
        return [self._gradients[name] for name in names.values()]

    def references(self) -> dict[Direction, Tensor]:
        """By direction, the clean scores (R, m) of the opposing population by which candidates are compared."""
        ood = torch.cat([cast(Tensor, self.clean(images).reference) for images in self.bench.ood.values()], 1)
        return {"min": ood, "max": cast(Tensor, self.clean(self.bench.id_test).reference)}

    def clean(self, images: ImageSet) -> Population:
        """Scores of the images as they are."""

        def score(shard: int, x: Tensor) -> Cell:
            report = self.plain.scores(x, images.name, shard)
            if not self.detector.randomized:
                return {"scores": report, "reference": report.clone()}, {}
            reference = self.plain.scores(x, images.name, shard, "reference", REFERENCE_DRAWS)
            parts = {"scores": report, "reference": reference}
            if isinstance(self.detector, Smoothed):
                generator = self.worker.stream("instability", images.name, shard)
                instability = partial(self.detector.instability, generator=generator)
                with torch.no_grad():
                    parts["instability"] = on_copy(instability, x, self.detector.label).cpu()
            return parts, {}

        if images.name not in self._cleaned:
            cells = self.worker.map(images, {"condition": "clean"}, f"{images.name} clean", score)
            self._cleaned[images.name] = Population(**joined(cells))  # type: ignore[arg-type]
        return self._cleaned[images.name]

    def attacked(self, images: ImageSet, direction: Direction, plan: AttackPlan, reference: Tensor) -> Population:
        """Scores of the attacked images, on the same report noise as the clean ones.

        `reference` (R, m) are the clean scores of the opposing population by which candidates are compared.
        """
        what, attack = self._attack(images, direction, plan, reference)
        label = f"{images.name} {direction}{', base score alone' if plan.method == 'transfer' else ''}"
        return population_of(self.worker.map(images, what, label, attack))

    def pictured(
        self, images: ImageSet, direction: Direction, plan: AttackPlan, reference: Tensor, found: Population
    ) -> Population:
        """What `attacked` found, with its first images (k, C, H, W).

        They are kept apart from the scores, whose keys know nothing of them; where those were kept without, the first
        shard is attacked again. EvaluationError where that gives images of other scores.
        """
        what, attack = self._attack(images, direction, plan, reference)
        name = f"{images.name} {direction} {plan}"

        def compute() -> Cell:
            if name not in self._pictures:
                attack(0, images.shard(0, SHARD).to(self.worker.device))
            return self._pictures[name], {}

        kept, _ = self.worker.once(images, {**what, "kept": "images", "most": pictures_of(images)}, compute)
        if differing(kept["scores"], found.scores[:, : kept["scores"].shape[1]]) > REPEATS:
            who = f"{self.detector.label}, {images.name} {direction}"
            raise EvaluationError(f"{who}: the attack repeats with other images than the kept scores': give --fresh")
        return replace(found, images=kept["images"])

    def _attack(
        self, images: ImageSet, direction: Direction, plan: AttackPlan, reference: Tensor
    ) -> tuple[dict[str, Any], Callable[[int, Tensor], Cell]]:
        """What decides an attacked population besides its images, and what attacks a shard of it."""
        draws = self.sized(plan)

        def attack(shard: int, x: Tensor) -> Cell:
            found = self.attacker.find(x, images.name, shard, direction, plan, reference, draws)

            def rescored(moved: Tensor, **fewer: int) -> Tensor:
                """Never the scores that chose the images: a detector may hide noise."""
                return self.attacker.rescored(moved, images.name, shard, direction, plan, **fewer)

            scores, transfer = rescored(found.images), None
            if self.keep_images and shard == 0:
                most = pictures_of(images)
                first = {"images": found.images[:most].cpu(), "scores": scores[:, :most].cpu().contiguous()}
                self._pictures[f"{images.name} {direction} {plan}"] = first
            if found.transfer is not None:
                transfer = scores.clone() if found.transfer is found.images else rescored(found.transfer)
            tensors, facts = kept_of(found, scores, transfer, SIGN[direction])
            exact = self.precision == "float32" and not plan.threat.quantize  # else values on the way are other ones
            facts |= {
                "excess": plan.threat.violation(found.images, x),
                "unseen": found.unseen(SIGN[direction]) if exact else None,
                "unrepeatable": differing(scores[:1], rescored(found.images, draws=1)),
            }
            return tensors, facts

        what = {
            "condition": direction,
            "plan": asdict(plan),
            "precision": self.precision,
            "reference": tensor_hash(reference),
            "draws": draws,
            "gradients": self.gradients(plan, images),
            **self.peers(plan),
        }
        return what, attack

    def control(
        self, images: ImageSet, direction: Direction, plan: AttackPlan, reference: Tensor, found: Population
    ) -> Population:
        """What `attacked` found and, where `attacks.transfer_for` gives one, what the published attack does for as many
        passes.
        """
        again = attacks.transfer_for(self.attacker.seen(plan, images.name, 0), plan, found.passes)
        if again is None:
            return found
        return replace(found, equal=self.attacked(images, direction, again, reference))

    def peers(self, plan: AttackPlan) -> dict[str, Any]:
        """What decides another library's attack besides the plan: how it sees the detector, and its version."""
        if not attacks.is_external(plan.method):
            return {}
        return {"view": self.attacker.view, "library": attacks.library_version(plan.method)}

    def within(self, plan: AttackPlan, budget: int | None) -> AttackPlan:
        """`attacker.within`, with the copies per gradient that the detector needs."""
        return plan if budget is None else within(self.detector, plan, budget, self.sized(plan))

    def sized(self, plan: AttackPlan) -> dict[str, int]:
        """Noisy copies per gradient, by objective."""
        return {name: n for name, (n, _) in self.draws(plan).items()}

    def draws(self, plan: AttackPlan) -> dict[str, tuple[int, float]]:
        """`Attacker.draws` on the first ID test images."""
        names = self.attacker.noisy(plan)
        if not names:
            return {}
        images = self.bench.id_test

        def compute() -> Cell:
            x = images.shard(0, EOT_IMAGES).to(self.worker.device)
            found = self.attacker.draws(x, images.name, plan)
            return {"draws": torch.tensor([n for n, _ in found.values()])}, {"cosine": [c for _, c in found.values()]}

        fixed = plan.strength.draws
        what = {
            "condition": "draws",
            "threat": asdict(plan.threat),
            "draws": fixed,
            "compared": None if fixed is None else attacks.rests_on(fixed, plan),
            "objectives": names,
            "gradients": self.gradients(plan, images),
        }
        if repr(what) not in self._draws:
            tensors, facts = self.worker.once(images, what, compute)
            numbers = zip(tensors["draws"].tolist(), facts["cosine"], strict=True)
            self._draws[repr(what)] = dict(zip(names, numbers, strict=True))
        return self._draws[repr(what)]

    @cached_property
    def attacker(self) -> Attacker:
        """The adversary; the threshold and scale that other libraries' attacks see are those of the clean scores."""
        id_scores, *ood_scores = (self.clean(s).scores[0] for s in (self.bench.id_test, *self.bench.ood.values()))
        view = attacks.view_of(id_scores, torch.cat(ood_scores))
        return Attacker(self.worker, precision=self.precision, view=view)

    @cached_property
    def repeated(self) -> float:
        """How much five scorings of the same ID test images differ, on equal noise."""
        images = self.bench.id_test

        def compute() -> Cell:
            x = images.shard(0, SHARD).to(self.worker.device)
            scores = torch.cat([self.plain.scores(x, images.name, 0, "repeat", 1) for _ in range(5)]).double()
            gap = (scores.amax(0) - scores.amin(0)) / scores.abs().amax(0).clamp_min(1e-12)
            return {"gap": gap.max()}, {}

        return float(self.worker.once(images, {"condition": "repeated"}, compute)[0]["gap"])

    @cached_property
    def uses_network(self) -> bool:
        """Whether scores change with the parameters of the network that the detector shows; False where it shows none.

        On a few ID test images, and as many of uniform noise that nothing has scored before.
        """
        images = self.bench.id_test
        if self.detector.network is None:
            return False

        def compute() -> Cell:
            x = images.shard(0, USAGE_IMAGES).to(self.worker.device)
            stream = partial(self.worker.stream, "behaviour/network", images.name, 0)
            fresh = torch.rand(
                x.shape, generator=self.worker.stream("behaviour/network", "noise", 0), device=x.device
            ).to(x)
            return {"none": torch.zeros(1)}, {"used": uses_network(self.detector, torch.cat([x, fresh]), stream)}

        return bool(self.worker.once(images, {"condition": "network"}, compute)[1]["used"])

    def agreement(self, images: ImageSet) -> tuple[float, float] | None:
        """Accuracy on ID images of the network that the detector shows, and what it would be by chance.

        Chance is sum_k p_k q_k of the shares of class k among labels and predictions, as in Cohen's kappa. None where
        the detector shows no network.
        """
        net = self.detector.network
        if net is None:
            return None

        @torch.no_grad()
        def predict(shard: int, x: Tensor) -> Cell:
            name = f"the network of {self.detector.label}"
            return {"predicted": on_copy(lambda x: net(x).argmax(1), x, name).cpu()}, {}

        what = {"condition": "predicted"} if is_listed(net) else None
        found = self.worker.map(images, what, "", predict)
        predicted = joined(found)["predicted"]
        classes = int(torch.cat([predicted, images.labels]).max()) + 1
        p, q = (torch.bincount(y, minlength=classes).double() / len(images) for y in (images.labels, predicted))
        chance = max(float((p * q).sum()), 1 / classes)  # labels of other classes than are ever predicted: no agreement
        return float((predicted == images.labels).double().mean()), chance
