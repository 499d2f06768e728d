"""A detector that was fitted on other weights than its network has now is noticed."""

import copy
import re

import pytest
import torch
from torch import nn

import detectors
import roodbench
from roodbench.data import ImageSet
from roodbench.machine.prepare import prepare
from tests.roodbench.helpers import small

PARAMS = {"knn": {"neighbours": 3}}
STALE = r"{} was fitted on other weights of network {}: {} tensors have changed since, {} first; call fit\(train, val\)"


class Nearest(detectors.Detector):
    """A user's own, which keeps what it estimates as it likes."""

    name = "nearest"

    def __init__(self, net):
        super().__init__()
        self.net = net

    def fit(self, train, val):
        self.mean = detectors.collect(self.net, train).features.mean(0)
        return self

    def forward(self, x, *, generator=None):
        return -(self.net.outputs(x).features - self.mean).norm(dim=1)


@pytest.fixture
def net(digits_net):
    return copy.deepcopy(digits_net)


@pytest.fixture(scope="module")
def bench():
    return small(8)


def fitted(name, net, bench, **settings):
    detector = Nearest(net) if name == "nearest" else detectors.create(name, net, **settings)
    return detector.fit(bench.id_train, bench.id_val)


def trained(net):
    """One step of SGD."""
    net.requires_grad_(True)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    net(torch.rand(4, 1, 8, 8)).logsumexp(1).sum().backward()
    optimizer.step()


def loaded(net):
    net.load_state_dict({k: v + 1e-3 if v.is_floating_point() else v for k, v in net.state_dict().items()})


def behind_autograd(net):
    next(net.parameters()).data.mul_(1.001)


@pytest.mark.parametrize("change", [trained, loaded, behind_autograd])
@pytest.mark.parametrize("name", ["knn", "msp-t", "ross", "nearest"])
def test_a_network_that_changed_after_fit_is_one_line_until_it_is_fitted_again(name, change, net, bench):
    detector = fitted(name, net, bench)
    roodbench.evaluate(detector, bench, attack="none")
    change(net)
    with pytest.raises(
        ValueError, match=STALE.format(re.escape(detector.label), "digits-cnn", r"\d+ of \d+", r"[\w.]+")
    ):
        roodbench.evaluate(detector, bench, attack="none")
    roodbench.evaluate(detector.fit(bench.id_train, bench.id_val), bench, attack="none")


@pytest.mark.parametrize(("name", "settings"), [("msp", {}), ("msp-t", {"temperature": 2.0}), ("pro", {"base": "msp"})])
def test_what_estimates_nothing_follows_its_network(name, settings, net, bench):
    detector = fitted(name, net, bench, **settings)
    trained(net)
    roodbench.evaluate(detector, bench, attack="none")


def test_the_same_weights_are_the_same_wherever_they_lie(net, bench):
    knn, before = fitted("knn", net, bench), copy.deepcopy(net.state_dict())
    trained(net)
    net.load_state_dict(before)
    roodbench.evaluate(knn, bench, attack="none")
    copied = copy.deepcopy(knn)
    roodbench.evaluate(copied, bench, attack="none")
    trained(copied.net)
    roodbench.evaluate(knn, bench, attack="none")
    with pytest.raises(ValueError, match=r"^knn was fitted on other weights"):
        roodbench.evaluate(copied, bench, attack="none")
    copied.load_state_dict(knn.state_dict())
    roodbench.evaluate(copied, bench, attack="none")
    knn.net = copied.net.double()
    detectors.noted.check_weights(knn)


def test_a_prepared_copy_is_its_own_but_for_the_head(net, bench):
    knn = fitted("knn", prepare(net, bench.id_val.shard(0, 8), compile="off"), bench)
    next(net.backbone.parameters()).data.mul_(1.5)
    roodbench.evaluate(knn, bench, attack="none")
    net.head.weight.data.mul_(1.5)
    with pytest.raises(ValueError, match=STALE.format("knn", "digits-cnn", r"1 of \d+", "backbone.head.weight")):
        roodbench.evaluate(knn, bench, attack="none")


