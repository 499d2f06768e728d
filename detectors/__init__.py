"""Post-hoc OOD detectors, differentiable end to end: base scores, PRO and ROSS over any of them.

ross = detectors.create("ross", net, base="gen").fit(train, val)
scores = ross(x, generator=torch.Generator().manual_seed(0))       # (B,), higher = more in-distribution
"""

from .activations import ASH, SCALE, ReAct
from .detector import Batches, Classifier, Detector, Images, Outputs, Over, Plain, Scoring, autograd, keywords
from .features import FDBD, KNN, MDS, RMDS, VIM
from .gradients import ODIN, GradNorm
from .logits import EBO, ENT, GEN, MLS, MSP, MSPT
from .pro import PRO
from .registry import BASES, DETECTORS, WRAPPERS, arguments, check_type, class_of, create, pair, unknown
from .ross import ROSS, ROSSQ
from .score import Fitting, Score, Surrogate, collect
from .smoothing import COV, MAD, Median, Smoothed
from .wrapper import Wrapper

__all__ = [
    "ASH",
    "BASES",
    "COV",
    "DETECTORS",
    "EBO",
    "ENT",
    "FDBD",
    "GEN",
    "KNN",
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
    "VIM",
    "WRAPPERS",
    "Batches",
    "Classifier",
    "Detector",
    "Fitting",
    "GradNorm",
    "Images",
    "Median",
    "Outputs",
    "Over",
    "Plain",
    "ReAct",
    "Score",
    "Scoring",
    "Smoothed",
    "Surrogate",
    "Wrapper",
    "arguments",
    "autograd",
    "check_type",
    "class_of",
    "collect",
    "create",
    "keywords",
    "pair",
    "unknown",
]
