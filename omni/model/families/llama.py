"""Llama 2 and 3, as transformers publishes it; Qwen shares most of it."""

from pathlib import Path
from typing import Any

from omni.model.attention import AttentionSpec
from omni.model.block import BlockSpec
from omni.model.decoder import Decoder, DecoderSpec
from omni.model.families.activation import activation
from omni.model.load import Config
from omni.model.mlp import MlpSpec
from omni.model.norm import Norm
from omni.model.rotary import Llama3Stretch, RotarySpec
from omni.model.stack import StackSpec
from omni.model.weights import Names

IGNORED = (r"rotary_emb\.inv_freq$",)


def build(config: Config) -> Decoder:
    """The decoder that a configuration describes."""
    bias = config.get("attention_bias", False)
    attention = AttentionSpec(
        heads=config["num_attention_heads"],
        kv_heads=config.get("num_key_value_heads"),
        head_width=config.get("head_dim"),
        bias=bias,
        out_bias=bias,
    )
    return Decoder(spec(config, attention, mlp_bias=config.get("mlp_bias", False)))


def spec(config: Config, attention: AttentionSpec, *, mlp_bias: bool = False) -> DecoderSpec:
    """What all decoders of this line share: SwiGLU, RMSNorm before each branch, rotary positions."""
    norm = Norm("rms", eps=config.get("rms_norm_eps", 1e-6))
    mlp = MlpSpec(config["intermediate_size"], activation(config, usual="silu"), gated=True, bias=mlp_bias)
    block = BlockSpec(config["hidden_size"], attention, mlp, norm)
    return DecoderSpec(
        vocabulary=config["vocab_size"],
        stack=StackSpec(block, config["num_hidden_layers"], final_norm=norm, rotary=rotary(config)),
        tied=config.get("tie_word_embeddings", False),
        longest=config.get("max_position_embeddings", 2048),
    )


def rotary(config: Config) -> RotarySpec:
    """Rotary positions, in the old words (rope_theta, rope_scaling) or the new (rope_parameters)."""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    base = rope.get("rope_theta") or config.get("rope_theta", 10_000.0)
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if kind == "llama3":
        stretch = Llama3Stretch(
            factor=rope["factor"],
            low=rope["low_freq_factor"],
            high=rope["high_freq_factor"],
            trained=rope["original_max_position_embeddings"],
        )
        return RotarySpec(base=base, stretch=stretch)
    if kind not in ("default", "mrope"):
        raise ValueError(f"rotary positions of type {kind!r} are not built here: default, llama3 and mrope are")
    sections = rope.get("mrope_section")
    return RotarySpec(
        base=base,
        sections=tuple(sections) if sections else None,
        layout="interleaved" if rope.get("mrope_interleaved") else "contiguous",
    )


def names(_config: Config) -> Names:
    """Every weight by name."""
    block = "stack.blocks.{i}"
    layer = [
        ("input_layernorm.weight", "attention.norm.weight"),
        ("self_attn.o_proj.weight", "attention.inner.attention.out.weight"),
        ("self_attn.o_proj.bias", "attention.inner.attention.out.bias"),
        ("post_attention_layernorm.weight", "mlp.norm.weight"),
        ("mlp.down_proj.weight", "mlp.inner.down.weight"),
        ("mlp.down_proj.bias", "mlp.inner.down.bias"),
    ]
    for kind in ("weight", "bias"):
        layer += [(f"self_attn.{p}_proj.{kind}", f"attention.inner.attention.qkv.{kind}@{p}") for p in "qkv"]
        layer += [(f"mlp.{p}_proj.{kind}", f"mlp.inner.up.{kind}@{p}") for p in ("gate", "up")]
    return [
        ("model.embed_tokens.weight", "embed.weight"),
        ("model.norm.weight", "stack.norm.weight"),
        ("lm_head.weight", "head.weight"),
        *((f"model.layers.{{i}}.{theirs}", f"{block}.{ours}") for theirs, ours in layer),
    ]


def tokenizers(folder: Path, _config: Config) -> dict[str, Any]:
    """The text tokenizer that lies beside the weights, if one does."""
    if not (folder / "tokenizer.json").exists():
        return {}
    from omni_tokenizers import Text

    return {"text": Text.load(folder)}