def test_a_plain_network_and_a_wrapper_name_the_part_that_is_stale(bench):
    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.BatchNorm1d(12), nn.Linear(12, 6)).eval()
    knn, pro = (fitted(name, plain, bench, **s) for name, s in {"knn": {}, "pro": {"base": "knn"}}.items())
    plain.train()(torch.rand(8, 1, 8, 8))  # moves the statistics of the batch norm alone
    for detector in (knn, pro):
        with pytest.raises(ValueError, match=STALE.format("knn", "Sequential", r"2 of \d+", "net.3.running_mean")):
            roodbench.evaluate(detector, bench, attack="none")


def test_what_was_noted_is_no_part_of_what_a_detector_is(net, bench):
    """Kept results are found again whoever fitted it."""
    knn = fitted("knn", net, bench)
    found = roodbench.store.identity.identity(knn)
    del knn.weights_at_fit
    assert roodbench.store.identity.identity(knn) == found


def batches(images):
    """A set as a reader of its own would give it: tensors."""
    x = torch.cat([x for _, x in images.shards()])
    return [(x[i : i + 5], images.labels[i : i + 5]) for i in range(0, len(x), 5)]


def copied(images, split):
    return ImageSet("mine", split, images.labels, lambda: images.array)


LEAKS = {
    "test images beside others": ("knn", lambda b: (batches(b.id_train) + batches(b.id_test)[:1], []), "5 of the 8"),
    "as validation": ("ross", lambda b: (b.id_train, batches(b.id_test)), "8 of the 8"),
    "as a set": ("knn", lambda b: (copied(b.id_test, "ID train"), b.id_val), "8 of the 8"),
    "to a user's own": ("nearest", lambda b: (batches(b.id_test), []), "8 of the 8"),
}


@pytest.mark.parametrize("kind", LEAKS)
def test_a_detector_that_was_fitted_on_test_images_is_one_line(kind, net, bench):
    name, given, count = LEAKS[kind]
    detector = Nearest(net) if name == "nearest" else detectors.create(name, net, **PARAMS.get(name, {}))
    detector.fit(*given(bench))
    label = re.escape(detector.label)
    with pytest.raises(
        ValueError, match=rf"^{label} was fitted on {count} images of digits \(ID test\), the first digi"
    ):
        roodbench.evaluate(detector, bench, attack="none")


def test_an_ood_image_among_those_given_is_noticed_too(net, bench):
    given = [
        *batches(bench.id_train),
        *[(x[:1], torch.zeros(1, dtype=torch.long)) for _, x in bench.ood["unseen-digits"].shards()],
    ]
    knn = detectors.create("knn", net).fit(given, [])
    with pytest.raises(
        ValueError, match=r"^knn was fitted on 1 of the 8 images of unseen-digits \(OOD test\), the firs"
    ):
        roodbench.evaluate(knn, bench, attack="none")


def test_training_images_as_tensors_and_unread_test_images_pass(net, bench):
    given = batches(bench.id_train)
    roodbench.evaluate(detectors.create("knn", net).fit(given, batches(bench.id_test)), bench, attack="none")
    roodbench.evaluate(detectors.create("ross", net).fit(given, batches(bench.id_val)), bench, attack="none")
    roodbench.evaluate(detectors.create("msp", net).fit(batches(bench.id_test), []), bench, attack="none")


OUTSIDE = "{} was fitted on images from {}, digits has pixels in [0, 1]: fit on such, and normalise in the network"


@pytest.mark.parametrize(
    ("change", "said"), [(lambda x: 2 * x - 1, "-1 to 1"), (lambda x: 255 * x, "0 to 255"), (lambda x: 1.1 * x, "")]
)
@pytest.mark.parametrize("name", ["knn", "vim", "nearest", "pro"])
def test_a_fit_on_images_of_another_range_is_noticed(name, change, said, net):
    bench = small(4)
    train, val = ([(change(x), y) for x, y in images] for images in (bench.id_train, bench.id_val))
    base = {"base": "knn"} if name == "pro" else {}
    made = Nearest(net) if name == "nearest" else detectors.create(name, net, **base, **PARAMS.get(name, {}))
    detector = made.fit(train, iter(val))
    label = "knn" if name == "pro" else name
    if said:
        with pytest.raises(ValueError, match=f"^{re.escape(OUTSIDE.format(label, said))}$"):
            roodbench.evaluate(detector, bench, attack="none")
    detector.fit(bench.id_train, bench.id_val)
    roodbench.evaluate(detector, bench, attack="none")
