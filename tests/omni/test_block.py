"""The small parts that every model here is made of, against torch's own and the published ones."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from omni.model.attention import Attention, AttentionSpec
from omni.model.block import Block, BlockSpec
from omni.model.mlp import ACTIVATIONS, Mlp, MlpSpec
from omni.model.norm import Norm
from omni.model.reach import CAUSAL, EVERYTHING, Reach
from omni.model.stack import Stack, StackSpec

REACHES = {
    "everything": EVERYTHING,
    "causal": CAUSAL,
    "padded": Reach.of_lengths(torch.tensor([7, 4]), 7),
    "padded and causal": Reach(causal=True, allowed=Reach.of_lengths(torch.tensor([7, 4]), 7).allowed),
    "biased": Reach(bias=torch.linspace(-2, 2, 4 * 7 * 7).view(1, 4, 7, 7)),
    "biased, padded and causal": Reach(
        True, Reach.of_lengths(torch.tensor([7, 4]), 7).allowed, torch.linspace(-2, 2, 4 * 7 * 7).view(1, 4, 7, 7)
    ),
}


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def as_torch_mask(reach: Reach, batch: int, heads: int, n: int) -> torch.Tensor:
    """The same reach as torch's multi_head_attention_forward takes it: float [batch·heads, n, n]."""
    mask = torch.zeros(batch, heads, n, n)
    if reach.causal:
        mask = mask.masked_fill(torch.ones(n, n).triu(1).bool(), float("-inf"))
    if reach.allowed is not None:
        mask = mask.masked_fill(~reach.allowed, float("-inf"))
    if reach.bias is not None:
        mask = mask + reach.bias
    return mask.flatten(0, 1)


def torchs(attention: Attention, q: torch.Tensor, kv: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """What torch's own multi-head attention makes of the same weights."""
    out, weights = F.multi_head_attention_forward(
        q.transpose(0, 1), kv.transpose(0, 1), kv.transpose(0, 1), q.shape[-1], attention.heads,
        attention.qkv.weight, attention.qkv.bias, None, None, False, 0.0, attention.out.weight, attention.out.bias,
        attn_mask=mask, average_attn_weights=False,
    )  # fmt: skip
    return out.transpose(0, 1), weights


@pytest.mark.parametrize("name", REACHES)
@torch.no_grad()
def test_attention_and_its_map_are_torchs(name: str) -> None:
    reach = REACHES[name]
    attention = Attention(16, AttentionSpec(4)).eval()
    x = torch.randn(2, 7, 16)
    out, weights = torchs(attention, x, x, as_torch_mask(reach, 2, 4, 7))
    assert torch.allclose(attention(x, reach), out, atol=1e-6)
    assert torch.allclose(attention.weights(x, reach), weights, atol=1e-6)


@torch.no_grad()
def test_attention_over_a_memory_is_torchs() -> None:
    attention = Attention(16, AttentionSpec(4)).eval()
    x, memory = torch.randn(2, 3, 16), torch.randn(2, 5, 16)
    out, _ = torchs(attention, x, memory, torch.zeros(8, 3, 5))
    assert torch.allclose(attention(x, memory=memory), out, atol=1e-6)
    assert torch.allclose(attention(x, memory=attention.remember(memory)), out, atol=1e-6)


@pytest.mark.parametrize("name", ["everything", "causal", "padded"])
@torch.no_grad()
def test_heads_that_share_keys_are_heads_with_equal_keys(name: str) -> None:
    grouped = Attention(16, AttentionSpec(4, kv_heads=2)).eval()
    full = Attention(16, AttentionSpec(4)).eval()
    for kind in ("weight", "bias"):
        q, k, v = getattr(grouped.qkv, kind).split((16, 8, 8))
        wide = [part.unflatten(0, (2, 4)).repeat_interleave(2, 0).flatten(0, 1) for part in (k, v)]
        getattr(full.qkv, kind).copy_(torch.cat([q, *wide]))
    full.out.load_state_dict(grouped.out.state_dict())
    x = torch.randn(2, 7, 16)
    assert torch.allclose(grouped(x, REACHES[name]), full(x, REACHES[name]), atol=1e-6)
    assert torch.allclose(grouped.weights(x, REACHES[name]), full.weights(x, REACHES[name]), atol=1e-6)


def test_heads_that_do_not_divide_are_refused_by_their_numbers() -> None:
    with pytest.raises(ValueError, match="6 heads cannot share 4 key-value heads"):
        AttentionSpec(6, kv_heads=4).sizes(24)
    with pytest.raises(ValueError, match="width 10 does not divide into 4 heads: give head_width"):
        AttentionSpec(4).sizes(10)
    assert AttentionSpec(4, head_width=8).sizes(10) == (4, 4, 8)


@pytest.mark.parametrize("kind", ["layer", "rms"])
@torch.no_grad()
def test_a_norm_is_its_formula(kind: str) -> None:
    norm = Norm(kind, eps=1e-2).build(6)
    nn.init.normal_(norm.weight)
    x = torch.randn(3, 6) * 5 + 1
    centred = x - x.mean(-1, keepdim=True) if kind == "layer" else x
    expected = centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-2).sqrt() * norm.weight
    assert torch.allclose(norm(x), expected, atol=1e-5)


