"""Post-hoc OOD detectors, differentiable end to end: base scores, PRO and ROSS over any of them.

>>> import torch, detectors
>>> class Logits(torch.nn.Module):  # a network whose logits are its input
...     def outputs(self, x):
...         return detectors.Outputs(x, x)
>>> x, y = torch.tensor([[9.0, 1.0, 0.0], [1.0, 0.9, 0.8]]), torch.tensor([0, 0])
>>> ross = detectors.create("ross", Logits(), base="gen", sigma=0.05).fit([(x, y)], [(x, y)])
>>> scores = ross(x, generator=torch.Generator().manual_seed(0))  # (B,), higher = more in-distribution
>>> bool(scores[0] > scores[1])
True
"""

from .activations import ASH, DICE, SCALE, ReAct
from .bank import SHE, NNGuide, Relation
from .detector import Batches, Classifier, Detector, Images, Outputs, Over, Plain, Scoring, autograd, keywords
from .features import FDBD, KNN, MDS, RMDS, VIM
from .given import GivenError, NeedsError, fault_of_logits, kind_of_outputs, said_of_outputs, shown
from .gradients import GODIN, ODIN, ApproximateMass, GradNorm
from .logits import EBO, ENT, GEN, MLS, MSP, MSPT
from .maps import RankFeat
from .matching import KLM, OpenMax
from .pro import PRO
from .registry import (
    BASES,
    DETECTORS,
    KNOWN,
    SPECIAL,
    WRAPPERS,
    arguments,
    base_of,
    class_of,
    create,
    pair,
    unknown,
)
from .ross import ROSS, ROSSQ
from .score import Fitting, Score, Surrogate, collect
from .smoothing import COV, MAD, Median, Smoothed
from .wrapper import Wrapper

__all__ = [
    "ASH",
    "BASES",
    "COV",
    "DETECTORS",
    "DICE",
    "EBO",
    "ENT",
    "FDBD",
    "GEN",
    "GODIN",
    "KLM",
    "KNN",
    "KNOWN",
    "MAD",
    "MDS",
    "MLS",
    "MSP",
    "MSPT",
    "ODIN",
    "PRO",
    "RMDS",
    "ROSS",
    "ROSSQ",
    "SCALE",
    "SHE",
    "SPECIAL",
    "VIM",
    "WRAPPERS",
    "ApproximateMass",
    "Batches",
    "Classifier",
    "Detector",
    "Fitting",
    "GivenError",
    "GradNorm",
    "Images",
    "Median",
    "NNGuide",
    "NeedsError",
    "OpenMax",
    "Outputs",
    "Over",
    "Plain",
    "RankFeat",
    "ReAct",
    "Relation",
    "Score",
    "Scoring",
    "Smoothed",
    "Surrogate",
    "Wrapper",
    "arguments",
    "autograd",
    "base_of",
    "class_of",
    "collect",
    "create",
    "fault_of_logits",
    "keywords",
    "kind_of_outputs",
    "pair",
    "said_of_outputs",
    "shown",
    "unknown",
]
