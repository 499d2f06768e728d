"""Detectors by name: mistakes get the nearest name, parameters have the papers' symbols, and the face is complete."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import detectors
from detectors import KNOWN

ROOT = Path(detectors.__file__).parents[1]


def test_unknown_names_get_the_nearest():
    net = torch.nn.Identity()
    with pytest.raises(ValueError, match="did you mean 'ross'"):
        detectors.create("rosss", net)
    with pytest.raises(ValueError, match="did you mean 'ross-q'"):
        detectors.create("ROSS_Q", net)
    with pytest.raises(ValueError, match="did you mean 'gamma'"):
        detectors.create("gen", net, gama=1)
    with pytest.raises(ValueError, match="unknown base score 'ross'"):
        detectors.create("pro", net, base="ross")


def test_papers_symbols_are_understood():
    ross = detectors.create("ross", torch.nn.Identity(), base="gen", **{"lambda": 0.05, "N": 7, "M": 3})
    assert (ross.gain, ross.copies, ross.base.top) == (0.05, 7, 3)


def test_a_parameter_of_the_wrong_type_or_given_twice_is_an_error():
    net = torch.nn.Identity()
    with pytest.raises(ValueError, match=r"copies 2\.5 of ross: expected int"):
        detectors.create("ross", net, copies=2.5)
    with pytest.raises(ValueError, match="parameter copies of ross is given twice"):
        detectors.create("ross", net, copies=3, N=4)


@pytest.mark.parametrize("cls", KNOWN.values(), ids=lambda cls: cls.name)
def test_references_name_authors_year_title_and_where_it_was_published(cls):
    if cls is detectors.ROSSQ:
        assert cls.reference == "RoodBench, docs/certification.md"
        return
    where = {"gen": "CVPR 2023", "she": "ICLR 2023"}.get(cls.name, r"arXiv:\d{4}\.\d{5}")
    assert re.fullmatch(rf"[A-Z][^\d]+ 20\d\d, [A-Z].{{20,}}, {where}", cls.reference)


def test_importing_the_detectors_imports_no_third_package():
    code = """
import sys
import torch
before = set(sys.modules)
import detectors
new = {name.partition('.')[0] for name in set(sys.modules) - before}
print(sorted(new - set(sys.stdlib_module_names)))
"""
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "['detectors']"


class Margin(detectors.Score):
    """A user's score; its arguments say no types."""

    name = "margin"

    def __init__(self, net, *, temperature=1.0, gain=2.0):
        super().__init__(net)
        self.temperature, self.gain = temperature, gain

    def score(self, z, h):
        top = z.topk(2, dim=1).values
        return (top[:, 0] - top[:, 1]) / self.temperature


@pytest.mark.parametrize("name", detectors.WRAPPERS)
def test_a_score_of_ones_own_is_wrapped_by_its_class(name, smooth, smooth_images):
    by_class = detectors.create(name, smooth, base=Margin, temperature=3.0)
    assert by_class.label == f"{name}(margin)"
    assert by_class.base.temperature == 3.0
    split = [(smooth_images, torch.zeros(6).long())]
    by_hand = detectors.WRAPPERS[name](Margin(smooth, temperature=3.0)).fit(split, split)
    noise = [{"generator": torch.Generator().manual_seed(0)} for _ in range(2)]
    for ours, theirs in zip(
        by_class.fit(split, split).value_and_grad(smooth_images, **noise[0]),
        by_hand.value_and_grad(smooth_images, **noise[1]),
        strict=True,
    ):
        assert torch.equal(ours, theirs)


def test_a_parameter_that_both_have_is_the_detectors(smooth):
    ross = detectors.create("ross", smooth, base=Margin, gain=0.5, **{"base.gain": 7.0})
    assert (ross.gain, ross.base.gain) == (0.5, 7.0)
    with pytest.raises(ValueError, match="unknown parameter of pro 'temprature': did you mean 'temperature'"):
        detectors.create("pro", smooth, base=Margin, temprature=1)


@pytest.mark.parametrize(
    ("base", "message"),
    [
        (torch.nn.Linear, "base is the class Linear: expected one of a detector, such as a Score of your own"),
        (3, "unknown base score 3: expected one of msp"),
        (None, "unknown base score None: expected one of msp"),
    ],
)
def test_a_base_that_is_no_score(base, message, smooth):
    with pytest.raises(ValueError, match=message):
        detectors.create("pro", smooth, base=base)


def test_what_every_network_is_scored_by_and_what_is_known():
    assert set(detectors.KNOWN) - set(detectors.DETECTORS) == set(detectors.SPECIAL) == {"g-odin"}
    assert detectors.class_of("g-odin") is detectors.base_of("g-odin") is detectors.GODIN
