"""Learned positions of a picture: a row for each place of the grid they were learned on, resized to any other grid."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from omni.model.patch_embed import Grid
from omni_tokenizers.image import Resampling, resample_positions


class PositionTable(nn.Module):
    """A table [front + rows·columns, width]; the first `front` rows belong to tokens before the patches."""

    def __init__(
        self, width: int, grid: Grid, *, front: int = 0, resampling: str | Resampling = "vit", fixed: bool = False
    ) -> None:
        """`fixed` tables are sines and cosines that no training moves (MAE)."""
        super().__init__()
        self.grid, self.front, self.fixed = grid, front, fixed
        self.resampling = Resampling.named(resampling) if isinstance(resampling, str) else resampling
        self.table = nn.Parameter(torch.empty(front + grid[0] * grid[1], width), requires_grad=not fixed)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Untrained values: small noise, or sines and cosines with zeros for the front tokens."""
        with torch.no_grad():
            if self.fixed:
                self.table.zero_()[self.front :] = waves(self.table.shape[1], self.grid)
            else:
                self.table.normal_(std=0.02)

    def before(self) -> Tensor:
        """The rows of the tokens before the patches: [front, width]."""
        return self.table[: self.front]

    def on(self, grid: Grid) -> Tensor:
        """The rows of the patches of a grid: [rows·columns, width], resized where it is not the grid of the table."""
        return resample_positions(self.table[self.front :], grid, self.resampling, source=self.grid)

    def padded(self, grids: Sequence[Grid], length: int) -> Tensor:
        """Each picture's rows, then zeros: [batch, length, width]."""
        rows = {grid: self.on(grid) for grid in set(grids)}  # a batch has few shapes
        return torch.stack([nn.functional.pad(rows[grid], (0, 0, 0, length - len(rows[grid]))) for grid in grids])


def waves(width: int, grid: Grid) -> Tensor:
    """MAE's fixed table [rows·columns, width]: sines and cosines of the column, then of the row."""
    if width % 4:
        raise ValueError(f"width {width} is no multiple of 4, so it cannot hold sines and cosines of two axes")
    frequency = 10_000.0 ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    rows, columns = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in grid), indexing="ij")
    angles = [place.reshape(-1, 1) * frequency for place in (columns, rows)]  # each [n, width/4]
    return torch.cat([wave for angle in angles for wave in (angle.sin(), angle.cos())], dim=1).float()
