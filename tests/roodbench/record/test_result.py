"""A record is short in a prompt, comes back from its folder with its scores, and names them exactly."""

import json
from dataclasses import replace

import pytest

import detectors
import roodbench
from roodbench.certify import CertifiedResult, read
from roodbench.record.row import ShiftedSet
from roodbench.record.table import corrupted_lines
from tests.roodbench.helpers import small


@pytest.fixture(scope="module")
def result(digits_net):
    gen = detectors.create("gen", digits_net)
    return roodbench.evaluate(gen, small(4), eps=16 / 255, steps=2, check=False)


@pytest.fixture(scope="module")
def certified_folder(digits_net, tmp_path_factory):
    run = roodbench.RunConfig(detector="median", norm="l2", attack="none", limit=4, ood="noise")
    config = roodbench.certify.CertifyConfig(run, radius=0.1, samples=500)
    return roodbench.certify.certify(config, out=tmp_path_factory.mktemp("runs"))


def test_a_record_is_one_short_line_in_a_prompt(result):
    assert repr(result) == "Result(gen: clean, min, max, both; 4 rows, 8 averages, 6 tensors of scores)"
    assert str(result) == result.to_table()


def test_a_record_comes_back_from_its_folder(result, tmp_path):
    result.save(tmp_path)
    for place in (tmp_path, str(tmp_path / "result.json")):
        again = roodbench.Result.load(place)
        assert again.to_json() == result.to_json()
        assert (again.scores_of("gen", "digits", "min") == result.scores_of("gen", "digits", "min")).all()
    with pytest.raises(ValueError, match=r"read from JSON alone: Result\.load\(FOLDER\) reads both"):
        roodbench.Result.from_json(result.to_json()).scores_of("gen", "digits")


UNKNOWN = {
    ("gen/0.0627451", "digits", "min"): "unknown detector 'gen/0.0627451': expected one of gen",
    ("ge", "digits"): "unknown detector 'ge': did you mean 'gen'? expected one of gen",
    (3, "digits"): "unknown detector 3: expected one of gen",
    ("gen", "igits"): "unknown population 'igits': did you mean 'digits'? expected one of digits, unseen-digits",
    ("gen", "digits/min", "winner"): "unknown population 'digits/min': did you mean 'digits'?",
    ("gen", "digits-train"): "unknown population 'digits-train'",
    ("gen", "digits", "min/winner"): "unknown condition of digits 'min/winner': expected one of clean, min",
    ("gen", "unseen-digits", "min"): "unknown condition of unseen-digits 'min': expected one of clean, max",
    ("gen", "digits", "min", 8 / 255): "epsilon 8/255: expected one of 16/255",
    ("gen", "digits", "min", "8/255"): "epsilon 8/255: expected one of 16/255",
    ("gen", "digits", "min", "eight"): "epsilon 'eight': expected a number such as 8/255 or 0.03",
    ("gen", "digits", "min", (1,)): "epsilon (1,): expected a number such as 8/255 or 0.03",
}


@pytest.mark.parametrize("asked", UNKNOWN, ids=str)
def test_scores_have_exact_names(result, asked):
    with pytest.raises(ValueError) as caught:
        result.scores_of(*asked)
    assert UNKNOWN[asked] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_scores_are_asked_for_by_number_or_text(result, digits_net):
    for eps in (None, 16 / 255, "16/255"):
        assert result.scores_of("gen", "digits", "min", eps).shape == (1, 4)
        assert result.scores_of("gen", "digits", eps=eps).shape == (1, 4)
    config = roodbench.RunConfig("gen", eps="4/255,16/255", limit=4, steps=2, ood="noise")
    several, _ = roodbench.run(config, check=False)
    with pytest.raises(ValueError, match=r"^epsilon None: expected one of 4/255, 16/255$"):
        several.scores_of("gen", "digits", "min")
    assert (
        several.scores_of("gen", "digits", "min", "4/255") != several.scores_of("gen", "digits", "min", "16/255")
    ).any()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "no record of a run: it is not JSON"),
        ("[]", "no record of a run: expected an object, not a list"),
        ("{}", "schema version None: expected 1"),
        ('{"schema_version": 1}', "no record of a run: it has no attacks, averages"),
        ('{"schema": "roodbench-certificate/1"}', "it is a certificate, which roodbench.certify.read reads"),
    ],
)
def test_other_text_is_no_record(text, sentence):
    with pytest.raises(ValueError) as caught:
        roodbench.Result.from_json(text)
    assert sentence in str(caught.value)


def test_a_malformed_row_gets_one_sentence(result):
    record = json.loads(result.to_json())
    del record["rows"][0]["auroc"]
    with pytest.raises(ValueError, match=r"malformed Row in the record: .*auroc"):
        roodbench.Result.from_json(json.dumps(record))


def test_a_certified_record_comes_back_too(certified_folder):
    found, folder = certified_folder
    again = CertifiedResult.load(folder)
    assert again.config == found.config
    assert again.to_json() == found.to_json()
    assert json.loads(json.dumps(again.certificate())) == read(folder)
    assert repr(again) == "CertifiedResult(median; 3 rows)"
    with pytest.raises(ValueError, match="is it one that CertifiedResult reads"):
        roodbench.Result.from_json(found.to_json())


def test_a_certificate_is_found_in_its_folder(certified_folder, tmp_path):
    _, folder = certified_folder
    assert read(folder) == read(folder / "certificate.json")
    with pytest.raises(ValueError, match=r"result\.json' is a result: expected a certificate\.json"):
        read(folder / "result.json")
    with pytest.raises(ValueError, match=r"No such file, expected a certificate\.json or the folder of a run"):
        read(tmp_path)


def test_the_worst_corruption_of_a_set_alone_is_named_where_it_is_another():
    fog, snow = (
        ShiftedSet("gen", f"{name}/1", 10, 1.0, 0.1, True, name, 1, auroc, {})
        for name, auroc in (("fog", {"tin": 0.9, "svhn": 0.5}), ("snow", {"tin": 0.6, "svhn": 0.9}))
    )
    (line,) = corrupted_lines([fog, snow])
    assert "worst fog/1: 70.0, " in line
    assert line.endswith("; alone, tin snow/1")
    (line,) = corrupted_lines([fog, replace(snow, auroc={"tin": 0.95, "svhn": 0.9})])
    assert line.endswith("10.0% of 10 images flagged as OOD, below the threshold that 95% of clean ID reach")
