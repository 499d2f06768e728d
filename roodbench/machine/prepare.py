"""The network made fast: batch norm folded, channels-last, compiled, in bounded memory, bfloat16 for gradients."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from detectors import Detector
from detectors.care import usual_state

from ..models import Classifier
from ..models.classifier import Backbone
from .memory import LARGEST, fitting_images, within_memory

log = logging.getLogger("roodbench")
Network = Callable[[Tensor], Tensor]

COMPILED = {"cpu": (64,), "cuda": (512, 64)}
"""Batch sizes that are compiled, largest first; what is left of a batch runs the folded network eagerly."""
REPAYS = {"cpu": 1e14, "cuda": 5e15}
"""Floating point operations from which half a minute of compilation repays itself."""
TOLERANCE = 1e-4
"""Largest relative difference of logits between the prepared and the plain network."""


@usual_state()
def prepare(net: Classifier, sample: Tensor, *, compile: str = "auto", work: float = 0.0) -> Classifier:
    """The same function as `net`, faster: scores agree within 1e-4 relative, or `net` itself comes back with a warning.

    `sample` (B, C, H, W) are images of the network's input space on its device, to check and measure with. `compile`
    is on, off or auto: where `work`, the floating point operations expected of the run, repays it.
    """
    check_compile(compile)
    if isinstance(net.backbone, Prepared):
        return net
    try:
        backbone = Prepared(net.backbone)
    except Exception as reason:  # a network that cannot be copied: whatever its parts raise
        log.warning("%s could not be copied, it runs as it is: %s", net.name, first_line(reason))
        return net
    fast = Classifier(backbone, net.mean.flatten().tolist(), net.std.flatten().tolist(), name=net.name)
    fast.unit_std, fast.files = net.unit_std.clone(), net.files
    fast = fast.to(sample.device)
    backbone.batch = backbone.held = len(sample)
    if not agrees(net, fast, sample, "folded"):
        return net
    most = fitting_images(backbone.body, sample)
    backbone.batch, backbone.held = min(most, LARGEST.get(sample.device.type, LARGEST["cpu"])), most
    compile_network(fast, net, sample, compile=compile, work=work)
    return fast


def compile_network(fast: Classifier, plain: Classifier, sample: Tensor, *, compile: str, work: float) -> None:
    """Compile a prepared network in place, where that is asked for or repays itself, and agrees with the plain one."""
    check_compile(compile)
    kind, backbone = sample.device.type, fast.backbone
    wanted = compile == "on" or (compile == "auto" and work > REPAYS.get(kind, float("inf")))
    if not wanted or not isinstance(backbone, Prepared) or backbone.sizes:
        return
    if compile == "auto":
        log.info("compiling %s: about half a minute that %.2g operations repay (--compile off)", fast.name, work)
    backbone.use_sizes(COMPILED.get(kind, ()))
    if not agrees(plain, fast, sample, "compiled"):
        backbone.use_sizes(())


def check_compile(compile: str) -> None:
    if compile not in ("auto", "on", "off"):
        raise ValueError(f"compile {compile!r}: expected auto, on or off")


def agrees(plain: Classifier, fast: Classifier, sample: Tensor, how: str) -> bool:
    """Whether the fast network gives the plain one's logits on the sample; a warning where it does not."""
    try:
        error = within_memory(lambda: difference(plain, fast, sample), fast, plain.name)
    except Exception as reason:  # a compiler that is missing or fails: any exception of torch's or of its back ends
        log.warning("%s could not be %s: %s", plain.name, how, first_line(reason))
        return False
    if error > TOLERANCE:
        log.warning("%s, %s, differs by %.2g (relative): it is used as it was", plain.name, how, error)
    return error <= TOLERANCE


class Prepared(nn.Module):
    """A backbone whose features come from a folded, channels-last and perhaps compiled copy of it.

    It takes `batch` images at a time. Under autograd, batches above `held` are recomputed in the backward pass, a part
    at a time: memory stays bounded.
    """

    incidental = frozenset({"batch", "held", "halved", "_runs"})

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.head, self.headless = cast(Backbone, backbone).head, getattr(backbone, "headless", "")
        self.body, self.folds = folded(backbone)
        self.sizes: tuple[int, ...] = ()
        """The batch sizes that are compiled, largest first."""
        self.batch = self.held = LARGEST["cuda"]
        self.halved = self.training = False
        """Whether passes run in bfloat16."""
        self._runs: dict[bool, tuple[Network, Network, Network]] = {}

    def use_sizes(self, sizes: tuple[int, ...]) -> None:
        """The batch sizes that are compiled from now on."""
        self.sizes = sizes
        self._runs.clear()

    def features(self, x: Tensor) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        if not (torch.is_grad_enabled() and x.requires_grad):
            with torch.no_grad():
                return self._join(self._run, x.split(self.batch))
        if len(x) <= self.held:
            return self._join(self._run, x.split(self.batch))
        from torch.utils.checkpoint import checkpoint

        return self._join(lambda part: checkpoint(self._run, part, use_reentrant=False), x.split(self.batch))

    def _run(self, x: Tensor) -> Tensor:
        """Features of a batch: as many whole parts of the compiled sizes as fit, the rest eagerly."""
        eager, training, inference = self._networks()
        compiled = training if torch.is_grad_enabled() and x.requires_grad else inference
        z = x.bfloat16() if self.halved else x
        parts, start = [], 0
        for size in self.sizes:
            while len(z) - start >= size:
                h = compiled(z[start : start + size])
                parts.append(h.clone() if h.is_cuda else h)  # a CUDA graph reuses its output's memory
                start += size
        if start < len(z):
            parts.append(eager(z[start:]))
        return self._join(lambda h: h.to(x.dtype), parts)

    def _networks(self) -> tuple[Network, Network, Network]:
        """The network in the present precision, made on first use: eager, compiled with gradients and without."""
        if self.halved not in self._runs:
            body = copy.deepcopy(self.body).bfloat16() if self.halved else self.body
            training = inference = cast(Network, body)
            if self.sizes:
                cuda = next(body.parameters()).is_cuda
                training = cast(Network, torch.compile(body, mode="reduce-overhead" if cuda else None, dynamic=False))
                # constant weights let the CPU's convolutions take in the activations that follow
                options: dict[str, Any] = {"triton.cudagraphs": True} if cuda else {"freezing": True}
                inference = cast(Network, torch.compile(copy.deepcopy(body), dynamic=False, options=options))
            self._runs[self.halved] = cast(Network, body), training, inference
        return self._runs[self.halved]

    @staticmethod
    def _join(run: Callable[[Tensor], Tensor], parts: Any) -> Tensor:
        results = [run(part) for part in parts]
        return results[0] if len(results) == 1 else torch.cat(results)


