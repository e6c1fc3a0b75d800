"""MAE: hide most of a picture, show the rest to a vision transformer, and let a small decoder paint what is missing."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from omni.model.patch_embed import Grid, cut, join
from omni.model.position_table import PositionTable
from omni.model.stack import Stack, StackSpec
from omni.model.vision import VisionSpec, VisionTransformer
from omni_tokenizers.image import Masking, mask_from_noise, masked_loss, patch_targets, random_mask


@dataclass(frozen=True)
class MaeSpec:
    """An encoder for what is seen and a smaller decoder for everything."""

    encoder: VisionSpec  # one class token in front
    decoder: StackSpec
    ratio: float = 0.75  # of the patches, hidden
    normalised: bool = True  # predict each patch without its own mean and variance


@dataclass(frozen=True)
class Painted:
    """What the decoder made of a batch."""

    predicted: Tensor  # [batch, n, dim], in the order (row, column, channel)
    target: Tensor  # [batch, n, dim]
    hidden: Tensor  # bool [batch, n], True where the encoder saw nothing
    grid: Grid

    @property
    def loss(self) -> Tensor:
        """Mean squared error of each patch, then the mean over the hidden ones."""
        loss: Tensor = masked_loss(self.predicted, self.target, self.hidden)
        return loss


class MaskedAutoencoder(nn.Module):
    """Pixels → a reconstruction of the patches that were hidden."""

    def __init__(self, spec: MaeSpec) -> None:
        super().__init__()
        if spec.encoder.front != 1:
            raise ValueError(f"the encoder has {spec.encoder.front} tokens in front; MAE has the class token alone")
        self.spec = spec
        self.target_spec = replace(spec.encoder.patch, order="hwc")
        width = spec.decoder.block.width
        self.encoder = VisionTransformer(spec.encoder)
        self.narrow = nn.Linear(spec.encoder.stack.block.width, width)
        self.mask_token = nn.Parameter(torch.randn(1, width) * 0.02)
        self.positions = PositionTable(width, spec.encoder.grid, front=1, fixed=True)
        self.decoder = Stack(spec.decoder)
        self.predict = nn.Linear(width, spec.encoder.patch.dim)

    def draw(self, n: int, batch: int, seeds: Sequence[int] | None, noise: Tensor | None) -> list[Masking]:
        """One mask a picture: from its own seed, from given noise [batch, n], or from torch's generator."""
        if noise is not None:
            return [mask_from_noise(row, self.spec.ratio) for row in noise.cpu().double().numpy()]
        if seeds is None:
            seeds = torch.randint(2**31, (batch,)).tolist()
        return [random_mask(n, self.spec.ratio, seed=seed) for seed in seeds]

    def encode(self, pixels: Tensor, masks: Sequence[Masking]) -> Tensor:
        """What the encoder makes of the visible patches: [batch, 1 + kept, width]."""
        patches, _ = self.encoder.patches(pixels)
        return self.encoder.encode(take(patches, index(masks, "keep", patches.device)))[0]

    def decode(self, seen: Tensor, masks: Sequence[Masking], grid: Grid) -> Tensor:
        """Predictions for every patch: [batch, n, dim]."""
        x = self.narrow(seen)
        batch, kept, _ = x.shape
        restore = index(masks, "restore", x.device)  # [batch, n]
        missing = self.mask_token.expand(batch, restore.shape[1] + 1 - kept, -1)
        x = torch.cat([x[:, :1], take(torch.cat([x[:, 1:], missing], dim=1), restore)], dim=1)  # [batch, 1 + n, width]
        x = x + torch.cat([self.positions.before(), self.positions.on(grid)])
        return self.predict(self.decoder(x)[:, 1:])

    def forward(self, pixels: Tensor, *, seeds: Sequence[int] | None = None, noise: Tensor | None = None) -> Painted:
        """Pixels [batch, channels, height, width] → what was painted; `.loss` is what training lowers."""
        target, grid = cut(pixels, self.target_spec)
        masks = self.draw(target.shape[1], len(pixels), seeds, noise)
        predicted = self.decode(self.encode(pixels, masks), masks, grid)
        hidden = index(masks, "mask", pixels.device)
        return Painted(predicted, patch_targets(target) if self.spec.normalised else target, hidden, grid)

    def picture(self, painted: Painted, pixels: Tensor) -> Tensor:
        """The visible patches as they are and the painted ones in their places: [batch, channels, height, width].

        What predicts normalised patches is brought back with the mean and variance of the true patch.
        """
        true, _ = cut(pixels, self.target_spec)
        filled = painted.predicted
        if self.spec.normalised:
            filled = filled * (true.var(-1, keepdim=True) + 1e-6) ** 0.5 + true.mean(-1, keepdim=True)
        return join(torch.where(painted.hidden[..., None], filled, true), painted.grid, self.target_spec)


def index(masks: Sequence[Masking], name: str, device: torch.device) -> Tensor:
    """One field of every mask: [batch, …]."""
    return torch.from_numpy(np.stack([getattr(mask, name) for mask in masks])).to(device)


def take(x: Tensor, at: Tensor) -> Tensor:
    """Rows of x [batch, n, width] in the order of `at` [batch, m]: [batch, m, width]."""
    return x.gather(1, at[..., None].expand(-1, -1, x.shape[-1]))
