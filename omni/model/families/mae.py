"""MAE as transformers writes it: the whole autoencoder, or its encoder alone."""

from dataclasses import replace

from torch import nn

from omni.model.attention import AttentionSpec
from omni.model.block import BlockSpec
from omni.model.families.activation import activation
from omni.model.families.vit import encoder_names, layer_names, spec, tokenizers
from omni.model.load import Config
from omni.model.masked_autoencoder import MaeSpec, MaskedAutoencoder
from omni.model.mlp import MlpSpec
from omni.model.norm import Norm
from omni.model.stack import StackSpec
from omni.model.vision import VisionTransformer
from omni.model.weights import Names, both

__all__ = ["IGNORED", "build", "names", "tokenizers"]

IGNORED = [r"^decoder\."]  # where the encoder is wanted alone


def build(config: Config) -> nn.Module:
    """The autoencoder where `architectures` says so, else the encoder."""
    c = config
    encoder = replace(spec(c), positions="fixed")
    if (c.get("architectures") or [""])[0] != "ViTMAEForPreTraining":
        return VisionTransformer(encoder)
    norm = Norm("layer", eps=c.get("layer_norm_eps", 1e-12))
    mlp = MlpSpec(c["decoder_intermediate_size"], activation(c))
    attention = AttentionSpec(c["decoder_num_attention_heads"], bias=c.get("qkv_bias", True))
    block = BlockSpec(c["decoder_hidden_size"], attention, mlp, norm)
    decoder = StackSpec(block, c["decoder_num_hidden_layers"], final_norm=norm)
    return MaskedAutoencoder(MaeSpec(encoder, decoder, c.get("mask_ratio", 0.75), c.get("norm_pix_loss", False)))


def names(config: Config) -> Names:
    """Pairs (theirs, ours)."""
    if (config.get("architectures") or [""])[0] != "ViTMAEForPreTraining":
        return [*encoder_names("vit."), *encoder_names("")]
    return [
        *encoder_names("vit.", "encoder."),
        *both("decoder.decoder_embed", "narrow"),
        ("decoder.mask_token", "mask_token"),
        ("decoder.decoder_pos_embed", "positions.table"),
        *layer_names("decoder.decoder_layers.{i}", "decoder.blocks.{i}"),
        *layer_names("decoder.decoder_encoder.layer.{i}", "decoder.blocks.{i}"),  # since transformers 5
        *both("decoder.decoder_norm", "decoder.norm"),
        *both("decoder.decoder_pred", "predict"),
    ]
