"""How every benchmark here measures, prints and is written down.

Ours and its peers run in turn in one process (A B A B …), so that a machine whose speed drifts
drifts for all of them; what counts is the median of the paired ratios. A ratio above 1 means ours is better.
"""

import argparse
import gc
import importlib.metadata
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from statistics import median

DOCS = Path(__file__).parents[2] / "docs" / "bench"
VERSIONS = (
    "numpy", "torch", "torchaudio", "torchvision", "transformers", "tiktoken", "tokenizers", "soxr", "librosa",
    "openai-whisper", "faster-whisper", "timm", "open-clip-torch", "rustbpe", "websockets",
    "uvloop", "fastapi", "uvicorn",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One line of a benchmark: ours beside one peer, medians in `unit`, and the bar it has to reach."""

    work: str
    ours: float
    peer: float
    peer_name: str
    unit: str  # of `ours` and `peer`
    ratio: float  # > 1 means ours is better
    bar: float | None  # the ratio to reach; None where the row only informs
    holds: bool | None
    runs: int


def compare(
    work: str,
    ours: Callable[[], object],
    peers: Mapping[str, Callable[[], object]],
    *,
    bar: float | Mapping[str, float] | None = None,
    runs: int = 15,
    warmup: int = 2,
    per_call: int = 1,
) -> list[Row]:
    """Time `ours` against every peer, interleaved; a row for each peer, in milliseconds a call.

    `bar` is the ratio to reach: one for all peers, or one by peer name (peers without one only inform).
    `per_call` repeats a function that is too short for the clock.
    """

    def once(call: Callable[[], object]) -> float:
        begin = time.perf_counter()
        for _ in range(per_call):
            call()
        return (time.perf_counter() - begin) * 1e3 / per_call

    contestants = {"": ours, **peers}
    for call in contestants.values():
        for _ in range(warmup):
            call()
    times: dict[str, list[float]] = {name: [] for name in contestants}
    gc.collect()
    gc.disable()
    try:
        for _ in range(runs):
            for name, call in contestants.items():
                times[name].append(once(call))
    finally:
        gc.enable()
    rows = []
    for name in peers:
        ratio = median(theirs / own for own, theirs in zip(times[""], times[name], strict=True))
        goal = bar.get(name) if isinstance(bar, Mapping) else bar
        rows.append(
            Row(work, median(times[""]), median(times[name]), name, "ms", ratio, goal,
                None if goal is None else ratio >= goal, runs)
        )  # fmt: skip
    return rows


def machine() -> str:
    """Name the processor, its cores and the accelerator, never the host."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    text = f"{model}, {os.cpu_count()} cores, {platform.system()}"
    if "torch" in sys.modules:
        import torch

        if torch.cuda.is_available():
            text += f", {torch.cuda.get_device_name()}"
    return text


def table(rows: Iterable[Row]) -> str:
    """The rows as an aligned table for the terminal."""
    head = ("work", "ours", "peer", "peer is", "ratio", "bar", "")
    lines = [
        (r.work, f"{r.ours:.3g} {r.unit}", f"{r.peer:.3g} {r.unit}", r.peer_name, f"{r.ratio:.2f}×",
         "–" if r.bar is None else f"≥ {r.bar:g}×", {None: "", True: "holds", False: "MISSED"}[r.holds])
        for r in rows
    ]  # fmt: skip
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in (head, *lines)
    )


def write(name: str, rows: list[Row]) -> Path:
    """Write the rows to docs/bench/NAME.json with the machine, the date and the versions of every peer."""
    versions = {"python": platform.python_version()}
    for package in VERSIONS:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    path = DOCS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    report = {
        "machine": machine(),
        "date": date.today().isoformat(),
        "versions": versions,
        "rows": [asdict(r) for r in rows],
    }
    path.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    return path


Work = Callable[[bool], Iterable[Row]]


def main(name: str, works: Mapping[str, Work], about: str) -> int:
    """Run the named works, print the table as it grows, write the JSON unless `--quick` or `--only` cut it short."""
    parser = argparse.ArgumentParser(prog=f"make bench-{name}", description=about)
    parser.add_argument("--quick", action="store_true", help="fewer runs, done in a minute; writes no JSON")
    parser.add_argument("--only", choices=sorted(works), help="one part alone; writes no JSON")
    args = parser.parse_args()
    rows: list[Row] = []
    for part, work in works.items():
        if args.only in (None, part):
            print(f"… {part}", file=sys.stderr, flush=True)
            rows += work(args.quick)
    print(table(rows))
    if not args.quick and args.only is None:
        print(f"written to {write(name, rows).relative_to(Path.cwd())}")
    return 0 if all(r.holds is not False for r in rows) else 1
