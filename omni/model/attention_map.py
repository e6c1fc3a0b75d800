"""What a model looks at: its attention maps as arrays, by patch, by head and rolled out over layers, and as pictures.

maps = AttentionMaps.of(model, pixels)
maps.seen_from(layer=-1, token=0)                     # what the class token looks at, a map for each head
maps.rollout()                                        # through all layers
picture(pixels[0], maps.rollout()[0], Path("seen.png"))
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from omni.model.attention import Attention
from omni.model.patch_embed import Grid
from omni.model.reach import EVERYTHING
from omni.model.vision import VisionTransformer

# From nothing to everything: black, purple, orange, pale yellow; even in lightness, so that it prints in grey.
COLORS = np.array([(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)], dtype=np.float32)


def record(model: nn.Module, *inputs: object) -> dict[str, Tensor]:
    """The attention weights of every self-attention in a model, by its name: each [batch, heads, queries, keys].

    Works for any model that is made of our blocks; of Swin the batch is that of the windows.
    """
    found: dict[str, Tensor] = {}
    hooks = []
    for name, module in model.named_modules():
        if isinstance(module, Attention):

            def look(attention: nn.Module, given: tuple[Any, ...], named: dict[str, Any], *, name: str = name) -> None:
                seen: dict[str, Any] = {"reach": EVERYTHING, "rotation": None, "memory": None}
                seen |= dict(zip(("x", "reach", "rotation", "cache", "memory"), given, strict=False)) | named
                if seen["memory"] is None:
                    found[name] = cast(Attention, attention).weights(seen["x"], seen["reach"], seen["rotation"])

            hooks.append(module.register_forward_pre_hook(look, with_kwargs=True))
    try:
        with torch.no_grad():
            model(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return found


@dataclass(frozen=True)
class AttentionMaps:
    """The attention of a vision transformer over one batch."""

    layers: list[Tensor]  # each [batch, heads, tokens, tokens], first layer first
    front: int  # class, distillation and register tokens, before the patches
    grid: Grid

    @classmethod
    def of(cls, model: VisionTransformer, images: Tensor, grid: Grid | None = None) -> "AttentionMaps":
        """Run the model once over pixels, or over patches of one grid, and keep what it looked at."""
        grids = None if grid is None else [grid] * len(images)
        found = record(model, images, grids) if grids else record(model, images)
        layers = [weights for name, weights in found.items() if name.startswith("stack.")]
        if grid is None:
            with torch.no_grad():
                x, grid = model.embed(images[:1])
            grid = grid or model.grid_of(x.shape[1])
        return cls(layers, model.spec.front, grid)

    def seen_from(self, layer: int = -1, token: int = 0, head: int | None = None) -> Tensor:
        """What one token looks at in a layer: [batch, heads, rows, columns], or of one head [batch, rows, columns]."""
        maps = self.layers[layer][:, :, token, self.front :].unflatten(-1, self.grid)
        return maps if head is None else maps[:, head]

    def from_patch(self, row: int, column: int, layer: int = -1, head: int | None = None) -> Tensor:
        """What one patch looks at: as `seen_from`."""
        rows, columns = self.grid
        if not (0 <= row < rows and 0 <= column < columns):
            raise ValueError(f"patch ({row}, {column}) is outside the grid of {rows}×{columns}")
        return self.seen_from(layer, self.front + row * columns + column, head)

    def rollout(self, token: int | None = None, *, residual: float = 0.5) -> Tensor:
        """How much of each patch arrives in a token through all layers: [batch, rows, columns].

        Heads are averaged, the residual path is counted as looking at oneself, and the layers are multiplied
        (Abnar and Zuidema 2020). Without a token: the first where there is one in front, else the mean of the patches.
        """
        rolled = None
        for weights in self.layers:
            mean = weights.float().mean(1)  # [batch, tokens, tokens]
            mixed = (1 - residual) * mean + residual * torch.eye(mean.shape[-1], device=mean.device)
            rolled = mixed if rolled is None else mixed @ rolled
        if rolled is None:
            raise ValueError("the model has no layers")
        if token is None and not self.front:
            return rolled[:, :, self.front :].mean(1).unflatten(-1, self.grid)
        return rolled[:, token or 0, self.front :].unflatten(-1, self.grid)


def heat(values: Tensor | NDArray[np.float32], size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """A map [rows, columns] as colours [height, width, 3], from its least to its largest value."""
    x = np.asarray(values.detach().float().cpu() if isinstance(values, Tensor) else values, dtype=np.float32)
    x = (x - x.min()) / max(float(x.max() - x.min()), 1e-12)
    if size is not None:
        image = torch.from_numpy(x)[None, None]
        x = nn.functional.interpolate(image, size=(size[1], size[0]), mode="bilinear")[0, 0].numpy()
    place = x * (len(COLORS) - 1)
    low = np.clip(place.astype(int), 0, len(COLORS) - 2)
    part = (place - low)[..., None]
    return np.rint(COLORS[low] * (1 - part) + COLORS[low + 1] * part).astype(np.uint8)


def picture(
    pixels: Tensor, maps: Tensor | Sequence[Tensor], path: Path | None = None, *, strength: float = 0.6
) -> NDArray[np.uint8]:
    """The picture [channels, height, width], and beside it each map [rows, columns] laid over it; written as PNG.

    Pixels may be normalised: they are stretched to the full range of grey or colour.
    """
    from PIL import Image

    base = pixels.detach().float().cpu()
    base = (base - base.min()) / (base.max() - base.min()).clamp_min(1e-12)
    base = base.expand(3, -1, -1) if len(base) == 1 else base[:3]
    shown = np.rint(base.permute(1, 2, 0).numpy() * 255).astype(np.uint8)  # [height, width, 3]
    size = (shown.shape[1], shown.shape[0])
    several = [maps] if isinstance(maps, Tensor) and maps.ndim == 2 else list(maps)
    panels = [shown] + [
        np.rint(shown * (1 - strength) + heat(one, size).astype(np.float32) * strength).astype(np.uint8)
        for one in several
    ]
    joined = np.concatenate(panels, axis=1)
    if path is not None:
        Image.fromarray(joined).save(path, format="PNG")
    return joined
