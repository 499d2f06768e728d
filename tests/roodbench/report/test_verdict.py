"""The sentence at the head of a page: it hides no set, and owns up to what was chosen."""

from pathlib import Path

from roodbench.record.text import at_least
from roodbench.report.html import page
from roodbench.report.read import Kept, read
from tests.roodbench.report import synthetic
from tests.roodbench.report.reading import Tables

REPORTS = Path(__file__).parents[3] / "reports"


def shown(record):
    return Tables(page(Kept("record", record, {})))


def test_the_headline_hides_no_set_and_owns_up_to_its_choice():
    record = synthetic.record(["one", "two"], ["noise", "photos"], [8 / 255], n=40)
    text = shown(record).text
    row = next(r for r in record.averages if (r.detector, r.condition) == ("one", "both"))
    sets = {r.ood: r.auroc for r in record.rows if (r.detector, r.condition) == ("one", "both")}
    least = min(sets, key=sets.get)
    said = f"one keeps the highest mean AUROC over 2 OOD sets under attack at eps 8/255 (both): {100 * row.auroc:.1f} ["
    assert said in text
    assert f"], and {100 * sets[least]:.1f} on {least}, the worst of them; " in text
    assert "not for the choice" in text
    text = shown(synthetic.record(["one"], ["noise"], [8 / 255], n=40)).text
    assert "not for the choice" not in text


def test_the_headline_of_a_certification_names_the_worst_set_of_every_detector():
    record = read(REPORTS / "denoised" / "digits-bare-0.25").record
    text, rows = shown(record).text, [row for row in record.rows if row.condition == "both"]
    for label in {row.detector for row in rows}:
        found = {r: min(row.gauroc for row in rows if (row.detector, row.radius) == (label, r)) for r in (0.25, 0.5)}
        bounds = ", ".join(f"{at_least(value)} within l2 {radius:g}" for radius, value in found.items())
        assert (
            f"{label}(gen) keeps an AUROC of at least, against every adversary, on the worst of 2 OOD sets: {bounds}."
            in text
        )
    assert "Each of these bounds holds with probability 0.999." in text
