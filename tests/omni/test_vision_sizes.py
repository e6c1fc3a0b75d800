"""The published sizes, counted on the meta device."""

import timm
import torch
from timm.layers import RmsNorm
from timm.models.vision_transformer import ParallelScalingBlock

from omni.model.attention import AttentionSpec
from omni.model.block import BlockSpec
from omni.model.mlp import MlpSpec
from omni.model.norm import Norm
from omni.model.parallel import ParallelBlock
from omni.model.vision import VisionTransformer
from omni.model.vision_sizes import VIT
from tests.parity.published import assert_same_numbers, randomise


def count(name: str, image: int = 224) -> int:
    """Parameters without a head, at no cost in memory."""
    with torch.device("meta"):
        return sum(p.numel() for p in VisionTransformer(VIT[name].spec(image=image)).parameters())


def test_the_sizes_have_as_many_weights_as_timms() -> None:
    published = {
        "tiny": "vit_tiny_patch16_224",
        "small": "vit_small_patch16_224",
        "base": "vit_base_patch16_224",
        "large": "vit_large_patch16_224",
        "huge": "vit_huge_patch14_224",
    }
    for name, architecture in published.items():
        with torch.device("meta"):
            theirs = timm.create_model(architecture, num_classes=0)
        assert count(name) == sum(p.numel() for p in theirs.parameters()), name


def test_vit_22b_has_the_published_number_of_weights() -> None:
    found = count("22b")
    assert abs(found / 21.743e9 - 1) < 1e-3, f"{found:,}"


def test_a_parallel_block_is_timms() -> None:
    theirs = ParallelScalingBlock(32, 4, qkv_bias=False, qk_norm=True, norm_layer=RmsNorm)
    randomise(theirs)
    norm = Norm("rms", eps=theirs.in_norm.eps)
    spec = BlockSpec(32, AttentionSpec(4, bias=False, qk_norm=norm), MlpSpec(128), norm, arrangement="parallel")
    ours = ParallelBlock(spec)
    with torch.no_grad():
        up, qkv = theirs.in_proj.weight.split([128, 96])
        ours.attention.attention.qkv.weight.copy_(qkv)
        ours.attention.attention.out.load_state_dict(theirs.attn_out_proj.state_dict())
        ours.attention.attention.query_norm.load_state_dict(theirs.q_norm.state_dict())
        ours.attention.attention.key_norm.load_state_dict(theirs.k_norm.state_dict())
        ours.mlp.up.weight.copy_(up)
        ours.mlp.up.bias.copy_(theirs.mlp_bias)
        ours.mlp.down.load_state_dict(theirs.mlp_out_proj.state_dict())
        ours.norm.load_state_dict(theirs.in_norm.state_dict())
    x = torch.randn(2, 7, 32)
    assert_same_numbers(ours(x), theirs(x))
