"""The thesis: once text, pixels and sound are vectors, one block reads them all.

Every family here is built, and every layer of its transformer is an instance of the same class.
"""

from collections.abc import Callable

import pytest
import torch
import transformers
from torch import nn

from omni.model.attention import Attention
from omni.model.block import Block
from omni.model.load import family_of
from tests.omni.small_omni import SPEC

LAYERS = 3  # of each stack
TINY = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": LAYERS, "num_attention_heads": 4}
WHISPER = {
    "d_model": 32, "encoder_layers": LAYERS, "decoder_layers": LAYERS, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48,
}  # fmt: skip
CONVOLUTIONS = {"conv_dim": (16, 16), "conv_kernel": (10, 3), "conv_stride": (5, 2), "num_feat_extract_layers": 2}
SPEECH = {**TINY, **CONVOLUTIONS, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
TOWERS = {"text_config": {**TINY, "vocab_size": 99}, "vision_config": {**TINY, "image_size": 32, "patch_size": 8}}
PICTURES = {**TINY, "image_size": 32, "patch_size": 8}

# Family → its published configuration, and how many layers that has in all.
FAMILIES: dict[str, tuple[Callable[..., transformers.PreTrainedConfig], dict[str, object], int]] = {
    "vit": (transformers.ViTConfig, PICTURES, LAYERS),
    "deit": (transformers.DeiTConfig, PICTURES, LAYERS),
    "dinov2": (transformers.Dinov2Config, PICTURES, LAYERS),
    "vit_mae": (
        transformers.ViTMAEConfig,
        {
            **PICTURES,
            "decoder_num_hidden_layers": 2,
            "decoder_hidden_size": 32,
            "decoder_num_attention_heads": 4,
            "architectures": ["ViTMAEForPreTraining"],
        },
        LAYERS + 2,
    ),
    "swin": (
        transformers.SwinConfig,
        {"image_size": 32, "patch_size": 4, "embed_dim": 16, "depths": [1, 2], "num_heads": [2, 4], "window_size": 4},
        3,
    ),
    "clip": (transformers.CLIPConfig, TOWERS, 2 * LAYERS),
    "siglip": (transformers.SiglipConfig, TOWERS, 2 * LAYERS),
    "wav2vec2": (transformers.Wav2Vec2Config, SPEECH, LAYERS),
    "wavlm": (transformers.WavLMConfig, SPEECH, LAYERS),
    "whisper": (transformers.WhisperConfig, WHISPER, 2 * LAYERS),
    "llama": (transformers.LlamaConfig, TINY, LAYERS),
    "qwen2": (transformers.Qwen2Config, {**TINY, "num_key_value_heads": 2}, LAYERS),
    "qwen3": (transformers.Qwen3Config, {**TINY, "num_key_value_heads": 2}, LAYERS),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_this_family_is_a_row_of_the_one_block(family: str) -> None:
    published, numbers, count = FAMILIES[family]
    config = published(**numbers).to_dict() | {"model_type": family}
    with torch.device("meta"):
        model = family_of(family).build(config)
    blocks = [part for part in model.modules() if type(part) is Block]
    assert len(blocks) == count
    inside = {id(part) for block in blocks for part in block.modules()}
    heads = [name for name, part in model.named_modules() if isinstance(part, Attention) and id(part) not in inside]
    assert all("pool" in name or "head" in name for name in heads), f"attention outside of a block: {heads}"


def test_the_omni_model_is_a_row_of_the_same_block() -> None:
    with torch.device("meta"):
        model = family_of("omni").build(SPEC.config())
    assert {type(part) for part in model.stack.blocks} == {Block}


@pytest.mark.parametrize("family", FAMILIES)
def test_no_family_brings_attention_of_its_own(family: str) -> None:
    published, numbers, _ = FAMILIES[family]
    with torch.device("meta"):
        model = family_of(family).build(published(**numbers).to_dict() | {"model_type": family})
    foreign = [type(part).__name__ for part in model.modules() if "ttention" in type(part).__name__]
    assert set(foreign) <= {"Attention", "AttentionPool", "WindowAttention"}
    assert not any(isinstance(part, nn.MultiheadAttention | nn.TransformerEncoderLayer) for part in model.modules())
