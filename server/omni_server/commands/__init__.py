"""The subcommands of `omni`, one module each: `add_arguments(parser)` and `run(args) -> exit code`."""

import os
from pathlib import Path


def place_for(name: str | Path) -> Path:
    """Where something is going to be written; raises OSError where it cannot be, before the work that it is of."""
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise PermissionError(f"{name} cannot be written: name another file")
    return path
