"""The verb `runs`: what is kept, how far each run came, and the end of what nobody needs."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

import typer

from ..words import counted
from .given import one_format
from .options import Context, argument, changed, taking

if TYPE_CHECKING:
    from pathlib import Path

    from ..store.runs import Run

ACTIONS = ("list", "show", "remove")


@taking(
    argument("action", "list (default), show or remove."),
    argument("name", "The run, or the beginning of its name that no other has."),
    "out",
    changed("format", help="Print text or json.", default="text"),
)
def runs(context: Context, **given: Any) -> None:
    """List the runs that are kept, show one, or remove it with what only it needs."""
    one_format(given["format"], ("text", "json"))
    action, name = given["action"] or "list", given["name"]
    if action not in ACTIONS:
        from detectors import unknown

        raise ValueError(unknown("action", action, ACTIONS))
    if (name is None) != (action == "list"):
        raise ValueError(f"runs {action}: " + ("takes no name" if action == "list" else "expected the name of a run"))
    from ..store.folder import runs_place
    from ..store.runs import remove, run_in, runs_in

    folder = runs_place(given["out"])
    if action == "list":
        show_all([summary(run) for run in runs_in(folder)], folder, given["format"])
    elif action == "show":
        run = run_in(folder, name)
        found = {**summary(run), "manifest": run.manifest, "throughput": run.throughput}
        typer.echo(json.dumps(found, indent=1) if given["format"] == "json" else as_text(found))
    else:
        run = run_in(folder, name)
        parts, size = remove(run)
        typer.echo(f"removed {run.folder} and {parts} kept parts that no other run names, {size / 1e6:.1f} MB")


def summary(run: Run) -> dict[str, Any]:
    """A run in a line."""
    said = run.manifest
    seconds = sum(part["seconds"] for part in run.throughput.values())
    return {
        "name": run.name,
        "kind": said["kind"],
        "state": run.state,
        "began": said["began"],
        "parts": len(run.cells),
        "computed": len(run.made),
        "seconds": round(seconds, 1),
        "workers": [process["pid"] for process in run.workers],
        "folder": str(run.folder),
    }


def show_all(found: list[dict[str, Any]], folder: Path, format: str) -> None:
    """All runs: a line each, or JSON."""
    if format == "json":
        typer.echo(json.dumps(found, indent=1))
    elif not found:
        typer.echo(f"no runs in {folder}")
    for run in found if format == "text" else []:
        parts = f"{run['parts']} parts so far, {run['computed']} of them computed for it in {run['seconds']:.0f} s"
        typer.echo(f"{run['name']}: {run['state']}, began {run['began']}, {parts}")


def as_text(found: dict[str, Any]) -> str:
    """One run, one thing a line."""
    command = shlex.join(found["manifest"]["command"])
    lines = [f"{found['name']}: {found['state']}", f"folder: {found['folder']}", f"began: {found['began']}"]
    lines += [f"command: {command}", f"in: {found['manifest']['cwd']}"]
    lines += [f"workers: {', '.join(map(str, found['workers'])) or 'none'}"]
    lines += [f"parts: {found['parts']}, of which {found['computed']} computed for it in {found['seconds']:.1f} s"]
    for name, part in found["throughput"].items():
        lines.append(f"  {name}: {counted(int(part['images']), 'image')} in {part['seconds']:.1f} s")
    return "\n".join(lines)
