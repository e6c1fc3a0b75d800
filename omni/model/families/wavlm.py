"""WavLM: wav2vec 2.0's encoder with a gated relative bias in every layer."""

from torch import nn

from omni.model.families import wav2vec2
from omni.model.load import Config
from omni.model.speech_encoder import RelativeSpec, SpeechEncoder
from omni.model.weights import Names, both

IGNORED = wav2vec2.IGNORED
OPTIONAL = wav2vec2.OPTIONAL
tokenizers = wav2vec2.tokenizers


def build(config: Config) -> nn.Module:
    """The model of a configuration."""
    relative = RelativeSpec(config["num_buckets"], config["max_bucket_distance"])
    return wav2vec2.with_head(SpeechEncoder(wav2vec2.encoder_spec(config, relative)), config)


def names(config: Config) -> Names:
    """Pairs (theirs, ours)."""
    theirs, ours = ("", "") if wav2vec2.use(config) == "encoder" else ("wavlm.", "encoder.")
    layer, bias = f"{theirs}encoder.layers.{{i}}.attention.", f"{ours}stack.blocks.{{i}}.attention.inner.bias."
    return [
        *wav2vec2.names(config, "wavlm"),
        (f"{theirs}encoder.layers.0.attention.rel_attn_embed.weight", f"{ours}relative.values.weight"),
        (f"{layer}gru_rel_pos_const", f"{bias}scale"),
        *both(f"{layer}gru_rel_pos_linear", f"{bias}gate"),
    ]
