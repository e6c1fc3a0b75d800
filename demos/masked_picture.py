"""A masked autoencoder paints the three quarters of a picture that it was never shown.

Above what was drawn, in the middle the quarter of the patches that the encoder sees, below what the decoder makes of
them. It has learned that pictures have a few shapes of one colour on a plain ground, each in a quarter of its own: a
speck of colour becomes a spot in the right place, blurred where its outline could be any of several, and where nothing
of a shape is visible it paints the ground. The pictures shown were not in the training.
"""

from random import Random

import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.ticker import NullFormatter
from stage import open_stage, train

from omni.model.attention import AttentionSpec
from omni.model.block import BlockSpec
from omni.model.masked_autoencoder import MaeSpec, MaskedAutoencoder
from omni.model.mlp import MlpSpec
from omni.model.norm import Norm
from omni.model.patch_embed import PatchSpec, cut, join
from omni.model.stack import StackSpec
from omni.model.vision import VisionSpec
from omni.train.pictures import draw, random_scene

SIDE, PATCH, BATCH, SHOWN = 32, 4, 32, 6  # pixels, pixels, pictures, pictures
RATE = 3e-3
HIDDEN = torch.tensor([0.62, 0.58, 0.98])  # lilac, which no picture has


def pictures(count: int, seed: int) -> torch.Tensor:
    """Drawn scenes of one to four shapes, in −1 … 1: [count, 3, SIDE, SIDE]."""
    random = Random(seed)
    drawn = np.stack([draw(random_scene(random, "figures")) for _ in range(count)])
    small = (
        torch.from_numpy(drawn)
        .permute(0, 3, 1, 2)
        .float()
        .unflatten(3, (SIDE, -1))
        .unflatten(2, (SIDE, -1))
        .mean((3, 5))
    )
    return small / 127.5 - 1


stage = open_stage(__doc__, "masked_picture")
steps, count = (12, 60) if stage.quick else (1000, 3000)
encoder = StackSpec(BlockSpec(96, AttentionSpec(4), MlpSpec(288)), 4, final_norm=Norm())
decoder = StackSpec(BlockSpec(64, AttentionSpec(4), MlpSpec(192)), 1, final_norm=Norm())
vision = VisionSpec(encoder, PatchSpec(PATCH), (SIDE // PATCH, SIDE // PATCH), positions="fixed")
model = MaskedAutoencoder(MaeSpec(vision, decoder, ratio=0.75, normalised=False))
known, held = pictures(count, seed=1), pictures(32, seed=2)


def paint(step: int) -> torch.Tensor:
    return model(known[torch.randint(len(known), (BATCH,))], seeds=range(step * BATCH, (step + 1) * BATCH)).loss


losses = train(model, steps, RATE, "painting", paint)
with torch.no_grad():
    painted = model.eval()(held, seeds=range(len(held)))
    filled = model.picture(painted, held)
patches, grid = cut(held, model.target_spec)
masked = join(torch.where(painted.hidden[..., None], HIDDEN.repeat(PATCH**2), patches), grid, model.target_spec)
visible = ~painted.hidden[..., None]  # [pictures, patches, 1]
mean = (patches * visible).sum(1, keepdim=True) / visible.sum(1, keepdim=True)
plain = ((patches - mean) ** 2)[painted.hidden].mean().item()  # paints the mean of what is seen everywhere

figure = plt.figure(figsize=(11, 4.6), layout="constrained")
figure.suptitle("A masked autoencoder sees a quarter of a picture and paints the rest")
left, right = figure.subfigures(1, 2, width_ratios=(3, 1.3))
rows = [("drawn", held), ("seen: 25 %", masked), ("painted", filled)]
axes = left.subplots(3, SHOWN)
for row, (name, images) in zip(axes, rows, strict=True):
    row[0].set_ylabel(name)
    for axis, image in zip(row, images, strict=False):
        axis.imshow(((image + 1) / 2).clamp(0, 1).permute(1, 2, 0))
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
axis = right.subplots()
axis.plot(losses, color="#1d5fc4", linewidth=0.8, label="training")
axis.axhline(plain, color="#b02060", linestyle="--", label="the mean of what is seen")
axis.axhline(painted.loss.item(), color="#08705a", label="pictures never seen")
axis.set(
    yscale="log",
    yticks=(0.05, 0.1, 0.2, 0.5),
    yticklabels=(0.05, 0.1, 0.2, 0.5),
    xlabel="step",
    title="squared error on hidden patches",
)
axis.yaxis.set_minor_formatter(NullFormatter())
axis.legend()
stage.close(
    figure, f"error on hidden patches of new pictures {painted.loss:.4f}; the mean of what is seen: {plain:.4f}"
)
