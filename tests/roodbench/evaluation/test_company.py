"""A score that depends on its batch is refused, clean rows too; functions of one image are not, at any scale."""

import copy
import sys

import pytest
import torch

import detectors
import roodbench
from detectors import DETECTORS, Plain
from roodbench.certify.certifier import Certifier
from roodbench.certify.config import CertifyConfig
from roodbench.engine.errors import EvaluationError
from roodbench.evaluation.company import check_gradients, check_scores
from roodbench.setup.config import RunConfig
from roodbench.setup.setting import plan_of
from roodbench.store.cells import Store
from tests.roodbench.evaluation.plants import BATCH_EFFECTS, HONEST, NoisyPlanted, NormalizedInTrainingMode, Planted
from tests.roodbench.helpers import evaluator, few, fitted, small

SAID = r"the score of [\w-]+, index \d+ \(.*\) is \S+ among its own population and \S+ (among|in a batch of \w+).*alone"


def clean(detector, limit=40):
    return roodbench.evaluate(detector, small(limit, ("unseen-digits", "noise")), attack="none")


@pytest.mark.parametrize("effect", BATCH_EFFECTS)
def test_a_score_that_looks_at_its_batch_is_refused(effect, digits_net):
    with pytest.raises(EvaluationError, match=f"^Planted: {SAID}"):
        clean(Planted(digits_net, BATCH_EFFECTS[effect]))


def test_batch_norm_in_training_mode_is_refused(digits_net):
    with pytest.raises(EvaluationError, match=f"^NormalizedInTrainingMode: {SAID}"):
        clean(NormalizedInTrainingMode(digits_net))


@pytest.mark.parametrize("effect", ["mean", "a little of the mean", "size", "place", "order", "largest"])
def test_noise_hides_no_batch(effect, digits_net):
    with pytest.raises(EvaluationError, match=f"^noisy-planted: {SAID}"):
        clean(NoisyPlanted(digits_net, BATCH_EFFECTS[effect]))


def test_undeclared_noise_far_from_zero_is_no_batch(digits_net):
    """It is small beside the scores and large beside their spread: `randomness` names it."""

    def noisy(energy, x):
        return energy(x) + 1e5 + 2 * torch.randn(len(x))

    result = clean(Planted(digits_net, noisy))
    assert [i.name for i in result.indicators if i.passed is False] == ["randomness"]


def test_much_noise_hides_no_batch(digits_net):
    """It is the same in both batches: what they differ by is the company's."""
    with pytest.raises(EvaluationError, match=f"^noisy-planted: {SAID}"):
        clean(NoisyPlanted(digits_net, BATCH_EFFECTS["mean"], noise=30.0))


@pytest.mark.parametrize("limit", [2, 3, 65])
def test_a_batch_is_noticed_in_populations_of_any_size(limit, digits_net):
    with pytest.raises(EvaluationError, match=f"^Planted: {SAID}"):
        clean(Planted(digits_net, BATCH_EFFECTS["mean"]), limit)
    clean(Planted(digits_net, HONEST["energy"]), limit)


@pytest.mark.parametrize("score", HONEST)
def test_functions_of_one_image_are_not_refused(score, digits_net):
    assert len(clean(Planted(digits_net, HONEST[score])).rows) == 2


@pytest.mark.parametrize("noise", [0.3, 30.0])
def test_declared_noise_is_not_refused(noise, digits_net):
    """Whether it is drawn by shape, or as much of it as the images ask for: then means over draws are compared."""

    class AsTheImagesAsk(NoisyPlanted):
        def forward(self, x, *, generator=None):
            torch.rand(1 + int(1000 * x.sum()) % 7, generator=generator)
            return super().forward(x, generator=generator)

    class AndTheBatch(AsTheImagesAsk):
        def forward(self, x, *, generator=None):
            return super().forward(x, generator=generator) + 20 * x.mean()

    clean(NoisyPlanted(digits_net, HONEST["energy"], noise=noise))
    clean(AsTheImagesAsk(digits_net, HONEST["energy"], noise=noise))
    if noise < 1:
        with pytest.raises(EvaluationError, match="it must be a function of that image alone"):
            clean(AndTheBatch(digits_net, HONEST["energy"], noise=noise))


