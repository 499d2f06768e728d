"""The two-logit view, and other libraries' attacks through it."""

import importlib.util

import pytest
import torch
from torch.nn import functional as F

from attacks import AttackPlan, Strength, ThreatModel, TwoLogits, check_method, suite
from attacks.external import attack_class, external
from tests.attacks.analytic import Linear, Noisy, generator, linear_optimum, streams


@pytest.fixture
def x():
    return torch.rand(5, 3, 8, 8, generator=generator(1))


@pytest.fixture
def w():
    return torch.randn(3, 8, 8, generator=generator(2))


def test_logits_and_gradient_by_hand(x, w):
    view = TwoLogits(Linear(w), 0.5, 2.0)
    z = x.clone().requires_grad_()
    logits = view(z)
    s = (x * w).flatten(1).sum(1)
    torch.testing.assert_close(logits, torch.stack([2 * (s - 0.5), 2 * (0.5 - s)], 1))
    loss = F.cross_entropy(logits, torch.zeros(5, dtype=torch.long), reduction="sum")
    (grad,) = torch.autograd.grad(loss, z)
    slope = -4 * torch.sigmoid(-4 * (s - 0.5))  # of log(1 + exp(-4 (s - t)))
    torch.testing.assert_close(grad, slope.view(-1, 1, 1, 1) * w.expand_as(x))
    assert view.spent == [5, 5]


def test_the_gradient_is_the_detectors_own(x, w):
    class Own(Linear):
        def value_and_grad(self, x, **settings):
            return self(x), torch.full_like(x, 7.0)

    z = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad(TwoLogits(Own(w), 0.0)(z)[:, 0].sum(), z)
    assert (grad == 7).all()


def test_randomised_detectors_need_a_generator(x, w):
    with pytest.raises(ValueError, match="generator"):
        TwoLogits(Noisy(w, 1.0), 0.0)
    view = TwoLogits(Noisy(w, 1.0), 0.0, draws=3, generator=generator())
    assert not torch.equal(view(x), view(x))
    assert view.spent == [10, 0]


def test_a_view_of_clean_images_in_one_line(x, w):
    """19 of 20 ID images are above the threshold, and no score is further than 5 from it in logits."""
    images = torch.rand(20, 3, 8, 8, generator=generator(3))
    for detector, settings in ((Linear(w), {}), (Noisy(w, 1e-4), {"generator": generator(), "draws": 3})):
        view = TwoLogits.of(detector, images, x + 9, **settings)
        logits = view(torch.cat([images, x + 9]))
        assert (logits[:20, 0] > -1e-3 * view.scale).sum() in (19, 20)
        assert logits[:20, 0].min() < 0
        assert logits.abs().max() == pytest.approx(5.0, rel=1e-3)
        alone = TwoLogits.of(detector, images, **settings)
        low, high = torch.quantile(detector(images, generator=generator()), torch.tensor([0.25, 0.75]))
        assert alone.scale == pytest.approx(1 / float(high - low), rel=0.01)


PEERS = [
    ("torchattacks:PGD", "linf"),
    ("torchattacks:PGDL2", "l2"),
    ("torchattacks:APGD", "linf"),
    ("torchattacks:EOTPGD", "linf"),
    ("torchattacks:Square", "linf"),
    ("foolbox:LinfPGD", "linf"),
    ("foolbox:L2PGD", "l2"),
    ("autoattack:APGD", "linf"),
    ("autoattack:Square", "linf"),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("method", "norm"), PEERS)
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_peer_attacks_a_linear_score(x, w, method, norm, sign):
    """Gradient attacks come near the closed form, in the ball, also past the threshold."""
    library = method.partition(":")[0].replace("autoattack", "pyautoattack")
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    threat = ThreatModel(0.1 if norm == "linf" else 1.0, norm)
    clean = Linear(w)(x)
    threshold = float(clean.min() - 1) if sign < 0 else float(clean.max() + 1)
    view = TwoLogits(Linear(w), threshold, 0.1)
    found = external(view, x, threat, sign=sign, method=method, steps=60, seed=0)
    best = sign * linear_optimum(x, sign * w, threat.eps, norm, 0.0, 1.0).float()
    assert view.threshold == torch.tensor(threshold)
    gain = (Linear(w)(found) - clean) / (best - clean)
    assert gain.min() > (0.1 if "Square" in method else 0.9)
    assert threat.violation(found, x) <= 1e-6
    assert sum(view.spent) > 60


@pytest.mark.filterwarnings("ignore")
def test_the_suite_runs_a_peer_and_keeps_clean_where_it_does_not_help(x, w):
    pytest.importorskip("torchattacks")
    plan = AttackPlan(ThreatModel(0.1), "torchattacks:PGD", strength=Strength(5, 1, 1))
    found = suite(Linear(w), x, plan, "min", streams=streams)
    assert found.components == ("clean", "torchattacks:PGD")
    assert (found.scores < Linear(w)(x)).all()
    assert found.passes[1] == 5


