"""DINOv2 as transformers writes it, with registers and without."""

from pathlib import Path
from typing import Any

from torch import nn

from omni.model.attention import AttentionSpec
from omni.model.block import BlockSpec
from omni.model.families.activation import activation
from omni.model.families.pictures import labels, patches_of, side
from omni.model.families.vit import encoder_names
from omni.model.load import Config
from omni.model.mlp import MlpSpec
from omni.model.norm import Norm
from omni.model.patch_embed import PatchSpec
from omni.model.pool import ClassAndMean
from omni.model.stack import StackSpec
from omni.model.vision import VisionSpec, VisionTransformer
from omni.model.weights import Names, both

IGNORED = [r"mask_token$"]


def mlp(width: int, config: Config) -> MlpSpec:
    """GELU, or the giant's SwiGLU with its hidden width rounded to a multiple of 8."""
    hidden = int(width * config.get("mlp_ratio", 4))
    if config.get("use_swiglu_ffn"):
        return MlpSpec((int(hidden * 2 / 3) + 7) // 8 * 8, "silu", gated=True)
    return MlpSpec(hidden, activation(config))


def build(config: Config) -> nn.Module:
    """With a classifier on class token and mean, or without a head."""
    c = config
    width, norm = c["hidden_size"], Norm("layer", eps=c.get("layer_norm_eps", 1e-6))
    attention = AttentionSpec(c["num_attention_heads"], bias=c.get("qkv_bias", True))
    block = BlockSpec(width, attention, mlp(width, c), norm, layer_scale=c.get("layerscale_value", 1.0))
    patch = PatchSpec(c.get("patch_size", 14), c.get("num_channels", 3))
    grid = side(c.get("image_size", 518)) // patch.size
    registers = c.get("num_register_tokens", 4) if c["model_type"] == "dinov2_with_registers" else 0
    spec = VisionSpec(
        StackSpec(block, c["num_hidden_layers"], final_norm=norm),
        patch,
        (grid, grid),
        # transformers' file for DINOv2 does not antialias, its file for registers does
        resampling="timm" if c["model_type"] == "dinov2_with_registers" else "dinov2",
        registers=registers,
    )
    if "ForImageClassification" in (c.get("architectures") or [""])[0]:
        return VisionTransformer(spec, pool=ClassAndMean(1 + registers), head=nn.Linear(2 * width, labels(c)))
    return VisionTransformer(spec)


def names(config: Config) -> Names:
    """Pairs (theirs, ours)."""
    prefixes = (f"{config['model_type']}.", "")
    return [
        *(
            pair
            for prefix in prefixes
            for pair in [*encoder_names(prefix), *layer_names(f"{prefix}encoder.layer.{{i}}")]
        ),
        *both("classifier", "head"),
    ]


def layer_names(theirs: str) -> list[tuple[str, str]]:
    """What DINOv2 calls otherwise than ViT in one block."""
    ours = "stack.blocks.{i}"
    return [
        *both(f"{theirs}.norm1", f"{ours}.attention.norm"),
        *both(f"{theirs}.norm2", f"{ours}.mlp.norm"),
        *both(f"{theirs}.mlp.fc1", f"{ours}.mlp.inner.up"),
        *both(f"{theirs}.mlp.fc2", f"{ours}.mlp.inner.down"),
        *both(f"{theirs}.mlp.weights_in", f"{ours}.mlp.inner.up"),
        *both(f"{theirs}.mlp.weights_out", f"{ours}.mlp.inner.down"),
        (f"{theirs}.layer_scale1.lambda1", f"{ours}.attention.scale.factor"),
        (f"{theirs}.layer_scale2.lambda1", f"{ours}.mlp.scale.factor"),
    ]


def tokenizers(folder: Path, config: Config) -> dict[str, Any]:
    """Patches, scaled and normalised as the folder's preprocessor says."""
    return {"image": patches_of(folder, {**config, "image_size": config.get("image_size", 518)}, normalize="imagenet")}
