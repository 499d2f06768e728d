"""What decides a number, and nothing else, is in the hashes under which results are kept."""

import copy
import shutil

import numpy as np
import pytest
import torch

import detectors
import roodbench
from detectors import Detector
from roodbench.machine.memory import halve
from roodbench.setup.config import RunConfig
from roodbench.store import identity
from roodbench.store.identity import make_of
from roodbench.store.listed import is_listed


class Cropping(Detector):
    """Its attribute `batch` is part of what it computes, and it is nobody's bound on memory."""

    name = "cropping"

    def __init__(self, net, batch=4):
        super().__init__()
        self.net, self.batch, self.chunk, self.seed = net, batch, 1.0, 3

    def forward(self, x, *, generator=None):
        return self.net(x[..., :8, :8]).logsumexp(1) + self.batch


class Declared(Cropping):
    incidental = frozenset({"batch"})


def test_memory_is_saved_where_a_class_says_so_and_nowhere_else(digits_net):
    assert halve(Cropping(digits_net)) is None
    detector = Declared(digits_net)
    assert halve(detector) == 2
    assert detector.batch == 2
    ross = detectors.create("ross", digits_net, chunk=64)
    assert halve(ross) == 32
    assert (ross.chunk, ross.seed) == (32, 0)


def test_identity_leaves_out_what_is_declared_and_nothing_else(digits_net):
    def state(detector):
        return identity.identity(detector)["state"]

    for name in ("batch", "chunk", "seed"):
        plain, other = Cropping(digits_net), Cropping(digits_net)
        setattr(other, name, 7)
        assert state(plain) != state(other)
    plain, other = Declared(digits_net), Declared(digits_net, batch=9)
    assert state(plain) == state(other)
    a, b, c = (detectors.create("ross", digits_net, **s) for s in ({}, {"chunk": 9}, {"seed": 1}))
    assert state(a) == state(b) != state(c)


class Remembering(Cropping):
    """Plain tensors, arrays and containers of them, which `state_dict` does not know."""

    def __init__(self, net, value):
        super().__init__(net)
        self.kept = value


@pytest.mark.parametrize(
    ("value", "other"),
    [
        (torch.zeros(3), torch.ones(3)),
        (np.zeros(2000), np.eye(1, 2000)[0]),
        ([torch.zeros(2000)], [torch.eye(1, 2000)[0]]),
        ({"a": {"b": torch.zeros(1)}}, {"a": {"b": torch.ones(1)}}),
        ({1, 2}, {1, 3}),
        (np.float32(1), np.float32(2)),
        (torch.relu, torch.cos),
    ],
)
def test_identity_knows_what_a_detector_keeps(value, other, digits_net):
    a, b, c = (identity.identity(Remembering(digits_net, v))["state"] for v in (value, copy.deepcopy(value), other))
    assert a == b != c


def test_identity_knows_the_file_of_a_function_that_a_detector_keeps(digits_net, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "factory_of_a_test.py"
    file.write_text("def made(detector):\n    detector.forward = lambda x: -x.mean((1, 2, 3))\n    return detector\n")
    import factory_of_a_test

    def sources():
        return identity.source_hash(factory_of_a_test.made(Cropping(digits_net)))

    before = sources()
    file.write_text(file.read_text().replace("-x", "+x"))
    assert sources() != before


@pytest.mark.parametrize(
    ("file", "same"),
    [
        ("roodbench/cli/main.py", True),
        ("roodbench/record/table.py", True),
        ("roodbench/setup/config.py", True),
        ("attacks/pgd.py", False),
        ("detectors/logits.py", False),
        ("roodbench/evaluation/probe.py", False),
        ("roodbench/metrics/auroc.py", False),
    ],
)
def test_only_code_that_decides_a_score_is_hashed(file, same, tmp_path, monkeypatch):
    for package in identity.PACKAGES:
        shutil.copytree(identity.ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(identity, "ROOT", tmp_path)
    identity.code_version.cache_clear()
    before, everything = identity.code_version(), identity.code_version(*identity.PACKAGES)
    with (tmp_path / file).open("a") as f:
        f.write("# a comment\n")
    identity.code_version.cache_clear()
    try:
        assert (identity.code_version() == before) == same
        assert identity.code_version(*identity.PACKAGES) != everything
    finally:
        identity.code_version.cache_clear()


class Bent(torch.nn.Module):
    """The same weights, and another function of them."""

    def __init__(self, act):
        super().__init__()
        torch.manual_seed(0)
        self.act, self.layer, self.head = act, torch.nn.Linear(64, 32), torch.nn.Linear(32, 6)

    def features(self, x):
        return self.act(self.layer(x.flatten(1)))


def test_kept_features_are_those_of_the_network_and_not_of_its_weights_alone():
    found = []
    for act in (torch.relu, torch.cos):
        net = roodbench.Classifier(Bent(act), [0.5], [0.5], name="mine")
        found.append(roodbench.load_benchmark("digits").id_val.outputs(net).features)
        assert torch.equal(found[-1], net.outputs(roodbench.load_benchmark("digits").id_val.shard(0, 150)).features)
    assert not torch.equal(*found)


def test_nobody_can_write_into_a_set_of_images():
    images = roodbench.load_benchmark("digits", limit=4).id_test
    before = images.shard(0, 4)
    images.shard(0, 4).sub_(1.0)
    for _, x in images.shards():
        x.zero_()
    assert torch.equal(images.shard(0, 4), before)


def test_radii_that_share_a_name_are_refused():
    for eps in ((0.1, 0.1000001), (8 / 255, 8 / 255)):
        with pytest.raises(ValueError, match="expected radii that differ in six digits"):
            RunConfig(detector=("gen",), eps=eps)


@pytest.mark.parametrize(
    ("one", "other"),
    [(torch.float16, torch.float32), (b"a", b"b"), (1j, 2j), (torch.device("cpu"), torch.device("meta")), (1, True)],
)
def test_plain_attributes_are_told_apart(one, other):
    a, b = torch.nn.ReLU(), torch.nn.ReLU()
    a.setting, b.setting = one, other
    assert is_listed(a)
    assert make_of(a) != make_of(b)
