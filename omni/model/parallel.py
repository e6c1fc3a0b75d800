"""A block whose attention and MLP read the same normalised input side by side: ViT-22B, PaLM."""

from torch import Tensor, nn

from omni.model.attention import Attention, KeyValues
from omni.model.block import BlockSpec, Mixer, Scale
from omni.model.mlp import Mlp
from omni.model.reach import EVERYTHING, Reach
from omni.model.rotary import Turn


class ParallelBlock(nn.Module):
    """x + attention(norm(x)) + mlp(norm(x)): one norm, and two products that need not wait for each other."""

    def __init__(self, spec: BlockSpec, bias: nn.Module | None = None) -> None:
        """`bias` is this layer's attention bias."""
        super().__init__()
        if spec.cross or spec.norm_place == "post":
            raise ValueError("a parallel block has its norm first and no cross-attention")
        self.norm = spec.norm.build(spec.width)
        self.attention = Mixer(Attention(spec.width, spec.attention), bias)
        self.mlp = Mlp(spec.width, spec.mlp)
        self.scale = nn.Identity() if spec.layer_scale is None else Scale(spec.width, spec.layer_scale)

    def forward(
        self,
        x: Tensor,  # [batch, tokens, width]
        reach: Reach = EVERYTHING,
        rotation: Turn | None = None,
        cache: KeyValues | None = None,
        memory: object = None,
        memory_reach: Reach = EVERYTHING,  # noqa: ARG002  # every block of a stack is called alike
    ) -> Tensor:
        """One layer: [batch, tokens, width] → the same shape."""
        if memory is not None:
            raise ValueError("this block has no cross-attention, so it cannot look at a memory")
        y = self.norm(x)
        return x + self.scale(self.attention(y, reach, rotation, cache) + self.mlp(y))
