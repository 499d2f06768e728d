"""Every refusal of docs/trust.md, planted: the run ends with a message that says what and where."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import attacks
import detectors
import roodbench
from detectors import Plain
from roodbench.data import ImageSet
from roodbench.data.images import SplitGuard
from roodbench.data.lists import list_source
from roodbench.data.picture import Frame, read_picture
from roodbench.engine.errors import EvaluationError
from roodbench.evaluation.checks import CHECKS
from roodbench.models import Classifier
from tests.roodbench.evaluation.plants import BATCH_EFFECTS, Planted
from tests.roodbench.helpers import small


def images(array, split="OOD test", guard=None):
    return ImageSet("made", split, np.zeros(len(array), int), lambda: array, guard=guard)


def evaluate(module):
    return roodbench.evaluate(module, small(10), attack="none")


def files(net, folder):
    Image.fromarray(np.zeros((8, 8), np.float32)).save(folder / "a.tiff")
    read_picture(folder / "a.tiff", 8)


def lists(net, folder):
    (folder / "test_photos.txt").write_text("../a.png -1\nb.png -1\n")
    _ = list_source(folder / "test_photos.txt", folder, Frame(8)).image_set("photos", "OOD test", SplitGuard()).array


def layout(net, folder):
    images(np.ones((3, 8, 8, 1), np.float32)).shard(0, 3)


def labels(net, folder):
    ImageSet("made", "ID test", [0.5, 1.0], lambda: np.ones((2, 1, 8, 8), np.float32))


def pixels(net, folder):
    images(np.full((3, 1, 8, 8), np.nan, np.float32)).shard(0, 3)


def distinct(net, folder):
    images(np.ones((3, 1, 8, 8), np.float32)).shard(0, 3)


def sets(net, folder):
    bench = small(10)
    other = images(np.random.default_rng(0).random((4, 3, 8, 8), np.float32))
    replace(bench, ood={**bench.ood, "made": other}, groups={**bench.groups, "made": "far"}).check()


def splits(net, folder):
    guard, array = SplitGuard(), np.random.default_rng(0).random((2, 1, 8, 8), np.float32)
    for split in ("ID train", "OOD test"):
        assert len(images(array, split, guard).array) == 2


def fitted_on_a_test_set(net, folder):
    detectors.create("mds", net).fit(small(10).id_test, small(10).id_val)


def limit(net, folder):
    small(1)


def channels(net, folder):
    evaluate(detectors.create("mls", Classifier(net.backbone, [0.0] * 3, [1.0] * 3, name="rgb")))


def logits(net, folder):
    class TooFewClasses(torch.nn.Module):
        head = torch.nn.Linear(64, 3)

        def features(self, x):
            return x.flatten(1)

    evaluate(detectors.create("mls", Classifier(TooFewClasses(), [0.0], [1.0], name="small")))


def weights(net, folder):
    save_file({"conv1.weight": torch.zeros(1)}, folder / "w.safetensors")
    roodbench.load_model("cifar-resnet20", checkpoint=folder / "w.safetensors")


def features(net, folder):
    bench = small()
    headless = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 6), torch.nn.ReLU())
    detectors.create("knn", headless.eval()).fit(bench.id_train, bench.id_val)


def log_softmax(net, folder):
    class Net(torch.nn.Sequential):
        pass

    evaluate(detectors.create("ebo", Net(net, torch.nn.LogSoftmax(1)).eval()))


def stale_fit(net, folder):
    detector, bench = detectors.create("msp-t", copy.deepcopy(net)), small()
    detector.fit(bench.id_train, bench.id_val).net.head.bias.data += 1
    evaluate(detector)


def seam(net, folder):
    mls = detectors.create("mls", net)
    mls.passes = 3
    evaluate(mls)


def gradients(net, folder):
    mls = detectors.create("mls", net)
    mls.value_and_grad = lambda x, *, objective="exact", draws=None, generator=None: mls(x)
    roodbench.evaluate(mls, small(10))


def shape(net, folder):
    evaluate(Planted(net, lambda energy, x: energy(x)[:, None]))


def finite(net, folder):
    evaluate(Planted(net, lambda energy, x: energy(x) / 0))


def writes(net, folder):
    evaluate(Planted(net, lambda energy, x: energy(x.mul_(2))))


def handed_in(net, folder):
    attacks.pgd(detectors.create("mls", net), 255 * torch.rand(2, 1, 8, 8), attacks.ThreatModel(0.1), sign=1)


def company(net, folder):
    evaluate(Plain(Planted(net, BATCH_EFFECTS["mean"])))


PLANTS = {
    "files": (files, ValueError, r"image '.*a.tiff' "),
    "lists": (lists, ValueError, r"txt', line 1: image '../a.png' leads out of '.*': expected a name"),
    "layout": (
        layout,
        ValueError,
        r"made: an array of float32 \(3, 8, 8, 1\): expected uint8 \(n, H, W, C\) or float32",
    ),
    "labels": (labels, ValueError, "made"),
    "pixels": (pixels, ValueError, "made: image 0 has non-finite pixels"),
    "distinct": (distinct, ValueError, "made: 3 images, 1 distinct: expected at least 2"),
    "splits": (
        splits,
        ValueError,
        r"the same image is in ID train \(made: image 0\) and in OOD test \(made: image 0\)",
    ),
    "sets": (sets, ValueError, r"made \(OOD test\) has images .* one network takes one shape"),
    "test-fit": (fitted_on_a_test_set, ValueError, r"digits is a test set \(ID test\)"),
    "limit": (limit, ValueError, "limit 1: expected at least 2 images per population, or None for all"),
    "channels": (channels, ValueError, "network rgb takes 3 channels: digits has 1"),
    "logits": (
        logits,
        ValueError,
        r"network small gives outputs of shape \(2, 3\) for 2 images: expected \(2, K\) .* begin at 0\?",
    ),
    "weights": (weights, ValueError, r"checkpoint '.*' does not fit cifar-resnet20"),
    "features": (
        features,
        ValueError,
        "network Sequential shows no features: the logits of Sequential are not those of ",
    ),
    "log-softmax": (log_softmax, ValueError, "ebo is the same for every image: network Net gives log-probabilities"),
    "seam": (seam, ValueError, r"passes is the int 3: the seam calls passes\(objective='exact', draws=None\)"),
    "stale-fit": (stale_fit, ValueError, r"msp-t was fitted on other weights of network digits-cnn: 1 of \d+ tensors"),
    "shape": (shape, EvaluationError, r"Planted gave scores of shape \(10, 1\) for 10 images: expected \(10,\)"),
    "gradients": (
        gradients,
        EvaluationError,
        r"mls: value_and_grad gave a tensor \(\d+,\) of float32: expected the pair",
    ),
    "finite": (finite, EvaluationError, r"Planted: score inf is not finite on digits, index 0 \(digit \d+\)"),
    "writes": (writes, EvaluationError, r"Planted writes into the images it is given: work on a copy: x = x.clone\(\)"),
    "company": (company, EvaluationError, r"Planted: the score of digits, index \d+ .* it must be a function of that"),
    "handed-in": (handed_in, ValueError, r"images have pixels from .*, outside \[0, 1\]"),
}
"""By name: what it does, and the exception and message with which it ends."""


def test_every_refusal_is_planted():
    page = (Path(__file__).parents[3] / "docs/trust.md").read_text(encoding="utf-8")
    rows = page.partition("| refused |")[2].partition("\n\n")[0].splitlines()[2:]
    assert list(PLANTS) == [row.split("|")[1].strip() for row in rows]
    assert not set(PLANTS) & set(CHECKS)


@pytest.mark.parametrize("name", PLANTS)
def test_it_is_refused_with_its_message(name, digits_net, tmp_path):
    plant, error, message = PLANTS[name]
    with pytest.raises(error, match=message):
        plant(digits_net, tmp_path)


@pytest.mark.parametrize("check", CHECKS.values())
def test_every_check_says_what_it_judges_and_what_it_costs(check):
    assert check.about in ("data", "network", "detector", "attack")
    assert check.cost
