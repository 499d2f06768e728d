"""Networks: a classifier that normalises inside, is frozen and in eval mode, and shows its features and last layer."""

from .classifier import Classifier
from .denoiser import denoised
from .load import MODELS, load_model
from .source import CIFAR10, IMAGENET, OPENOOD

__all__ = ["CIFAR10", "IMAGENET", "MODELS", "OPENOOD", "Classifier", "denoised", "load_model"]
