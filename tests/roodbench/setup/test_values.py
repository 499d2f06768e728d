"""Settings as people write them in Python: each works, or one sentence says what it should have been."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

import detectors
import roodbench
from roodbench.certify import CertifyConfig
from roodbench.setup.config import RunConfig
from tests.roodbench.helpers import small

WORKS = [
    ({"eps": 0.1}, "eps", (0.1,)),
    ({"eps": "8/255"}, "eps", (8 / 255,)),
    ({"eps": "0,8/255, 0.25"}, "eps", (0.0, 8 / 255, 0.25)),
    ({"eps": "0.0,1.0"}, "eps", (0.0, 1.0)),
    ({"eps": ["8/255", 0.5]}, "eps", (8 / 255, 0.5)),
    ({"eps": np.array([0.25, 0.5])}, "eps", (0.25, 0.5)),
    ({"eps": torch.tensor(0.25)}, "eps", (0.25,)),
    ({"eps": Fraction(1, 4)}, "eps", (0.25,)),
    ({"eps": 0}, "eps", (0.0,)),
    ({"detector": "ross"}, "detector", ("ross",)),
    ({"detector": "ross, pro"}, "detector", ("ross", "pro")),
    ({"detector": ["ross", "pro"]}, "detector", ("ross", "pro")),
    ({"ood": "photos"}, "ood", ("photos",)),
    ({"ood": ["photos", "noise"]}, "ood", ("photos", "noise")),
    ({"steps": np.int64(4)}, "steps", 4),
    ({"memory": "4GiB"}, "memory", 4 * 2**30),
    ({"memory": "1.5G"}, "memory", 3 * 2**29),
    ({"memory": "500MB"}, "memory", 5 * 10**8),
    ({"memory": 2**30}, "memory", 2**30),
    ({"quantize": np.True_}, "quantize", True),
    ({"data_root": Path("/data"), "benchmark": "cifar10"}, "data_root", "/data"),
    ({"params": {"sigma": np.float32(0.25)}}, "params", {"sigma": 0.25}),
]


@pytest.mark.parametrize(("given", "name", "value"), WORKS)
def test_settings_are_taken_as_they_are_written(given, name, value):
    found = getattr(RunConfig(**given), name)
    assert found == value
    assert type(found) is type(value)


SENTENCES = [
    ({"eps": "0,03"}, "epsilon '0,03': a comma separates radii; did you mean 0.03?"),
    ({"eps": "0,5"}, "did you mean 0.5? For two of them write 0.0,5.0"),
    ({"eps": "0.1,1,05"}, "did you mean 1.05?"),
    ({"eps": "8/255,0.0313725"}, "expected radii that differ in six digits"),
    ({"eps": "1_0/255"}, "epsilon '1_0/255': expected a number such as 8/255 or 0.03"),
    ({"eps": "٣/255"}, "expected a number such as 8/255 or 0.03"),
    ({"eps": True}, "epsilon True: expected a number"),
    ({"eps": float("nan")}, "epsilon nan: expected a number of at least 0"),
    ({"eps": float("inf")}, "epsilon inf: expected a number of at least 0"),
    ({"eps": -0.1}, "epsilon -0.1: expected a number of at least 0"),
    ({"eps": ()}, "epsilon (): expected a number such as 8/255 or 0.03, or several"),
    ({"eps": {"a": 1}}, "epsilon {'a': 1}: expected a number"),
    ({"steps": "4"}, "steps '4': expected a whole number"),
    ({"memory": "4 GiB"}, "memory '4 GiB': expected a number and its unit, such as 4GiB or 500MB"),
    ({"memory": 0.5}, "memory 0.5: expected a whole number"),
    ({"steps": 2.5}, "steps 2.5: expected a whole number"),
    ({"steps": True}, "steps True: expected a whole number"),
    ({"restarts": 0}, "restarts 0: expected at least 1"),
    ({"budget": 0}, "budget 0: expected at least 1 network pass per image"),
    ({"budget": "many"}, "budget 'many': expected a whole number"),
    ({"budget": 500, "restarts": 2}, "budget 500 chooses the restarts: leave out --restarts 2, or --budget 500"),
    ({"budget": 500, "method": "foolbox:PGD"}, "method foolbox:PGD takes no budget: leave out --budget 500"),
    ({"limit": None}, "limit None: expected a whole number"),
    ({"seed": -1}, "seed -1: expected a whole number of at least 0"),
    ({"seed": 2**63}, "seed 9223372036854775808: expected a whole number of at least 0"),
    ({"params": None}, "params None: expected names with values, as {'sigma': 0.05}"),
    ({"params": [("sigma", 1)]}, "expected names with values"),
    ({"detector": ()}, "detector (): expected NAME[,NAME]"),
    ({"detector": "ross,ross"}, "detector 'ross' is named 2 times: expected each once"),
    ({"detector": 3}, "detector 3: expected NAME[,NAME]"),
    ({"ood": ["noise", "noise"]}, "OOD set 'noise' is named 2 times"),
    ({"attack": None}, "attack None: expected text"),
    ({"model": ""}, "model '': expected text"),
    ({"quantize": "no"}, "quantize 'no': expected True or False"),
    ({"search": True, "detector": "msp"}, "search: msp has no published grid, leave out --search"),
]


@pytest.mark.parametrize(("given", "sentence"), SENTENCES)
def test_other_settings_get_one_sentence(given, sentence):
    with pytest.raises(ValueError) as caught:
        RunConfig(**given)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_protocol_may_search_where_there_is_no_grid():
    assert RunConfig(detector="msp", protocol="pro-2025").search is True


CERTIFYING = [
    ({"radius": 0.5}, (0.5,)),
    ({"radius": "0.5,2/8"}, (0.25, 0.5)),
    ({"radius": "0.25,0.25"}, "radius 0.25,0.25: expected radii that differ in six digits"),
    ({"radius": "0,25"}, "did you mean 0.25?"),
    ({"radius": ()}, "radius (): expected a number"),
    ({"sigma": 0}, "sigma 0: expected a number above 0"),
    ({"sigma": float("nan")}, "sigma nan: expected a number above 0"),
    ({"sigma": None}, "sigma None: expected a number"),
    ({"samples": 1e4}, "samples 10000.0: expected a whole number"),
    ({"samples": 10**9}, "samples 1000000000: expected at least 8 and at most 100000000"),
    ({"run": {"detector": "median"}}, "run {'detector': 'median'}: expected a RunConfig"),
]


@pytest.mark.parametrize(("given", "expected"), CERTIFYING)
def test_a_certification_takes_its_settings_as_a_run_does(given, expected):
    if isinstance(expected, tuple):
        assert CertifyConfig(**given).radius == expected
    else:
        with pytest.raises(ValueError) as caught:
            CertifyConfig(**given)
        assert expected in str(caught.value)


EVALUATING = [
    ({"eps": "0,03"}, "epsilon '0,03': expected a number such as 8/255 or 0.03"),
    ({"eps": [0.1, 0.2]}, "epsilon [0.1, 0.2]: expected a number"),
    ({"steps": 2.5}, "steps 2.5: expected a whole number"),
    ({"steps": 0}, "steps 0: expected at least 1"),
    ({"seed": -1}, "seed -1: expected a whole number of at least 0"),
    ({"check": "no"}, "check 'no': expected True or False"),
    ({"attack": "bth"}, "unknown attack 'bth': did you mean 'both'?"),
    ({"attack": "none", "thorough": True}, "attack none: there is no attack to check"),
    ({"check": False, "thorough": True}, "thorough checks without checks"),
    ({"progress": "yes"}, "progress 'yes': expected True, False or a function"),
    ({"bench": "digits"}, "benchmark 'digits': expected a Benchmark, as load_benchmark"),
    ({"detector": "ross"}, "detector 'ross': expected one fitted Detector or nn.Module"),
    ({"detector": [torch.nn.Identity()]}, "takes names, also several"),
]


@pytest.mark.parametrize(("given", "sentence"), EVALUATING)
def test_evaluate_says_what_it_expects(given, sentence):
    subjects = {"detector": torch.nn.Identity(), "bench": small(4)}
    with pytest.raises(ValueError) as caught:
        roodbench.evaluate(**{**subjects, **given})
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_evaluate_takes_text_and_shows_progress(digits_net, capsys):
    gen, bench = detectors.create("gen", digits_net), small(4)
    by_text, by_number = (
        roodbench.evaluate(gen, bench, eps=eps, steps=2, check=False, progress=shown)
        for eps, shown in (("8/255", True), (np.float64(8 / 255), False))
    )
    assert [row.auroc for row in by_text.rows] == [row.auroc for row in by_number.rows]
    assert {row.eps for row in by_text.rows} == {None, 8 / 255}
    assert capsys.readouterr().out == ""


LOADING = [
    (lambda: roodbench.load_benchmark(3), "unknown benchmark 3: expected one of digits, cifar10"),
    (lambda: roodbench.load_benchmark(None), "unknown benchmark None: expected one of"),
    (lambda: roodbench.load_benchmark(["digits"]), "unknown benchmark ['digits']: expected one of"),
    (lambda: roodbench.load_benchmark(torch.nn.Linear(1, 1)), "unknown benchmark Linear("),
    (lambda: roodbench.load_benchmark("digits", limit="9"), "limit '9': expected a whole number of images"),
    (lambda: roodbench.load_benchmark("digits", limit=2.5), "limit 2.5: expected a whole number of images"),
    (lambda: roodbench.load_benchmark("digits", ood=3), "ood 3: expected a name or a list of them"),
    (lambda: roodbench.load_benchmark("digits", ood=[3]), "unknown OOD set 3: expected one of unseen-digits"),
    (lambda: roodbench.load_benchmark("cifar10", root=3), "root 3: expected a folder"),
    (lambda: roodbench.load_model(None), "unknown model None: expected one of digits-cnn"),
    (lambda: roodbench.load_model(3), "unknown model 3: expected one of digits-cnn"),
    (lambda: roodbench.load_model("cifar-resnet20", checkpoint=3), "checkpoint 3: expected a file"),
    (lambda: detectors.create(3, None), "unknown detector 3: expected one of msp"),
    (lambda: detectors.create("ross", None, base=3), "unknown base score 3: expected one of msp"),
]


@pytest.mark.parametrize(("load", "sentence"), LOADING, ids=[sentence for _, sentence in LOADING])
def test_what_is_no_name_gets_one_sentence(load, sentence):
    with pytest.raises(ValueError) as caught:
        load()
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_benchmark_and_its_sets_are_short_in_a_prompt():
    bench = roodbench.load_benchmark("digits", ood=["photos", "noise"], limit=4)
    assert repr(bench) == "Benchmark(digits: 4 ID images; OOD photos (far, 4), noise (far, 4); pixel space)"
    assert repr(bench.id_train) == "ImageSet('digits-train', ID train, 600 images)"


def test_a_benchmark_takes_one_name():
    assert list(roodbench.load_benchmark("digits", ood="photos", limit=4).ood) == ["photos"]