@pytest.mark.parametrize("name", DETECTORS)
def test_every_detector_judges_images_alone(name, digits_net):
    """Also between kept and repeated scores nothing differs."""
    bench = small(70, ("unseen-digits", "noise"))
    found = evaluator(fitted(name, digits_net, bench, **few(name)), bench)
    assert check_scores(found, [bench.id_test, *bench.ood.values()]) < 1e-6
    check_gradients(found, plan_of(bench))


class LooksAtItsBatch(detectors.EBO):
    name = "looks"

    def score(self, z, h):
        return super().score(z, h) + super().score(z, h).mean()


def test_a_base_that_looks_at_its_batch_is_not_certified(digits_net):
    config = CertifyConfig(run=RunConfig(detector=("median",), norm="l2"), sigma=0.25, radius=(0.1,), samples=300)
    with pytest.raises(
        EvaluationError, match=r"median\(looks\): the score of .* it must be a function of that image alone"
    ):
        Certifier(detectors.Median(LooksAtItsBatch(digits_net), sigma=0.25), small(8), config, {0.1: 0.1}).clean()


class Remembers(Planted):
    """The energy less its running mean over all that was scored."""

    running = 0.0

    def forward(self, x):
        s = self.energy(x)
        self.running = 0.9 * self.running + 0.1 * float(s.mean())
        return s - self.running


class CountsThreads(Planted):
    """Another score where torch has several threads."""

    def forward(self, x):
        return self.energy(x) * (2.0 if torch.get_num_threads() > 1 else 1.0)


class RemembersOthers(Planted):
    """The mean of the last other batch is added: at once repeated, the score is the same."""

    seen = (0.0, 0.0)

    def forward(self, x):
        s = self.energy(x)
        if abs(float(s.mean()) - self.seen[1]) > 1e-6:
            self.seen = (self.seen[1], float(s.mean()))
        return s + self.seen[0]


class RemembersTheFirst(Planted):
    """Minus the distance from the mean features of the first batch it ever sees: ID test, were that scored first."""

    bank = None

    def forward(self, x):
        h = self.net.outputs(x).features
        self.bank = h.detach().mean(0) if self.bank is None else self.bank
        return -(h - self.bank).norm(dim=1)


BANK = []


class RemembersForAll(Planted):
    """The same in a global: no copy of it shows that, and what it learns is noise."""

    most = 1

    def forward(self, x):
        h = self.net.outputs(x).features
        if len(BANK) < self.most:
            BANK.append(h.detach().mean(0))
        return -torch.stack([(h - known).norm(dim=1) for known in BANK]).amin(0)


class RemembersMoreForAll(RemembersForAll):
    """More than the noise that it is shown first."""

    most = 6


def test_what_no_copy_shows_learns_nothing_of_the_benchmark(digits_net):
    BANK.clear()
    result = clean(RemembersForAll(digits_net, None))
    assert max(row.auroc for row in result.rows) < 0.1  # noise is near to what it remembers, digits are far
    assert "reversed" in [i.name for i in result.indicators if i.passed is False]


@pytest.mark.skipif(sys.platform != "linux", reason="no other system copies a process without harm")
@pytest.mark.parametrize("planted", [RemembersForAll, RemembersMoreForAll])
def test_a_memory_outside_of_the_detector_is_marked(planted, digits_net):
    BANK.clear()
    result = clean(planted(digits_net, None))
    assert "randomness" in [i.name for i in result.indicators if i.passed is False]
    assert {row.reliable for row in result.rows} == {False}


