"""Transformers' Llama with the weights of an omni model's stack: the two say the same of text."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from omni.model.omni import Omni


def llama_of(model: Omni) -> LlamaForCausalLM:
    """The published model around the same weights; its ids are those of text."""
    spec = model.spec
    heads, kv_heads, head_width = spec.stack.block.attention.sizes(spec.width)
    config = LlamaConfig(
        vocab_size=spec.text, hidden_size=spec.width, intermediate_size=spec.hidden, num_hidden_layers=spec.depth,
        num_attention_heads=heads, num_key_value_heads=kv_heads, tie_word_embeddings=True,
        max_position_embeddings=spec.longest, rms_norm_eps=1e-6,
    )  # fmt: skip
    peer = LlamaForCausalLM(config).to(model.embed.weight.dtype).eval()
    state = peer.state_dict()
    sizes = {"q": heads * head_width, "k": kv_heads * head_width, "v": kv_heads * head_width}
    with torch.no_grad():
        state["model.embed_tokens.weight"].copy_(model.embed.weight[: spec.text])
        state["model.norm.weight"].copy_(model.stack.norm.weight)
        for number, block in enumerate(model.stack.blocks):
            attention, mlp, to = block.attention, block.mlp, f"model.layers.{number}."
            parts = attention.inner.attention.qkv.weight.split(list(sizes.values()))
            for name, part in zip(sizes, parts, strict=True):
                state[f"{to}self_attn.{name}_proj.weight"].copy_(part)
            state[f"{to}self_attn.o_proj.weight"].copy_(attention.inner.attention.out.weight)
            state[f"{to}mlp.gate_proj.weight"].copy_(mlp.inner.up.weight[: spec.hidden])
            state[f"{to}mlp.up_proj.weight"].copy_(mlp.inner.up.weight[spec.hidden :])
            state[f"{to}mlp.down_proj.weight"].copy_(mlp.inner.down.weight)
            state[f"{to}input_layernorm.weight"].copy_(attention.norm.weight)
            state[f"{to}post_attention_layernorm.weight"].copy_(mlp.norm.weight)
    return peer
