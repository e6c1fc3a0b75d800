"""Qwen2 and 2.5 (biased query, key and value) and Qwen3 (norms on query and key), as transformers publishes them."""

from omni.model.attention import AttentionSpec
from omni.model.decoder import Decoder
from omni.model.families import llama
from omni.model.families.llama import IGNORED, tokenizers
from omni.model.load import Config
from omni.model.norm import Norm
from omni.model.weights import Names

__all__ = ["IGNORED", "build", "names", "tokenizers"]


def build(config: Config) -> Decoder:
    """The decoder that a configuration describes."""
    if config.get("use_sliding_window") and "sliding_attention" in (config.get("layer_types") or ["sliding_attention"]):
        raise ValueError(
            "this checkpoint has layers with a sliding window (use_sliding_window), which are not built here"
        )
    third = config["model_type"] == "qwen3"
    bias = config.get("attention_bias", False) if third else True
    attention = AttentionSpec(
        heads=config["num_attention_heads"],
        kv_heads=config.get("num_key_value_heads"),
        head_width=config.get("head_dim", 128 if third else None),
        bias=bias,
        out_bias=bias and third,
        qk_norm=Norm("rms", eps=config.get("rms_norm_eps", 1e-6)) if third else None,
    )
    return Decoder(llama.spec(config, attention))


def names(config: Config) -> Names:
    """Every weight by name."""
    attention = "stack.blocks.{i}.attention.inner.attention"
    return [
        *llama.names(config),
        ("model.layers.{i}.self_attn.q_norm.weight", f"{attention}.query_norm.weight"),
        ("model.layers.{i}.self_attn.k_norm.weight", f"{attention}.key_norm.weight"),
    ]
