"""What all demos share: `--quick`, `--out FILE`, one seed, one look, a plain training loop, one picture at the end."""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib as mpl
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

from omni_server.commands import place_for

FORMATS = (".png", ".svg", ".pdf", ".jpg")
LOOK = {
    "axes.edgecolor": "0.6", "axes.grid": False, "axes.spines.right": False, "axes.spines.top": False,
    "axes.titlelocation": "left", "axes.titlesize": 9, "axes.labelsize": 8.5, "figure.titlesize": 11.5,
    "figure.titleweight": "bold", "font.size": 8.5, "legend.frameon": False, "legend.fontsize": 8, "savefig.dpi": 100,
    "xtick.labelsize": 8, "xtick.major.size": 2, "ytick.labelsize": 8, "ytick.major.size": 2,
}  # fmt: skip


@dataclass(frozen=True)
class Stage:
    """What was asked for on the command line."""

    quick: bool  # a few seconds, to see that it runs: too little training to show anything
    out: Path
    begin: float = field(default_factory=time.perf_counter)

    def close(self, figure: Figure, *findings: str) -> None:
        """Save the picture, and say what it shows and where it lies."""
        figure.savefig(self.out)
        if self.out.suffix.lower() == ".png":  # 96 colours say it as well, in a third of the bytes
            with Image.open(self.out) as picture:
                picture.convert("RGB").quantize(96, dither=Image.Dither.NONE).save(self.out, optimize=True)
        for finding in findings:
            print(finding)
        print(f"{self.out} after {time.perf_counter() - self.begin:.0f} s")
        if self.quick:
            print("This was --quick: a run of a few seconds shows that the demo works, not what it is about.")


def open_stage(about: str, name: str) -> Stage:
    """Read the command line, and set the seed and the look."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few seconds, to see that it runs")
    parser.add_argument(
        "--out", type=Path, default=Path("out", f"{name}.png"), help="the picture (default: %(default)s)"
    )
    args = parser.parse_args()
    if args.out.suffix.lower() not in FORMATS:
        parser.error(f"--out {args.out} ends with {args.out.suffix or 'nothing'}: use one of {', '.join(FORMATS)}")
    try:
        place_for(args.out)
    except OSError as wrong:
        parser.error(f"--out: {wrong}")
    mpl.use("agg")  # a file, never a window
    mpl.rcParams.update(LOOK)
    torch.manual_seed(0)
    # The matrices are small: beside another busy process two threads took nine times as long as one.
    torch.set_num_threads(1)
    return Stage(args.quick, args.out)


def train(model: nn.Module, steps: int, rate: float, about: str, loss_of: Callable[[int], Tensor]) -> list[float]:
    """Lower `loss_of(step)` with AdamW, the rate rising and falling once; the loss of every step."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
    losses = []
    for step in (bar := tqdm(range(steps), desc=about, mininterval=1)):
        loss = loss_of(step)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
        bar.set_postfix(loss=f"{losses[-1]:.3f}", refresh=False)
    return losses
