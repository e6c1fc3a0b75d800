"""Whisper, as transformers and as openai-whisper (and MLX) name it."""

from pathlib import Path
from typing import Any

from torch import nn

from omni.model.attention import AttentionSpec
from omni.model.block import BlockSpec
from omni.model.load import Config
from omni.model.mlp import MlpSpec
from omni.model.norm import Norm
from omni.model.stack import StackSpec
from omni.model.weights import ZERO, Names, both
from omni.model.whisper import Whisper, WhisperSpec
from omni_tokenizers import LogMel, Text

IGNORED = [r"^proj_out\.weight$", r"^alignment_heads$"]  # tied to the embedding; which heads to align words with

NORM = Norm("layer", eps=1e-5)
BLOCK = "stack.blocks.{i}."


def stack(width: int, heads: int, hidden: int, depth: int, *, cross: bool) -> StackSpec:
    """One half of the model."""
    attention = AttentionSpec(heads)
    block = BlockSpec(width, attention, MlpSpec(hidden), NORM, cross=attention if cross else None)
    return StackSpec(block, depth, final_norm=NORM)


def build(config: Config) -> nn.Module:
    """The encoder–decoder of a configuration of either kind."""
    c = config
    if "n_audio_state" in c:  # openai-whisper's ModelDimensions
        width = c["n_audio_state"]
        encoder = stack(width, c["n_audio_head"], 4 * width, c["n_audio_layer"], cross=False)
        decoder = stack(c["n_text_state"], c["n_text_head"], 4 * c["n_text_state"], c["n_text_layer"], cross=True)
        return Whisper(WhisperSpec(c["n_mels"], c["n_vocab"], encoder, decoder, c["n_audio_ctx"], c["n_text_ctx"]))
    if (activation := c.get("activation_function", "gelu")) != "gelu":
        raise ValueError(f"activation_function is {activation!r}: published Whisper models use 'gelu'")
    if not c.get("tie_word_embeddings", True):
        raise ValueError("tie_word_embeddings is false: no published Whisper has a head of its own, and none is built")
    width = c["d_model"]
    encoder = stack(width, c["encoder_attention_heads"], c["encoder_ffn_dim"], c["encoder_layers"], cross=False)
    decoder = stack(width, c["decoder_attention_heads"], c["decoder_ffn_dim"], c["decoder_layers"], cross=True)
    places, tokens = c["max_source_positions"], c["max_target_positions"]
    return Whisper(WhisperSpec(c["num_mel_bins"], c["vocab_size"], encoder, decoder, places, tokens))


def attention(theirs: str, ours: str, parts: tuple[str, str, str, str]) -> list[tuple[str, str]]:
    """One attention, whose keys have no bias."""
    query, key, value, out = (f"{theirs}.{part}" for part in parts)
    qkv = f"{ours}.qkv"
    return [
        (f"{query}.weight", f"{qkv}.weight@q"),
        (f"{key}.weight", f"{qkv}.weight@k"),
        (f"{value}.weight", f"{qkv}.weight@v"),
        (f"{query}.bias", f"{qkv}.bias@q"),
        (ZERO, f"{qkv}.bias@k"),
        (f"{value}.bias", f"{qkv}.bias@v"),
        *both(out, f"{ours}.out"),
    ]


def names(config: Config) -> Names:
    """Pairs (theirs, ours)."""
    return openai_names() if "n_audio_state" in config else [*hf_names("model."), *hf_names("")]


def hf_names(prefix: str) -> Names:
    """transformers' names; a bare WhisperModel has no prefix."""
    parts = ("q_proj", "k_proj", "v_proj", "out_proj")
    pairs = [
        *both(f"{prefix}encoder.conv1", "encoder.first"),
        *both(f"{prefix}encoder.conv2", "encoder.second"),
        (f"{prefix}encoder.embed_positions.weight", "encoder.places"),
        (f"{prefix}decoder.embed_tokens.weight", "decoder.embedding.weight"),
        (f"{prefix}decoder.embed_positions.weight", "decoder.places"),
        *attention(f"{prefix}decoder.layers.{{i}}.encoder_attn", f"decoder.{BLOCK}cross.inner.attention", parts),
        *both(f"{prefix}decoder.layers.{{i}}.encoder_attn_layer_norm", f"decoder.{BLOCK}cross.norm"),
    ]
    for half in ("encoder", "decoder"):
        theirs, ours = f"{prefix}{half}.layers.{{i}}.", f"{half}.{BLOCK}"
        pairs += attention(f"{theirs}self_attn", f"{ours}attention.inner.attention", parts)
        pairs += both(f"{theirs}self_attn_layer_norm", f"{ours}attention.norm")
        pairs += both(f"{theirs}fc1", f"{ours}mlp.inner.up")
        pairs += both(f"{theirs}fc2", f"{ours}mlp.inner.down")
        pairs += both(f"{theirs}final_layer_norm", f"{ours}mlp.norm")
        pairs += both(f"{prefix}{half}.layer_norm", f"{half}.stack.norm")
    return pairs


def openai_names() -> Names:
    """openai-whisper's names."""
    parts = ("query", "key", "value", "out")
    pairs = [
        *both("encoder.conv1", "encoder.first"),
        *both("encoder.conv2", "encoder.second"),
        ("encoder.positional_embedding", "encoder.places"),
        *both("encoder.ln_post", "encoder.stack.norm"),
        ("decoder.token_embedding.weight", "decoder.embedding.weight"),
        ("decoder.positional_embedding", "decoder.places"),
        *both("decoder.ln", "decoder.stack.norm"),
        *attention("decoder.blocks.{i}.cross_attn", f"decoder.{BLOCK}cross.inner.attention", parts),
        *both("decoder.blocks.{i}.cross_attn_ln", f"decoder.{BLOCK}cross.norm"),
    ]
    for half in ("encoder", "decoder"):
        theirs, ours = f"{half}.blocks.{{i}}.", f"{half}.{BLOCK}"
        pairs += attention(f"{theirs}attn", f"{ours}attention.inner.attention", parts)
        pairs += both(f"{theirs}attn_ln", f"{ours}attention.norm")
        pairs += both(f"{theirs}mlp.0", f"{ours}mlp.inner.up")
        pairs += both(f"{theirs}mlp.2", f"{ours}mlp.inner.down")
        pairs += both(f"{theirs}mlp_ln", f"{ours}mlp.norm")
    return pairs


def tokenizers(folder: Path, config: Config) -> dict[str, Any]:
    """Log-Mel frames, and the text vocabulary where the folder has one."""
    found: dict[str, Any] = {"audio": LogMel(bins=config.get("num_mel_bins") or config["n_mels"])}
    if (folder / "tokenizer.json").exists() or (folder / "vocab.json").exists():
        found["text"] = Text.load(folder)
    return found
