"""The wall of images: the record's pixels and scores, named, and no larger than a page may be."""

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from roodbench.metrics import threshold95
from roodbench.record.pictures import check_images
from roodbench.report.html import page
from roodbench.report.read import Kept
from roodbench.report.wall import EACH, png, wall
from tests.roodbench.report import synthetic
from tests.roodbench.report.reading import Tables

RADII = [4 / 255, 8 / 255]


@pytest.fixture(scope="module")
def record():
    found = synthetic.pictured(synthetic.record(["one", "two"], ["noise", "photos"], RADII, n=20))
    check_images(found)
    return found


def pixels(source):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.removeprefix("data:image/png;base64,")))))


def seen(image):
    """What a screen shows of (C, H, W) in [0, 1]."""
    return (255 * image.double().clamp(0, 1)).round().byte().permute(1, 2, 0).numpy()


def test_pictures_are_the_records(record):
    section = wall(record)
    factor = int(re.search(r"magnified (\d+) times", section.about)[1])
    assert factor == 15  # 0.5 / (8/255), rounded down
    assert "linf 8/255" in section.about
    assert [fold.title for fold in section.parts] == ["id (ID) (3)", "noise (OOD) (3)", "photos (OOD) (3)"]
    for fold in section.parts:
        name = fold.title.partition(" ")[0]
        for index, group in enumerate(fold.parts):
            clean, *cards = group.cards
            image = record.images[f"{name}/clean"][index]
            assert (pixels(clean.pictures[0].source) == seen(image)).all()
            assert [card.title for card in cards] == ["one", "two"]
            for card in cards:
                moved = record.images[f"{card.title}/0.0313725/{name}/{'min' if name == 'id' else 'max'}"][index]
                whole, apart = card.pictures
                assert (pixels(whole.source) == seen(moved)).all()
                assert (pixels(apart.source) == seen(0.5 + factor * (moved.double() - image.double()))).all()


def test_words_are_the_records_scores(record):
    section = wall(record)
    limit = {label: threshold95(record.scores_of(label, "id"))[0] for label in ("one", "two")}
    for fold in section.parts:
        name = fold.title.partition(" ")[0]
        state = "min" if name == "id" else "max"
        for index, group in enumerate(fold.parts):
            for card in group.cards[1:]:
                before, after = (record.scores_of(card.title, name, s, "8/255")[0, index] for s in ("clean", state))
                least = limit[card.title]
                winner = synthetic.COMPONENTS[index]
                assert card.lines[0] == (f"won by {winner}" if index else "nothing made it worse")
                assert card.lines[1:3] == [f"{before:.4g} \N{RIGHTWARDS ARROW} {after:.4g}", f"threshold {least:.4g}"]
                right = [(s >= least) == (name == "id") for s in (before, after)]
                assert card.tone == ("good" if right[1] else "bad" if right[0] else "")
                assert ("OOD taken for ID" in card.lines) == (right == [True, False] and name != "id")


def test_names_are_text_and_every_picture_has_words(monkeypatch):
    monkeypatch.setattr("roodbench.report.wall.EACH", 1)
    found = Tables(page(Kept("made-up", synthetic.pictured(synthetic.hostile()), {})))
    pictures = [attributes for tag, attributes in found.tags if tag == "img"]
    assert len(pictures) == 3 * (1 + 2 * 3)
    assert all(a["src"].startswith("data:image/png;base64,") and a["alt"] for a in pictures)
    assert any(synthetic.SCRIPT in a["alt"] for a in pictures)
    assert any(synthetic.IMAGE in a["alt"] for a in pictures)
    assert [tag for tag, _ in found.tags].count("script") == 1


def test_without_scores_there_are_winners_alone(record):
    section = wall(replace(record, scores={}))
    assert {len(card.lines) for fold in section.parts for group in fold.parts for card in group.cards[1:]} == {1}


def test_no_difference_is_cut_off(record):
    """An image that an attack moves across the whole range: its difference is made smaller, and the page says so."""
    far = {k: torch.full_like(v, 0.05 if k.endswith("/clean") else 0.95) for k, v in record.images.items()}
    section = wall(replace(record, images=far))
    assert "made smaller, to 0.55 of it, to fit, around grey" in section.about
    for fold in section.parts:
        for group in fold.parts:
            for card in group.cards[1:]:
                assert (pixels(card.pictures[1].source) == round(255 * (0.5 + 0.55 * 0.9))).all()
                assert card.pictures[1].label == "change \N{MULTIPLICATION SIGN} 0.55"


def test_images_that_no_attack_moved(record):
    still = {key: record.images[key.split("/")[-2] + "/clean"] for key in record.images}
    assert "magnified 1 times" in wall(replace(record, images=still)).about


@pytest.mark.parametrize("detectors", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_a_page_of_twenty_detectors_with_photos_has_room(detectors):
    """Random pixels, which no PNG makes smaller: images of a CIFAR's size."""
    radii = [k / 255 for k in (1, 2, 4, 8, 16)]
    labels = [f"detector-{k}" for k in range(detectors)]
    found = synthetic.pictured(synthetic.record(labels, list("abcdef"), radii), count=8, side=32)
    text = page(Kept("many", found, {}))
    assert len(text.encode()) < 3e6
    folds = wall(found).parts
    assert len(folds) == (7 if detectors == 2 else 2)
    assert len(folds[0].parts) <= EACH
    missing = re.search(r"For want of room without ([\w, ]+)\.", wall(found).about)
    assert (missing is None) == (detectors == 2)


def test_a_large_picture_is_made_smaller():
    image = torch.rand(3, 200, 100)
    assert pixels(png(image)).shape == (67, 34, 3)
    assert pixels(png(image, whole=False)).shape == (67, 34, 3)
    assert (pixels(png(image, whole=False)) == seen(image)[::3, ::3]).all()
    assert pixels(png(torch.rand(1, 8, 8))).shape == (8, 8)
