"""What a record says of corrupted ID sets follows from their scores."""

from dataclasses import fields, replace

import pytest

import detectors
import roodbench
from roodbench.data import ImageSet
from roodbench.record.held import contradictions
from roodbench.record.row import Row
from tests.roodbench.helpers import small

OPEN = [f"{name}_ci" for name in ("auroc", "fpr95_id", "fpr95_id_refit", "fpr95_ood", "aupr_in", "aupr_out")]
"""Intervals over corruptions: which images are copies of one, no record says."""


def dimmed(bench, severity):
    """The ID images, darker, as a corrupted set."""
    images = (bench.id_test.shard(0, 12) * (1 - 0.2 * severity)).numpy()
    return ImageSet(f"dusk/{severity}", "ID test", bench.id_test.labels.tolist(), lambda: images)


@pytest.fixture(scope="module")
def result(digits_net):
    bench = small(12, ood=("noise", "unseen-digits"))
    bench = replace(bench, shifted={f"dusk/{k}": dimmed(bench, k) for k in (1, 3)})
    gen = detectors.create("gen", digits_net).fit(bench.id_train, bench.id_val)
    return roodbench.evaluate(gen, bench, threat="corruptions")


def edited(value):
    """Another value of the same type, near it."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, dict):
        return {key: edited(its) for key, its in value.items()}
    if isinstance(value, list):
        return [edited(its) for its in value]
    return f"{value}x" if isinstance(value, str) else value + (1 if isinstance(value, int) else 1e-6)


def test_an_honest_record_of_corruptions_comes_back(result, tmp_path):
    assert {row.condition for row in result.rows} == {"clean", "corrupted", "worst"}
    result.save(tmp_path)
    assert roodbench.Result.load(tmp_path).to_json() == result.to_json()


@pytest.mark.parametrize("condition", ["corrupted", "worst"])
@pytest.mark.parametrize("part", ["rows", "averages"])
def test_no_number_over_corruptions_is_read_as_it_was_edited(result, part, condition):
    entries = getattr(result, part)
    place = next(i for i, row in enumerate(entries) if row.condition == condition)
    for name in (f.name for f in fields(Row) if f.name not in OPEN):
        if (value := getattr(entries[place], name)) is not None and value not in ([], {}):
            forged = list(entries)
            forged[place] = replace(entries[place], **{name: edited(value)})
            assert list(contradictions(replace(result, **{part: forged}))), name


def test_no_number_of_a_corrupted_set_is_read_as_it_was_edited(result):
    for name in ("n", "flagged", "reliable", "corruption", "severity", "auroc", "fpr95_id_refit"):
        entry = result.shifted_id[0]
        forged = [replace(entry, **{name: edited(getattr(entry, name))}), *result.shifted_id[1:]]
        assert list(contradictions(replace(result, shifted_id=forged))), name
