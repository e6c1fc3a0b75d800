"""Processes that train together end together."""

import subprocess
import sys
from pathlib import Path

FAILS = """
import signal
from torch import nn
from omni.train.crew import hire

def work(pipe, number, modules, gradients):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pipe.send("here")
    pipe.recv()

if __name__ == "__main__":
    crew = hire(1, work, {"model": nn.Linear(1, 1)})
    assert crew.hear() == ["here"]
    raise OSError("the disk is full")
"""


def test_a_training_that_fails_does_not_wait_for_its_helpers(tmp_path: Path) -> None:
    script = tmp_path / "fails.py"
    script.write_text(FAILS)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("OSError: the disk is full")