def test_an_unknown_norm_or_activation_is_named() -> None:
    with pytest.raises(ValueError, match="norm is 'batch': it is 'layer' or 'rms'"):
        Norm("batch").build(4)
    with pytest.raises(ValueError, match="activation is 'swish': choose one of gelu,"):
        Mlp(4, MlpSpec(8, "swish"))


PUBLISHED = {
    "gelu": "gelu",
    "gelu_tanh": "gelu_pytorch_tanh",
    "quick_gelu": "quick_gelu",
    "silu": "silu",
    "relu": "relu",
}


@pytest.mark.parametrize(("ours", "published"), PUBLISHED.items())
def test_an_activation_is_the_published_one(ours: str, published: str) -> None:
    from transformers.activations import ACT2FN

    x = torch.linspace(-4, 4, 101)
    assert torch.allclose(ACTIVATIONS[ours](x), ACT2FN[published](x), atol=1e-6)


@torch.no_grad()
def test_a_gated_mlp_is_swiglu() -> None:
    mlp = Mlp(4, MlpSpec(6, "silu", gated=True, bias=False))
    x = torch.randn(3, 4)
    gate, up = mlp.up.weight.chunk(2)
    assert torch.allclose(mlp(x), (F.silu(x @ gate.T) * (x @ up.T)) @ mlp.down.weight.T, atol=1e-6)


@pytest.mark.parametrize("place", ["pre", "post"])
@torch.no_grad()
def test_a_block_is_torchs_encoder_layer(place: str) -> None:
    theirs = nn.TransformerEncoderLayer(
        16, 4, 24, 0.0, F.gelu, 1e-6, batch_first=True, norm_first=place == "pre"
    ).eval()
    ours = Block(BlockSpec(16, AttentionSpec(4), MlpSpec(24), norm_place=place)).eval()
    for (_, a), (_, b) in zip(
        [*ours.attention.inner.attention.named_parameters(), *ours.mlp.inner.named_parameters(),
         *ours.attention.norm.named_parameters(), *ours.mlp.norm.named_parameters()],
        [*theirs.self_attn.named_parameters(), *theirs.linear1.named_parameters(), *theirs.linear2.named_parameters(),
         *theirs.norm1.named_parameters(), *theirs.norm2.named_parameters()],
        strict=True,
    ):  # fmt: skip
        a.copy_(b.add_(0.1 * torch.randn_like(b)))
    x = torch.randn(2, 7, 16)
    assert torch.allclose(ours(x), theirs(x), atol=1e-5)


