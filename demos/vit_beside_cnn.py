"""A convolutional network and a vision transformer learn the same task from more and more pictures.

Each picture holds one short stroke in noise, and the question is which way it runs. A convolution knows beforehand
that neighbours belong together and that a stroke is the same wherever it lies; a transformer has to learn both from the
pictures. So the convolution leads where pictures are few, and its lead melts as they become many. Both train for the
same number of steps; only the number of different pictures grows.
"""

import math

import torch
from matplotlib import pyplot as plt
from stage import open_stage
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from omni.model.attention import AttentionSpec
from omni.model.block import BlockSpec
from omni.model.cnn import Cnn, CnnSpec
from omni.model.mlp import MlpSpec
from omni.model.norm import Norm
from omni.model.patch_embed import PatchSpec
from omni.model.pool import Mean
from omni.model.stack import StackSpec
from omni.model.vision import VisionSpec, VisionTransformer

SIDE = 20  # pixels
KINDS = ("lying", "falling", "standing", "rising")
BATCH, RATE, WARM = 48, 2e-3, 30  # pictures, –, steps


def strokes(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noisy pictures of one short stroke anywhere, [count, 1, SIDE, SIDE], and its direction."""
    random = torch.Generator().manual_seed(seed)
    kind = torch.randint(len(KINDS), (count,), generator=random)
    x, y = (5 + (SIDE - 11) * torch.rand(count, generator=random) for _ in range(2))
    angle = kind * math.pi / len(KINDS)
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    dx, dy = columns - x[:, None, None], rows - y[:, None, None]  # [count, SIDE, SIDE]
    c, s = angle.cos()[:, None, None], angle.sin()[:, None, None]
    picture = (((dx * c + dy * s).abs() < 4.5) & ((dy * c - dx * s).abs() < 1.0)).float()
    return (picture + 0.35 * torch.randn(picture.shape, generator=random))[:, None], kind


def vit() -> nn.Module:
    block = BlockSpec(48, AttentionSpec(4), MlpSpec(96), Norm("layer", 1e-6))
    spec = VisionSpec(StackSpec(block, 3), PatchSpec(4, 1), (SIDE // 4, SIDE // 4), class_token=False)
    return VisionTransformer(spec, pool=Mean(), pool_norm=Norm(), head=nn.Linear(48, len(KINDS)))


def cnn() -> nn.Module:
    return Cnn(CnnSpec(8, (1, 1), 1, len(KINDS)))


stage = open_stage(__doc__, "vit_beside_cnn")
steps, counts = (4, (60, 120)) if stage.quick else (250, (120, 1200, 12000))
held, held_kinds = strokes(1000, seed=1)
models = {"convolutional network": (cnn, "#08705a"), "vision transformer": (vit, "#7a3bc2")}
scores: dict[str, list[float]] = {name: [] for name in models}
for count in counts:
    images, kinds = strokes(count, seed=count)
    for name, (make, _) in models.items():
        torch.manual_seed(0)
        model = make()
        optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.05)
        for step in tqdm(range(steps), desc=f"{name}, {count} pictures", mininterval=1):
            for group in optimiser.param_groups:
                group["lr"] = RATE * min(1, (step + 1) / WARM) * (1 + math.cos(math.pi * step / steps)) / 2
            chosen = torch.randint(count, (BATCH,))
            optimiser.zero_grad()
            F.cross_entropy(model(images[chosen]), kinds[chosen]).backward()
            optimiser.step()
        with torch.no_grad():
            scores[name].append((model.eval()(held).argmax(1) == held_kinds).float().mean().item())

figure = plt.figure(figsize=(9, 4), layout="constrained")
figure.suptitle("What a convolution knows beforehand, a transformer has to learn")
left, right = figure.subfigures(1, 2, width_ratios=(1, 2.2))
for kind, axis in enumerate(left.subplots(2, 2).flat):
    axis.imshow(held[held_kinds == kind][0, 0], cmap="gray")
    axis.set(xticks=[], yticks=[], title=KINDS[kind])
axis = right.subplots()
for name, (make, colour) in models.items():
    size = sum(weight.numel() for weight in make().parameters())
    axis.plot(counts, [100 * score for score in scores[name]], "o-", color=colour, label=f"{name}, {size:,} weights")
axis.axhline(100 / len(KINDS), color="0.6", linestyle=":", label="chance")
axis.set(xscale="log", xlabel="different pictures to learn from", ylim=(0, 102), xticks=counts)
axis.set(xticklabels=[f"{count:,}" for count in counts], title="new pictures judged rightly, %")
axis.minorticks_off()
axis.legend(loc="lower right")
stage.close(
    figure,
    *(
        f"{name}: " + ", ".join(f"{s:.0%} after {c:,}" for s, c in zip(scores[name], counts, strict=True))
        for name in models
    ),
)