def test_a_missing_library_or_attack_says_so(x, w, monkeypatch):
    view = TwoLogits(Linear(w), 0.0)
    monkeypatch.setattr("attacks.external.LIBRARIES", {"torchattacks": "no_such_package", "foolbox": "json"})
    with pytest.raises(ValueError, match=r"pip install 'roodbench\[torchattacks\]'"):
        external(view, x, ThreatModel(0.1), sign=1, method="torchattacks:PGD", steps=2, seed=0)
    monkeypatch.setattr("attacks.external.LIBRARIES", {"torchattacks": "json"})
    with pytest.raises(ValueError, match="unknown attack 'torchattacks:Nonsense'"):
        external(view, x, ThreatModel(0.1), sign=1, method="torchattacks:Nonsense", steps=2, seed=0)


def test_a_module_of_scores_must_be_wrapped(w):
    with pytest.raises(ValueError, match=r"Linear is no Detector: .* detectors.Plain"):
        TwoLogits(torch.nn.Linear(2, 1), 0.0)


DECISION = "looks for a change of decision, not of a score in a ball: try PGD, APGD or Square"
WHOLE = (
    "is all of AutoAttack, which leaves an image alone once it crosses the threshold: take a part, autoattack:APGD or"
)
REFUSED = {
    "torchattacks:FAB": DECISION,
    "torchattacks:CW": DECISION,
    "torchattacks:DeepFool": DECISION,
    "torchattacks:AutoAttack": DECISION,
    "torchattacks:TPGD": DECISION,
    "foolbox:L2CarliniWagnerAttack": DECISION,
    "foolbox:LinfDeepFoolAttack": DECISION,
    "foolbox:GenAttack": DECISION,
    "foolbox:LinfRepeatedAdditiveUniformNoiseAttack": DECISION,
    "foolbox:L1PGD": "is an l1 attack and the norm is linf: choose another",
    "foolbox:L2PGD": "is an l2 attack and the norm is linf: choose another, or --norm l2",
    "autoattack:standard": WHOLE,
    "autoattack:AutoAttack": WHOLE,
    "autoattack:rand": WHOLE,
}
UNKNOWN = {
    "torchattacks:apgd": "torchattacks has no apgd, did you mean 'APGD'? for linf it has APGD, BIM",
    "torchattacks:": "torchattacks has no attack without a name; for linf it has APGD, BIM",
    "torchattacks:deepfol": "torchattacks has no deepfol, did you mean 'DeepFool'? for linf it has",
    "foolbox:": "foolbox has no attack without a name; for linf it has AdamPGD, FGSM",
    "foolbox:linfpgd": "foolbox has no linfpgd, did you mean 'LinfPGD'?",
    "autoattack:": "autoattack has no attack without a name; for linf it has APGD, Square",
    "autoattack:apgd-ce": "autoattack has no apgd-ce, did you mean 'APGD'? for linf it has APGD, Square",
    "autoattack:square": "autoattack has no square, did you mean 'Square'?",
    "autoattack:fab": "autoattack has no fab; for linf it has APGD, Square",
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", [*REFUSED, *UNKNOWN])
def test_a_peer_that_is_refused_or_does_not_exist_says_why_and_what_there_is(method):
    library = method.partition(":")[0]
    pytest.importorskip({"autoattack": "pyautoattack"}.get(library, library))
    with pytest.raises(ValueError, match=rf"^(unknown attack )?'?{method}") as found:
        attack_class(method, ThreatModel(0.1))
    assert (REFUSED | UNKNOWN)[method] in str(found.value)


@pytest.mark.filterwarnings("ignore")
def test_the_names_that_are_listed_are_taken_and_fit_the_norm():
    pytest.importorskip("torchattacks")
    with pytest.raises(ValueError, match=r"for l2 it has APGD, PGDL2, PGDRSL2, Square$"):
        attack_class("torchattacks:", ThreatModel(0.1, "l2"))
    for name in ("APGD", "PGDL2", "PGDRSL2", "Square"):
        assert attack_class(f"torchattacks:{name}", ThreatModel(0.1, "l2")).__name__ == name
    with pytest.raises(ValueError, match="PGD is an linf attack and the norm is l2: choose another, or --norm linf"):
        attack_class("torchattacks:PGD", ThreatModel(0.1, "l2"))


@pytest.mark.parametrize(
    ("method", "near"),
    [
        ("torchattack:PGD", "torchattacks:PGD"),
        ("Foolbox:LinfPGD", "foolbox:LinfPGD"),
        ("autoatack:standard", "autoattack:standard"),
        ("torchattacks", "torchattacks:NAME"),
        ("PGD", "pgd"),
    ],
)
def test_a_library_that_nobody_knows_gets_its_nearest(method, near):
    with pytest.raises(ValueError, match=f"unknown method '{method}': did you mean '{near}'\\? expected one of suite"):
        check_method(method)


def test_a_surrogate_gives_the_gradient_and_the_score_the_value():
    class Surrogate(Linear):
        objectives = ("exact", "negative")

        def value_and_grad(self, x, *, objective="exact", draws=None, generator=None):
            value, grad = super().value_and_grad(x)
            return (value, grad) if objective == "exact" else (99 - value, -grad)

    w, x = torch.ones(1, 2, 2), torch.rand(3, 1, 2, 2).requires_grad_()
    view = TwoLogits(Surrogate(w), 0.0, objective="negative")
    logits = view(x)
    torch.testing.assert_close(logits[:, 0], Linear(w)(x))
    (grad,) = torch.autograd.grad(logits[:, 0].sum(), x)
    torch.testing.assert_close(grad, -w.expand_as(x))
    assert view.spent == [6, 3]
