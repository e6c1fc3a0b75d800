"""Two towers that meet in one space: a picture and a sentence are near each other when they belong together.

CLIP and SigLIP are this module; they differ in pools, heads and the loss.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omni.model.patch_embed import Grid
from omni.model.reach import CAUSAL, EVERYTHING
from omni.model.stack import Stack, StackSpec
from omni.model.vision import VisionTransformer


@dataclass(frozen=True)
class TextSpec:
    """A small language tower and where its one vector is read."""

    vocabulary: int
    length: int  # positions, and the longest text in tokens
    stack: StackSpec
    causal: bool = True
    # the last position, that of the largest id, or that of the first token with this id
    read_at: Literal["last", "largest"] | int = "largest"


class TextTower(nn.Module):
    """Token ids → one vector."""

    def __init__(self, spec: TextSpec, head: nn.Module | None = None) -> None:
        super().__init__()
        self.spec = spec
        width = spec.stack.block.width
        self.embedding = nn.Embedding(spec.vocabulary, width)
        self.places = nn.Parameter(torch.randn(spec.length, width) * 0.01)
        self.stack = Stack(spec.stack)
        self.head = head or nn.Identity()

    def tokens(self, ids: Tensor) -> Tensor:
        """Ids [batch, tokens] → vectors after the last norm [batch, tokens, width]."""
        n = ids.shape[1]
        if n > self.spec.length:
            raise ValueError(f"a text of {n} tokens is longer than the {self.spec.length} positions: cut it first")
        x = self.embedding(ids) + self.places[:n]
        return self.stack(x, CAUSAL if self.spec.causal else EVERYTHING)

    def where(self, ids: Tensor) -> Tensor:
        """The position that is read, for each text: [batch]."""
        at = self.spec.read_at
        if at == "last":
            return torch.full((len(ids),), ids.shape[1] - 1, device=ids.device)
        return ids.argmax(dim=1) if at == "largest" else (ids == at).int().argmax(dim=1)

    def forward(self, ids: Tensor) -> Tensor:
        """Ids [batch, tokens] → [batch, shared width]."""
        rows = torch.arange(len(ids), device=ids.device)
        read: Tensor = self.head(self.tokens(ids)[rows, self.where(ids)])
        return read


class TwoTower(nn.Module):
    """A picture tower and a text tower, with the scale (and SigLIP's bias) that turn nearness into logits."""

    def __init__(
        self, vision: VisionTransformer, text: TextTower, *, log_scale: float, bias: float | None = None
    ) -> None:
        super().__init__()
        self.vision, self.text = vision, text
        self.initial = (log_scale, bias)
        self.log_scale = nn.Parameter(torch.tensor(float(log_scale)))
        self.bias = None if bias is None else nn.Parameter(torch.tensor(float(bias)))

    def reset_parameters(self) -> None:
        """The scale and the bias as published models begin with them."""
        with torch.no_grad():
            self.log_scale.fill_(self.initial[0])
            if self.bias is not None:
                self.bias.fill_(self.initial[1] or 0.0)

    def image_vectors(self, images: Tensor, grids: Sequence[Grid] | None = None) -> Tensor:
        """Pictures (pixels, or patches with grids) → vectors of length 1 [batch, shared width]."""
        return F.normalize(self.vision(images, grids), dim=-1)

    def text_vectors(self, ids: Tensor) -> Tensor:
        """Ids [batch, tokens] → vectors of length 1 [batch, shared width]."""
        return F.normalize(self.text(ids), dim=-1)

    def logits(self, image: Tensor, text: Tensor) -> Tensor:
        """How well each picture fits each text: [pictures, texts]."""
        logits = image @ text.T * self.log_scale.exp()
        return logits if self.bias is None else logits + self.bias

    def forward(self, images: Tensor, ids: Tensor, grids: Sequence[Grid] | None = None) -> Tensor:
        """Pictures and texts → logits [pictures, texts]."""
        return self.logits(self.image_vectors(images, grids), self.text_vectors(ids))
