"""The subcommands of `omni`, one module each: `add_arguments(parser)` and `run(args) -> exit code`."""

import argparse
import os
from pathlib import Path


def place_for(name: str | Path) -> Path:
    """Where something is going to be written; raises OSError where it cannot be, before the work that it is of."""
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise PermissionError(f"{name} cannot be written: name another file")
    return path


def check_stages(args: argparse.Namespace, *, pipeline: bool) -> None:
    """Refuse `--stt`, `--llm` and `--tts` where no pipeline is started that would use them."""
    from omni_server.client.own_server import STAGES

    named = [f"--{stage}" for stage in STAGES if getattr(args, stage)]
    if named and not pipeline:
        raise ValueError(f"{', '.join(named)}: only a pipeline of one's own has stages, and none is started here")
