"""The vision transformer: patches and a few learned tokens in front, the shared stack, a pool and a head.

ViT, DeiT, DINOv2, the encoder of MAE and the picture towers of CLIP and SigLIP are this module with other parts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from omni.model.norm import Norm
from omni.model.patch_embed import Grid, PatchEmbed, PatchSpec
from omni.model.pool import ClassToken
from omni.model.position_table import PositionTable
from omni.model.reach import EVERYTHING, Reach
from omni.model.stack import Stack, StackSpec
from omni_tokenizers.image import PatchGrid, Resampling, pad_patches

PATCH = PatchSpec()


@dataclass(frozen=True)
class VisionSpec:
    """Everything but the pool and the head. Tokens in front are: class, distillation, registers, in this order."""

    stack: StackSpec
    patch: PatchSpec = PATCH
    grid: Grid = (14, 14)  # what the position table was learned on
    resampling: str | Resampling = "vit"  # how it is brought to another grid: a preset of omni_tokenizers.image
    positions: Literal["learned", "fixed", "none"] = "learned"  # `fixed`: MAE's sines and cosines
    class_token: bool = True
    distillation: bool = False
    registers: int = 0
    placed: int | None = None  # how many of the front tokens have a position; None: all but the registers
    entry_norm: Norm | None = None  # before the first block (CLIP)

    @property
    def front(self) -> int:
        """Tokens before the patches."""
        return self.class_token + self.distillation + self.registers


class VisionTransformer(nn.Module):
    """Pictures → logits, or whatever the head makes of the pooled vector.

    Pictures are pixels [batch, channels, height, width], or patches [batch, n, dim] with the grid of each picture,
    padded at the end where pictures differ in size.
    """

    def __init__(
        self,
        spec: VisionSpec,
        *,
        embed: nn.Module | None = None,
        pool: nn.Module | None = None,
        pool_norm: Norm | None = None,
        head: nn.Module | None = None,
    ) -> None:
        """`embed` replaces the linear patch embedding (a convolutional stem); the default pool is the class token."""
        super().__init__()
        self.spec = spec
        width = spec.stack.block.width
        self.embed = embed or PatchEmbed(width, spec.patch)
        self.class_token = nn.Parameter(torch.randn(1, width) * 0.02) if spec.class_token else None
        self.distillation_token = nn.Parameter(torch.randn(1, width) * 0.02) if spec.distillation else None
        self.register_tokens = nn.Parameter(torch.randn(spec.registers, width) * 0.02) if spec.registers else None
        self.placed = spec.front - spec.registers if spec.placed is None else spec.placed
        self.positions = (
            PositionTable(
                width, spec.grid, front=self.placed, resampling=spec.resampling, fixed=spec.positions == "fixed"
            )
            if spec.positions != "none"
            else None
        )
        self.entry_norm = spec.entry_norm.build(width) if spec.entry_norm else nn.Identity()
        self.stack = Stack(spec.stack)
        self.pool = pool or ClassToken()
        self.pool_norm = pool_norm.build(width) if pool_norm else nn.Identity()
        self.head = head or nn.Identity()

    def front_tokens(self) -> Tensor | None:
        """The tokens before the patches, with their positions: [front, width]."""
        given = (self.class_token, self.distillation_token, self.register_tokens)
        parts: list[Tensor] = [t for t in given if t is not None]
        if not parts:
            return None
        front = torch.cat(parts) if len(parts) > 1 else parts[0]
        if self.positions is None or not self.placed:
            return front
        return torch.cat([front[: self.placed] + self.positions.before(), front[self.placed :]])

    def patches(self, images: Tensor, grids: Sequence[Grid] | None = None) -> tuple[Tensor, Tensor | None]:
        """Embedded patches with their positions [batch, n, width], and a mask [batch, n] where some are padding."""
        x, grid = self.embed(images)
        if grids is None:
            grid = grid or self.grid_of(x.shape[1])
            return x if self.positions is None else x + self.positions.on(grid).to(x.dtype), None
        counts = [rows * columns for rows, columns in grids]
        if len(grids) != len(x) or max(counts) > x.shape[1]:
            raise ValueError(
                f"patches are [{len(x)}, {x.shape[1]}, …] and grids are {list(grids)}: one grid (rows, columns) a "
                f"picture, none with more than {x.shape[1]} patches"
            )
        if self.positions is not None:
            x = x + self.positions.padded(grids, x.shape[1]).to(x.dtype)
        if min(counts) == x.shape[1]:
            return x, None
        return x, torch.arange(x.shape[1], device=x.device) < torch.tensor(counts, device=x.device)[:, None]

    def grid_of(self, n: int) -> Grid:
        """The grid that `n` patches must have when nobody says: the one the positions were learned on, or a square."""
        rows, columns = self.spec.grid
        side = round(n**0.5)
        if rows * columns != n and side * side != n:
            raise ValueError(f"{n} patches are neither {rows}×{columns} nor a square: pass grids=[(rows, columns), …]")
        return (rows, columns) if rows * columns == n else (side, side)

    def encode(
        self, patches: Tensor, mask: Tensor | None = None, states: list[Tensor] | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Embedded patches [batch, n, width] through the stack → [batch, front + n, width], and the mask for all."""
        front = self.front_tokens()
        x = patches
        if front is not None:
            x = torch.cat([front.to(x.dtype).expand(len(x), -1, -1), x], dim=1)
            mask = None if mask is None else nn.functional.pad(mask, (len(front), 0), value=True)
        reach = EVERYTHING if mask is None else Reach(allowed=mask[:, None, None, :])
        return self.stack(self.entry_norm(x), reach, states=states), mask

    def tokens(self, images: Tensor, grids: Sequence[Grid] | None = None, states: list[Tensor] | None = None) -> Tensor:
        """All token vectors after the last norm: [batch, front + n, width]; `states` collects every layer's."""
        return self.encode(*self.patches(images, grids), states)[0]

    def forward(self, images: Tensor, grids: Sequence[Grid] | None = None) -> Tensor:
        """Pictures → what the head says of the pooled vector; without a head the pooled vector [batch, width]."""
        tokens, mask = self.encode(*self.patches(images, grids))
        head: Tensor = self.head(self.pool_norm(self.pool(tokens, mask)))
        return head

    def see(self, *pictures: PatchGrid) -> Tensor:
        """`forward` for what `omni_tokenizers.Patches` made, of any sizes: one row of the result a picture."""
        return self(*self.batch(pictures))

    def batch(self, pictures: Sequence[PatchGrid]) -> tuple[Tensor, list[Grid]]:
        """Patches [batch, n, dim] on the model's device, padded at the end, and the grid of each picture."""
        padded = pad_patches(pictures)
        slots = {picture.slots for picture in pictures}
        if len(slots) > 1:
            raise ValueError(f"pictures have {sorted(slots)} slots: encode them all with one Patches")
        like = next(self.parameters())
        values = torch.as_tensor(padded.values[:, slots.pop() :]).to(like)  # the model has its own front tokens
        return values, [picture.grid for picture in pictures]
