"""Detectors by name: mistakes get the nearest name, parameters have the papers' symbols, and the face is complete."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import detectors
from detectors import BASES, WRAPPERS

ROOT = Path(detectors.__file__).parents[1]


def test_unknown_names_get_the_nearest():
    net = torch.nn.Identity()
    with pytest.raises(ValueError, match="did you mean 'ross'"):
        detectors.create("rosss", net)
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


@pytest.mark.parametrize("cls", [*BASES.values(), *WRAPPERS.values()], ids=lambda cls: cls.name)
def test_references_name_authors_year_title_and_where_it_was_published(cls):
    if cls is detectors.ROSSQ:
        assert cls.reference == "RoodBench, docs/certification.md"
        return
    where = "CVPR 2023" if cls is detectors.GEN else r"arXiv:\d{4}\.\d{5}"
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
