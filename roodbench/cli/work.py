"""The verb `work`: one more process for a run that has begun."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from .console import computing, log, progress_for, start_logging
from .numbers import share_of
from .options import Context, argument, option, taking


@taking(
    argument("folder", "The folder of the run, as its log and `runs` name it."),
    "shard",
    option("leader", int | None, None, "End with the process of this number.", "Machine", hidden=True),
    "device",
    "log_format",
    "quiet",
)
def work(context: Context, **given: Any) -> None:
    """Help with a run: compute what no other process does, from any machine that sees its folder."""
    if given["folder"] is None:
        raise ValueError("work: expected the folder of a run, as its log and `roodbench runs` name it")
    start_logging(given["quiet"], given["log_format"])
    number, of = share_of(given["shard"]) if given["shard"] else (1 + os.getpid() % 97, 97)
    if given["leader"] is not None:
        threading.Thread(target=follow, args=(given["leader"],), daemon=True).start()
    from ..store import manifest
    from ..store.runs import RECORD

    folder = Path(given["folder"]).absolute()
    said = manifest.read(folder)
    if not Path(said["cwd"]).is_dir():
        raise ValueError(f"'{said['cwd']}', where the run began, is not there: its files are named from there")
    os.chdir(said["cwd"])
    computing()
    settings = {
        "turn": (number - 1) / of,
        "out": folder.parent,
        "progress": given["leader"] is None and progress_for(given),
        "since": said["since"] if said["fresh"] else None,
        "joins": folder,
        "among": 1 if given["leader"] is None else of,
    }
    (share_certification if said["kind"] == "certify" else share_run)(said, given["device"], settings)
    written = (folder / RECORD).is_file()
    log.info("all of %s is kept%s", folder, "" if written else ": the process that began it writes the record")


def share_run(said: dict[str, Any], device: str, settings: dict[str, Any]) -> None:
    """Help with a run of `run` or `check`."""
    from ..api import share
    from ..setup.config import RunConfig

    if unknown := sorted(said["config"].keys() - {f.name for f in fields(RunConfig)}):
        raise ValueError(f"the run was begun by another version of roodbench: here is no setting {', '.join(unknown)}")
    share(RunConfig(**{**said["config"], "device": device}), check=said["check"], thorough=said["thorough"], **settings)


def share_certification(said: dict[str, Any], device: str, settings: dict[str, Any]) -> None:
    """Help with a run of `certify`."""
    from ..certify.certificate import config_of
    from ..certify.run import share

    config = config_of(said)
    share(replace(config, run=replace(config.run, device=device)), **settings)


def follow(leader: int) -> None:
    """End this process when its leader, which started it, has ended."""
    while os.getppid() == leader:
        time.sleep(1)
    os._exit(1)
