"""Copies of one picture are said before a run, also mirrored ones, and pictures of one kind are none."""

import logging

import numpy as np
import pytest

import roodbench
from roodbench.data.near import note_copies


def drawn(seed, n=20):
    return np.random.default_rng(seed).integers(0, 250, (n, 16, 16, 1), dtype=np.uint8)


def noted(caplog, **far):
    labels = np.arange(20) % 2
    bench = roodbench.benchmark_from(
        id_train=(drawn(0), labels), id_val=(drawn(1), labels), id_test=(drawn(2), labels), far=far, ood_val=drawn(3)
    )
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        bench.check()
        note_copies(bench)
    return caplog.messages


@pytest.mark.parametrize("how", [lambda x: x + 3, lambda x: x[:, :, ::-1] + 3, lambda x: x - x // 50])
def test_copies_in_a_set_and_between_sets_are_noticed(how, caplog):
    own, images = drawn(4), drawn(5)
    assert noted(caplog, own=own, other=images) == []
    (said,) = noted(caplog, own=own, copied=np.concatenate([images[:10], how(images[:10])]))
    assert said.startswith("copied (OOD test): 10 of 20 images are nearly, or mirrored, another one of it, such as")
    assert said.endswith("if they are copies, intervals are too narrow")
    for place, seed in (("ID train", 0), ("ID test", 2)):
        (said,) = noted(caplog, own=own, copied=np.concatenate([images[:15], how(drawn(seed)[:5])]))
        assert "copied (OOD test): 5 of 20 images are nearly, or mirrored, one of" in said
        assert place in said
    assert noted(caplog, own=own, copied=np.concatenate([images[:16], how(images[:4])])) == []


def test_images_that_are_the_same_are_no_copies_and_large_sets_are_left_alone(caplog):
    (said,) = noted(caplog, own=np.concatenate([drawn(4), drawn(4)[:5]]))
    assert "repeat" in said
    many = drawn(4, 1001)
    assert noted(caplog, own=np.concatenate([many[:500], many[:500] + 3, many[:1] + 1])) == []


def test_a_run_on_digits_says_nothing_of_copies(caplog):
    note_copies(roodbench.load_benchmark("digits"))
    assert caplog.messages == []
