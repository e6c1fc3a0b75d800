"""A convolution knows beforehand what a transformer has to learn: it leads where data are few, and the lead melts."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

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
CLASSES = 4  # strokes: lying, standing, rising, falling
STEPS = 250


def strokes(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noisy pictures of one short stroke anywhere, [count, 1, SIDE, SIDE], and its direction."""
    random = torch.Generator().manual_seed(seed)
    kind = torch.randint(CLASSES, (count,), generator=random)
    x, y = (5 + (SIDE - 11) * torch.rand(count, generator=random) for _ in range(2))
    angle = kind * math.pi / CLASSES
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    dx, dy = columns - x[:, None, None], rows - y[:, None, None]  # [count, SIDE, SIDE]
    c, s = angle.cos()[:, None, None], angle.sin()[:, None, None]
    along, across = dx * c + dy * s, dy * c - dx * s
    picture = ((along.abs() < 4.5) & (across.abs() < 1.0)).float()
    return (picture + 0.35 * torch.randn(picture.shape, generator=random))[:, None], kind


def vit() -> nn.Module:
    block = BlockSpec(48, AttentionSpec(4), MlpSpec(96), Norm("layer", 1e-6))
    spec = VisionSpec(StackSpec(block, 3), PatchSpec(4, 1), (SIDE // 4, SIDE // 4), class_token=False)
    return VisionTransformer(spec, pool=Mean(), pool_norm=Norm(), head=nn.Linear(48, CLASSES))


def accuracy_after(model: nn.Module, data: tuple[Tensor, Tensor], held: tuple[Tensor, Tensor]) -> float:
    images, kinds = data
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    random = torch.Generator().manual_seed(0)
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1, (step + 1) / 30) * (1 + math.cos(math.pi * step / STEPS)) / 2
        chosen = torch.randint(len(images), (48,), generator=random)
        optimizer.zero_grad()
        F.cross_entropy(model(images[chosen]), kinds[chosen]).backward()
        optimizer.step()
    with torch.no_grad():
        return (model.eval()(held[0]).argmax(1) == held[1]).float().mean().item()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_cnn_leads_on_few_pictures_and_the_transformer_catches_up_on_many() -> None:
    held = strokes(1000, seed=1)
    few, many = strokes(120, seed=2), strokes(12_000, seed=3)
    scores = {}
    for name, data in (("few", few), ("many", many)):
        for kind, make in (("cnn", lambda: Cnn(CnnSpec(8, (1, 1), 1, CLASSES))), ("vit", vit)):
            torch.manual_seed(0)
            scores[kind, name] = accuracy_after(make(), data, held)
    print(scores)
    assert scores["cnn", "few"] > scores["vit", "few"] + 0.10
    assert scores["vit", "many"] > scores["vit", "few"] + 0.20
    assert scores["cnn", "many"] - scores["vit", "many"] < scores["cnn", "few"] - scores["vit", "few"]
    assert scores["vit", "many"] > 0.80  # chance is 0.25
