"""The published sizes of the vision transformer by name; `VIT["base"].spec()` is ready to be built.

A size can be built on the meta device to be counted, which costs no memory:

>>> with torch.device("meta"):
...     model = VisionTransformer(VIT["base"].spec())
>>> round(sum(p.numel() for p in model.parameters()) / 1e6, 1)
85.8
"""

from dataclasses import dataclass

import torch  # noqa: F401  # the doctest's

from omni.model.attention import AttentionSpec
from omni.model.block import BlockSpec
from omni.model.mlp import MlpSpec
from omni.model.norm import Norm
from omni.model.patch_embed import PatchSpec
from omni.model.stack import StackSpec
from omni.model.vision import VisionSpec, VisionTransformer  # noqa: F401  # the doctest's


@dataclass(frozen=True)
class Size:
    """Width, depth and heads of one published size."""

    width: int
    depth: int
    heads: int
    hidden: int
    patch: int = 16

    def spec(self, *, image: int = 224, patch: int | None = None) -> VisionSpec:
        """The usual ViT of this size for square pictures of `image` pixels."""
        return self._spec(Norm("layer", eps=1e-6), image, patch or self.patch)

    def _spec(self, norm: Norm, image: int, patch: int) -> VisionSpec:
        block = BlockSpec(self.width, AttentionSpec(self.heads), MlpSpec(self.hidden), norm)
        stack = StackSpec(block, self.depth, final_norm=norm)
        return VisionSpec(stack, PatchSpec(patch), (image // patch, image // patch))


@dataclass(frozen=True)
class ParallelSize(Size):
    """ViT-22B's changes: branches in parallel, normalised queries and keys, no bias on them, norms without centre."""

    patch: int = 14

    def _spec(self, norm: Norm, image: int, patch: int) -> VisionSpec:
        norm = Norm("rms", eps=norm.eps)
        attention = AttentionSpec(self.heads, bias=False, qk_norm=norm)
        block = BlockSpec(self.width, attention, MlpSpec(self.hidden), norm, arrangement="parallel")
        stack = StackSpec(block, self.depth, final_norm=norm)
        return VisionSpec(stack, PatchSpec(patch), (image // patch, image // patch), class_token=False)


VIT: dict[str, Size] = {
    "tiny": Size(192, 12, 3, 768),
    "small": Size(384, 12, 6, 1536),
    "base": Size(768, 12, 12, 3072),
    "large": Size(1024, 24, 16, 4096),
    "huge": Size(1280, 32, 16, 5120, patch=14),
    "22b": ParallelSize(6144, 48, 48, 24576),
}