def folded(backbone: nn.Module) -> tuple[nn.Module, int]:
    """A copy of `backbone.features` in channels-last with every batch norm that follows a convolution folded into it.

    Returns it with the number of folds; a network that torch.fx cannot trace keeps its batch norms.
    """
    from torch import fx
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    module: nn.Module = Features(copy.deepcopy(backbone)).eval().requires_grad_(False)
    folds = 0
    try:
        graph = fx.symbolic_trace(module)
    except Exception as reason:  # control flow that depends on data: whatever the network's own code raises
        log.info("batch norm is not folded: %s", first_line(reason))
        return channels_last(module), 0
    calls = [node.target for node in graph.graph.nodes if node.op == "call_module"]
    for node in list(graph.graph.nodes):
        conv = node.args[0] if node.op == "call_module" and node.args else None
        if not isinstance(conv, fx.Node) or conv.op != "call_module" or len(conv.users) != 1:
            continue
        before, after = (graph.get_submodule(str(n.target)) for n in (conv, node))
        once = calls.count(conv.target) == 1 and calls.count(node.target) == 1
        if (
            once
            and isinstance(before, nn.Conv2d)
            and isinstance(after, nn.BatchNorm2d)
            and after.running_mean is not None
        ):
            graph.set_submodule(str(conv.target), fuse_conv_bn_eval(before, after))
            node.replace_all_uses_with(conv)
            graph.graph.erase_node(node)
            folds += 1
    graph.delete_all_unused_submodules()
    graph.recompile()
    return channels_last(graph.eval().requires_grad_(False)), folds


def channels_last(module: nn.Module) -> nn.Module:
    """The module with its convolutions' weights in channels-last, in place."""
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return module


class Features(nn.Module):
    """A backbone's `features` as a module."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, x: Tensor) -> Tensor:
        return cast(Backbone, self.backbone).features(x)


def difference(plain: Classifier, fast: Classifier, x: Tensor) -> float:
    """The largest difference of logits over the largest logit, on one image too and on every size that is compiled."""
    with torch.no_grad():
        z = plain(x)
        worst = 0.0
        for size in (*cast(Prepared, fast.backbone).sizes, 1, len(x)):
            images = x.repeat(-(-size // len(x)), 1, 1, 1)[:size]
            with torch.enable_grad(), quiet():
                x_grad = images.clone().requires_grad_()
                torch.autograd.grad(fast(x_grad).sum(), x_grad)
            with quiet():
                z_fast = fast(images)
            z_plain = z.repeat(-(-size // len(x)), 1)[:size]
            worst = max(worst, float((z_fast - z_plain).abs().max() / z_plain.abs().max().clamp_min(1e-12)))
    return worst


@contextmanager
def quiet() -> Iterator[None]:
    """Without the deprecation warnings that torch.compile raises about itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class HalfGradients:
    """A detector whose gradients come from bfloat16 passes of its network; its scores stay float32."""

    def __init__(self, detector: Detector, net: Classifier) -> None:
        if not isinstance(net.backbone, Prepared):
            raise ValueError(f"bfloat16 gradients need a prepared network: call roodbench.prepare on {net.name}")
        self.detector, self.network, self.backbone = detector, net, net.backbone
        self.randomized, self.objectives, self.whole = detector.randomized, detector.objectives, detector.whole
        self.jumps = detector.jumps
        self.passes, self.score_passes = detector.passes, detector.score_passes

    def __call__(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        return self.detector(x, generator=generator) if self.randomized else self.detector(x)

    def value_and_grad(self, x: Tensor, **settings: Any) -> tuple[Tensor, Tensor]:
        self.backbone.halved = True
        try:
            return self.detector.value_and_grad(x, **settings)
        finally:
            self.backbone.halved = False


@torch.no_grad()
def operations(net: nn.Module, x: Tensor) -> float:
    """Floating point operations (multiplications and additions) of the convolutions and products of one image."""
    counted = 0

    def count(layer: nn.Module, _: Any, output: Tensor) -> None:
        nonlocal counted
        weight = cast(Tensor, layer.weight)
        counted += 2 * output[0].numel() * weight[0].numel()

    layers = [m for m in net.modules() if isinstance(m, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    try:
        net(x[:1])
    finally:
        for hook in hooks:
            hook.remove()
    return float(counted)


def first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