class RemembersFarAway(RemembersTheFirst):
    """The same, small beside an offset."""

    def forward(self, x):
        return super().forward(x).double() - 1e6


class Counts(Planted):
    """The energy, and from the fortieth call on less: when the attack runs."""

    calls = 0

    def forward(self, x):
        self.calls += 1
        return self.energy(x) - 5.0 * (self.calls > 40)


class LooksAtTheSize(Planted):
    """Batches that are not full, the last of a population, are scaled."""

    def forward(self, x):
        return self.energy(x) * (len(x) / 64 if 8 < len(x) < 64 else 1.0)


@pytest.mark.parametrize("limit", [40, 100])
def test_a_last_batch_that_is_not_full_is_checked_too(limit, digits_net):
    with pytest.raises(EvaluationError, match=f"^LooksAtTheSize: {SAID}"):
        clean(LooksAtTheSize(digits_net, None), limit)
    clean(Planted(digits_net, HONEST["energy"]), limit)


def test_a_score_that_changes_from_some_call_on_is_marked(digits_net):
    result = roodbench.evaluate(Counts(digits_net, None), small(20), steps=20, check=False)
    assert "randomness" in [i.name for i in result.indicators if i.passed is False]


class Hooked(torch.nn.Module):
    """Honest: a hook hands it the features. The hook of a copy hands them to the original."""

    def __init__(self, net):
        super().__init__()
        self.net = copy.deepcopy(net)

        def hand(head, given, logits):
            self.features = given[0]

        self.net.head.register_forward_hook(hand)

    def forward(self, x):
        return self.net(x).logsumexp(1) + 0.1 * self.features.norm(dim=1)


def test_a_hook_that_knows_the_original_alone_is_no_memory(digits_net, digits):
    detector = Hooked(digits_net)
    detector(digits.id_test.shard(0, 1))  # now a copy finds features, old ones
    assert [i.name for i in clean(detector).indicators if i.passed is False] == []


@pytest.mark.parametrize("planted", [Remembers, RemembersOthers, RemembersTheFirst, RemembersFarAway, CountsThreads])
def test_a_score_that_is_another_one_in_other_calls_is_marked(planted, digits_net):
    result = clean(planted(digits_net, None))
    assert "randomness" in [i.name for i in result.indicators if i.passed is False]
    assert {row.reliable for row in result.rows} == {False}


class TurnsInCompany(detectors.EBO):
    """Its score is the energy; of its gradients, the mean over the batch is taken off."""

    name = "turns"

    def value_and_grad(self, x, **settings):
        value, grad = super().value_and_grad(x, **settings)
        return value, grad - grad.mean(0)


def test_a_gradient_that_looks_at_its_batch_is_refused(digits_net):
    said = r"turns: the gradient of exact on digits, index \d+ \(digit \d+\) turns when the other images of its batch"
    with pytest.raises(EvaluationError, match=said):
        roodbench.evaluate(TurnsInCompany(digits_net), small(40), check=False)
    clean(TurnsInCompany(digits_net))  # no attack, no gradient


def test_undeclared_noise_that_turns_gradients_is_no_batch(digits_net):
    """One of two sizes, drawn from no generator: the same one may be drawn twice in a row."""

    def resized(energy, x):
        small = torch.nn.functional.interpolate(x, size=int(torch.randint(5, 7, ())), mode="bilinear")
        return energy(torch.nn.functional.interpolate(small, size=8, mode="bilinear"))

    bench = small(8)
    for seed in range(8):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            check_gradients(evaluator(Plain(Planted(digits_net, resized)), bench), plan_of(bench))


def test_a_refusal_holds_on_a_rerun(digits_net, tmp_path):
    for _ in range(2):
        with pytest.raises(EvaluationError, match=SAID):
            roodbench.evaluate(
                Planted(digits_net, BATCH_EFFECTS["mean"]), small(20), attack="none", store=Store(tmp_path)
            )
