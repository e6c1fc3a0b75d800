"""wav2vec 2.0: the bare encoder, with a CTC head, or with what its pretraining needs."""

from pathlib import Path
from typing import Any

from torch import nn

from omni.model.attention import AttentionSpec
from omni.model.block import BlockSpec
from omni.model.characters import Characters
from omni.model.ctc import CtcModel
from omni.model.families.activation import activation
from omni.model.load import Config
from omni.model.masked_speech import MaskedSpeech
from omni.model.mlp import MlpSpec
from omni.model.norm import Norm
from omni.model.speech_encoder import RelativeSpec, SpeechEncoder, SpeechEncoderSpec
from omni.model.stack import StackSpec
from omni.model.weights import Names, both
from omni_tokenizers.audio.wav2vec import Wav2Vec
from omni_tokenizers.audio.wav2vec_encoder import ConvShape

IGNORED: list[str] = []
# Fine-tuned checkpoints were often published without it: only training hides frames.
OPTIONAL = [r"(^|\.)hidden$"]
UNKNOWN = ("add_adapter", "adapter_attn_dim", "conv_pos_batch_norm")  # parts that no family here has


def encoder_spec(config: Config, relative: RelativeSpec | None = None) -> SpeechEncoderSpec:
    """The encoder that a configuration describes."""
    c = config
    if foreign := [name for name in UNKNOWN if c.get(name)]:
        raise ValueError(f"the configuration asks for {', '.join(foreign)}, which this encoder does not have")
    if c["feat_extract_activation"] != "gelu":
        raise ValueError(f"feat_extract_activation is {c['feat_extract_activation']!r}, not built here: 'gelu' is")
    features = ConvShape(
        c["feat_extract_norm"], tuple(c["conv_kernel"]), tuple(c["conv_stride"]), tuple(c["conv_dim"]), c["conv_bias"]
    )
    norm = Norm("layer", eps=c["layer_norm_eps"])
    stable = c["do_stable_layer_norm"]
    block = BlockSpec(
        c["hidden_size"],
        AttentionSpec(c["num_attention_heads"]),
        MlpSpec(c["intermediate_size"], activation(c)),
        norm,
        norm_place="pre" if stable else "post",
    )
    return SpeechEncoderSpec(
        features,
        StackSpec(block, c["num_hidden_layers"], final_norm=norm if stable else None),
        kernel=c["num_conv_pos_embeddings"],
        groups=c["num_conv_pos_embedding_groups"],
        feature_norm=c.get("feat_proj_layer_norm", True),
        hides=c.get("mask_time_prob", 0.05) > 0 or c.get("mask_feature_prob", 0.0) > 0,
        relative=relative,
    )


def use(config: Config) -> str:
    """What the checkpoint was saved as: "ctc", "pretraining" or "encoder"."""
    kind = (config.get("architectures") or [""])[0]
    return "ctc" if kind.endswith("ForCTC") else "pretraining" if kind.endswith("ForPreTraining") else "encoder"


def with_head(encoder: SpeechEncoder, config: Config) -> nn.Module:
    """The encoder as the checkpoint uses it."""
    c = config
    if use(c) == "ctc":
        return CtcModel(encoder, c["vocab_size"], blank=c["pad_token_id"])
    if use(c) == "pretraining":
        return MaskedSpeech(
            encoder,
            groups=c["num_codevector_groups"],
            entries=c["num_codevectors_per_group"],
            size=c["codevector_dim"],
            shared=c["proj_codevector_dim"],
            temperature=c["contrastive_logits_temperature"],
            diversity=c["diversity_loss_weight"],
        )
    return encoder


def build(config: Config) -> nn.Module:
    """The model of a configuration."""
    return with_head(SpeechEncoder(encoder_spec(config)), config)


def encoder_names(theirs: str, ours: str) -> list[tuple[str, str]]:
    """The encoder, wherever it stands in the two models."""
    pairs = [
        (f"{theirs}masked_spec_embed", f"{ours}hidden"),
        *both(f"{theirs}feature_extractor.conv_layers.{{i}}.conv", f"{ours}features.conv_layers.{{i}}.conv"),
        *both(
            f"{theirs}feature_extractor.conv_layers.{{i}}.layer_norm", f"{ours}features.conv_layers.{{i}}.layer_norm"
        ),
        *both(f"{theirs}feature_projection.layer_norm", f"{ours}feature_norm"),
        *both(f"{theirs}feature_projection.projection", f"{ours}projection"),
        (f"{theirs}encoder.pos_conv_embed.conv.bias", f"{ours}position.bias"),
    ]
    for gain, direction in (
        ("weight_g", "weight_v"),
        ("parametrizations.weight.original0", "parametrizations.weight.original1"),
    ):
        pairs.append((f"{theirs}encoder.pos_conv_embed.conv.{gain}", f"{ours}position.gain"))
        pairs.append((f"{theirs}encoder.pos_conv_embed.conv.{direction}", f"{ours}position.direction"))
    layer, block = f"{theirs}encoder.layers.{{i}}.", f"{ours}stack.blocks.{{i}}."
    mixed = f"{block}attention.inner.attention."
    pairs += [(f"{layer}attention.{p}_proj.{k}", f"{mixed}qkv.{k}@{p}") for p in "qkv" for k in ("weight", "bias")]
    return [
        *pairs,
        *both(f"{layer}attention.out_proj", f"{mixed}out"),
        *both(f"{layer}layer_norm", f"{block}attention.norm"),
        *both(f"{layer}feed_forward.intermediate_dense", f"{block}mlp.inner.up"),
        *both(f"{layer}feed_forward.output_dense", f"{block}mlp.inner.down"),
        *both(f"{layer}final_layer_norm", f"{block}mlp.norm"),
    ]


def names(config: Config, kind: str = "wav2vec2") -> Names:
    """Pairs (theirs, ours)."""
    theirs, ours = ("", "") if use(config) == "encoder" else (f"{kind}.", "encoder.")
    stable = config["do_stable_layer_norm"]
    return [
        *encoder_names(theirs, ours),
        *both(f"{theirs}encoder.layer_norm", f"{ours}stack.norm" if stable else f"{ours}norm"),
        *both("lm_head", "head"),
        ("quantizer.codevectors", "quantizer.codevectors"),
        *both("quantizer.weight_proj", "quantizer.weight_proj"),
        *both("project_q", "project_quantized"),
        *both("project_hid", "project_context"),
    ]


def tokenizers(folder: Path, config: Config) -> dict[str, Any]:
    """The feature encoder as a tokenizer, and the characters of a CTC head where the folder names them."""
    found: dict[str, Any] = {"speech": Wav2Vec.load(folder)}
    if use(config) == "ctc" and (folder / "vocab.json").exists():
        found["text"] = Characters.load(folder, blank=config["pad_token_id"])
    return found
