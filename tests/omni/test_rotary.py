"""Rotary positions against the published functions."""

import pytest
import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb
from transformers.models.qwen2_vl.configuration_qwen2_vl import Qwen2VLTextConfig
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLRotaryEmbedding
from transformers.models.qwen3_vl.configuration_qwen3_vl import Qwen3VLTextConfig
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLTextRotaryEmbedding

from omni.model.rotary import Llama3Stretch, Rotary, RotarySpec, frequencies, turn
from omni_tokenizers.sequence import SECTIONS

WIDTH = 128  # of a head
GENERATOR = torch.Generator().manual_seed(0)
Q = torch.randn(2, 3, 50, WIDTH, generator=GENERATOR)
THREE = torch.randint(0, 500, (3, 2, 50), generator=GENERATOR)


def published(**rope: object) -> LlamaConfig:
    return LlamaConfig(hidden_size=WIDTH * 2, num_attention_heads=2, head_dim=WIDTH, rope_parameters=rope)


def test_queries_and_keys_turn_as_llamas_do() -> None:
    positions = torch.randint(0, 2000, (2, 50), generator=GENERATOR)
    config = published(rope_type="default", rope_theta=10_000.0)
    cos, sin = LlamaRotaryEmbedding(config)(Q, positions)
    expected, _ = apply_rotary_pos_emb(Q, Q, cos, sin)
    ours = turn(Q, Rotary(RotarySpec(), WIDTH)(positions, torch.float32))
    assert torch.allclose(ours, expected, atol=1e-5)


def test_the_stretch_of_llama_3_is_the_published_one() -> None:
    config = published(
        rope_type="llama3", rope_theta=500_000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=8192,
    )  # fmt: skip
    expected, scale = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    assert scale == 1.0
    ours = frequencies(RotarySpec(base=500_000.0, stretch=Llama3Stretch()), WIDTH)
    assert torch.allclose(ours, expected, rtol=1e-6)
    assert not torch.allclose(ours, frequencies(RotarySpec(base=500_000.0), WIDTH), rtol=1e-2)


def test_three_axes_turn_as_qwen2_vls_do() -> None:
    sections = SECTIONS["qwen2-vl"].sizes
    rope = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": list(sections)}
    config = Qwen2VLTextConfig(hidden_size=WIDTH * 2, num_attention_heads=2, rope_parameters=rope)
    cos, sin = Qwen2VLRotaryEmbedding(config)(Q, THREE)
    expected, _ = apply_rotary_pos_emb(Q, Q, cos, sin)
    ours = turn(Q, Rotary(RotarySpec(sections=sections), WIDTH)(THREE, torch.float32))
    assert torch.allclose(ours, expected, atol=1e-5)


def test_three_interleaved_axes_are_qwen3_vls() -> None:
    sections = SECTIONS["qwen3-vl"].sizes
    rope = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": list(sections), "mrope_interleaved": True}
    config = Qwen3VLTextConfig(head_dim=WIDTH, rope_parameters=rope)
    cos, sin = Qwen3VLTextRotaryEmbedding(config)(Q, THREE)
    expected, _ = apply_rotary_pos_emb(Q, Q, cos, sin)
    ours = turn(Q, Rotary(RotarySpec(sections=sections, layout="interleaved"), WIDTH)(THREE, torch.float32))
    assert torch.allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize("layout", ["contiguous", "interleaved"])
def test_three_equal_axes_are_one(layout: str) -> None:
    positions = torch.arange(50)[None]
    three = Rotary(RotarySpec(sections=(24, 20, 20), layout=layout), WIDTH)
    for a, b in zip(
        three(positions, torch.float32), Rotary(RotarySpec(), WIDTH)(positions, torch.float32), strict=True
    ):
        assert torch.equal(a, b)


def test_scores_depend_on_distance_alone() -> None:
    rotary = Rotary(RotarySpec(), WIDTH)
    q, k = Q[:1, :1, :1], Q[1:, :1, :1]

    def score(at: int, to: int) -> torch.Tensor:
        places = [rotary(torch.tensor([[p]]), torch.float32) for p in (at, to)]
        return (turn(q, places[0]) * turn(k, places[1])).sum()

    assert torch.allclose(score(3, 10), score(503, 510), atol=1e-3)
    assert not torch.allclose(score(3, 10), score(3, 11), atol=1e-3)


def test_a_part_of_a_head_may_stay_unturned() -> None:
    rotary = Rotary(RotarySpec(width=32), WIDTH)
    turned = turn(Q, rotary(torch.arange(50)[None], torch.float32))
    assert torch.equal(turned[..., 32:], Q[..., 32:])
    whole = turn(Q[..., :32], Rotary(RotarySpec(), 32)(torch.arange(50)[None], torch.float32))
    assert torch.allclose(turned[..., :32], whole)


def test_far_positions_stay_apart_in_half_precision() -> None:
    cos, _ = Rotary(RotarySpec(), WIDTH).to(torch.bfloat16)(torch.tensor([[256, 257]]), torch.bfloat16)
    assert not torch.equal(cos[0, 0, 0], cos[0, 0, 1])


def test_sections_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(ValueError, match=r"sections \(16, 24, 20\) sum to 60, not to 64 frequencies"):
        Rotary(RotarySpec(sections=(16, 24, 20)), WIDTH)


def test_a_model_that_is_cast_keeps_its_exact_frequencies() -> None:
    cast = Rotary(RotarySpec(), WIDTH).to(torch.bfloat16)
    far = torch.tensor([[30_000]])
    assert torch.equal(cast(far, torch.float32)[0], Rotary(RotarySpec(), WIDTH)(far, torch.float32)[0])
