"""pytorch-ood, where it is installed: an independent implementation of several scores."""

import importlib.util

import pytest

from roodbench.store.vision import import_torchvision


def pytorch_ood():
    """Its package of detectors; the test is skipped without it."""
    if importlib.util.find_spec("pytorch_ood") is None:
        pytest.skip("pytorch-ood is not installed: pip install 'roodbench[pytorch-ood]'")
    import_torchvision()
    from pytorch_ood import detector

    return detector
