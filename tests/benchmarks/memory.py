"""Peak memory of a piece of work, each contestant in a process of its own, since a peak never comes down.

And a setting that takes the memory allocator out of what is timed.
"""

import ctypes
import gc
import importlib
import resource
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.harness import Row


def keep_freed_memory() -> None:
    """Let glibc keep what is freed, as a GPU's allocator does.

    As it stands, every array above 32 MB is fresh from the kernel, page by page, and goes back at once: for the
    gradients of a large matrix that is a tenth of a training step, and it hits one matrix of 35 MB and not two of 17.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        trim_threshold, mmap_max = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of malloc.h
        libc.mallopt(mmap_max, 0)
        libc.mallopt(trim_threshold, 2**31 - 1)


def peak(module: str, function: str, *arguments: str) -> float:
    """The largest resident memory, MB, of a fresh process that calls `module.function(*arguments)`."""
    command = [sys.executable, "-m", "tests.benchmarks.memory", module, function, *arguments]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def compare_peaks(
    work: str, module: str, function: str, ours: tuple[str, ...], peers: dict[str, tuple[str, ...]],
    bar: float | None = None, runs: int = 1,
) -> list[Row]:  # fmt: skip
    """A row for each peer: our peak beside theirs, MB."""
    mine = min(peak(module, function, *ours) for _ in range(runs))
    rows = []
    for name, arguments in peers.items():
        theirs = min(peak(module, function, *arguments) for _ in range(runs))
        ratio = theirs / mine
        rows.append(Row(work, mine, theirs, name, "MB", ratio, bar, None if bar is None else ratio >= bar, runs))
    return rows


def forget_peak() -> None:
    """Count the peak from here on: what building the contestant took is not its work (Linux only)."""
    gc.collect()
    if sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark to what is resident now


def own_peak() -> float:
    """The largest resident memory of this process, MB, since it began or since `forget_peak`."""
    if sys.platform == "linux":
        # Not ru_maxrss: a process that was started from a larger one reports its parent's peak there.
        (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) / 1e3  # kB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # macOS counts bytes


if __name__ == "__main__":
    getattr(importlib.import_module(sys.argv[1]), sys.argv[2])(*sys.argv[3:])
    print(own_peak())