@pytest.mark.parametrize("place", ["pre", "post"])
@torch.no_grad()
def test_a_block_with_a_memory_is_torchs_decoder_layer(place: str) -> None:
    theirs = nn.TransformerDecoderLayer(
        16, 4, 24, 0.0, F.gelu, 1e-6, batch_first=True, norm_first=place == "pre"
    ).eval()
    ours = Block(BlockSpec(16, AttentionSpec(4), MlpSpec(24), norm_place=place, cross=AttentionSpec(4))).eval()
    for a, b in (
        (ours.attention.inner.attention, theirs.self_attn), (ours.cross.inner.attention, theirs.multihead_attn),
        (ours.attention.norm, theirs.norm1), (ours.cross.norm, theirs.norm2), (ours.mlp.norm, theirs.norm3),
        (ours.mlp.inner.up, theirs.linear1), (ours.mlp.inner.down, theirs.linear2),
    ):  # fmt: skip
        for p, q in zip(a.parameters(), b.parameters(), strict=True):
            p.copy_(q.add_(0.1 * torch.randn_like(q)))
    x, memory = torch.randn(2, 7, 16), torch.randn(2, 5, 16)
    triangle = nn.Transformer.generate_square_subsequent_mask(7)
    assert torch.allclose(ours(x, CAUSAL, memory=memory), theirs(x, memory, triangle), atol=1e-5)


def test_a_block_with_cross_attention_asks_for_its_memory() -> None:
    block = Block(BlockSpec(8, AttentionSpec(2), MlpSpec(8), cross=AttentionSpec(2)))
    with pytest.raises(ValueError, match="got no memory: pass memory="):
        block(torch.randn(1, 3, 8))


@torch.no_grad()
def test_layer_scale_multiplies_each_branch() -> None:
    spec = BlockSpec(8, AttentionSpec(2), MlpSpec(8), layer_scale=0.0)
    x = torch.randn(1, 3, 8)
    assert torch.equal(Block(spec)(x), x)
    block = Block(spec)
    block.mlp.scale.factor.fill_(2.0)
    assert torch.allclose(block(x), x + 2 * block.mlp.inner(block.mlp.norm(x)), atol=1e-6)


@torch.no_grad()
def test_a_bias_part_sees_the_blocks_input_and_is_added_to_the_scores() -> None:
    class FarAway(nn.Module):
        """Keys other than the first are out of reach."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            bias = torch.full((1, 1, x.shape[1], x.shape[1]), -1e9)
            bias[..., 0] = 0
            return bias

    biased = Block(BlockSpec(8, AttentionSpec(2), MlpSpec(8)), FarAway())
    only_first = torch.zeros(1, 1, 1, 4, dtype=torch.bool)
    only_first[..., 0] = True
    plain = Block(BlockSpec(8, AttentionSpec(2), MlpSpec(8)))
    plain.load_state_dict(biased.state_dict())
    x = torch.randn(2, 4, 8)
    assert torch.allclose(biased(x), plain(x, Reach(allowed=only_first)), atol=1e-6)


@torch.no_grad()
def test_a_stack_hands_out_what_each_layer_made() -> None:
    stack = Stack(StackSpec(BlockSpec(8, AttentionSpec(2), MlpSpec(8)), 3, Norm())).eval()
    x = torch.randn(1, 4, 8)
    states: list[torch.Tensor] = []
    out = stack(x, states=states)
    assert len(states) == 4
    assert torch.equal(states[0], x)
    assert torch.equal(stack.blocks[1](states[1]), states[2])
    assert torch.equal(stack.norm(states[-1]), out)


@torch.no_grad()
def test_a_token_without_a_mask_sees_forwards_and_a_causal_one_does_not() -> None:
    stack = Stack(StackSpec(BlockSpec(8, AttentionSpec(2), MlpSpec(8)), 2)).eval()
    x = torch.randn(1, 5, 8)
    other = x.clone()
    other[0, 4] = torch.randn(8)
    assert not torch.allclose(stack(x)[0, 0], stack(other)[0, 0])
    assert torch.equal(stack(x, CAUSAL)[0, :4], stack(other, CAUSAL)[0, :4])
