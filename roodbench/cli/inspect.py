"""The verb `inspect`: what is found of a network before it is evaluated."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import typer

from ..words import counted
from .console import computing, start_logging
from .given import check_spelt, one_format, run_config
from .options import NETWORKS, Context, changed, taking

IMAGES = 100
"""ID test images whose classes are compared."""
OPTIONS = (
    *("benchmark", "data_root", *NETWORKS),
    changed("device", help="Compute on auto, cpu, cuda or cuda:N."),
    changed("format", help="Print text or json.", default="text"),
    "log_format",
    "quiet",
)


@taking(*OPTIONS)
def inspect(context: Context, **given: Any) -> None:
    """Show what is found of a network: layers, input size, normalisation, features, ID accuracy."""
    one_format(given["format"], ("text", "json"))
    config = run_config({**given, "limit": IMAGES})
    check_spelt(context, config, attacking=False)
    start_logging(given["quiet"], given["log_format"])
    from ..machine.device import opened
    from ..setup.network import inspected
    from ..setup.setting import Setting
    from ..store.users import here

    computing()
    with opened(config.device) as device, here():
        setting = Setting(config, device)
        found = inspected(setting.plain, setting.net.backbone, setting.bench, device, IMAGES)
    typer.echo(json.dumps(found, indent=1) if given["format"] == "json" else as_text(found))


def as_text(found: Mapping[str, Any]) -> str:
    """One thing a line."""
    lines = [f"{found['name']}: {found['parameters']:,} parameters, {counted(found['classes'], 'class')}"]
    lines += [f"weights: {name}, sha256 {digest}" for name, digest in found["files"].items()]
    layers = ", ".join(f"{name} ({kind})" for name, kind in found["layers"].items())
    lines.append(f"layers: {layers or 'one'}")
    images, taken = ("x".join(map(str, found[key])) for key in ("images", "input"))
    how = f", resized from {images} ({found['interpolation']})" if images != taken else ""
    lines.append(f"input: {taken}{how}, pixels in [0, 1]")
    mean, std = (", ".join(f"{value:g}" for value in found[key]) for key in ("mean", "std"))
    lines.append(f"normalisation: mean {mean}; std {std}")
    if found["headless"]:
        lines.append(f"features: none, {found['headless']}; scores of logits run")
    else:
        lines.append(f"features: {found['features']}, the input of the last linear layer {found['head']}")
    folds, batch = found["folded batch norms"], found["images per pass"]
    speed = "left out" if folds is None else f"{counted(folds, 'batch norm')} folded, up to {batch} images a pass"
    lines.append(f"prepared: {speed}")
    lines.append(f"ID accuracy: {found['id_accuracy']:.1%} of {found['id_images']} test images")
    return "\n".join(lines)
