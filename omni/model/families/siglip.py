"""SigLIP and SigLIP 2 (NaFlex) as transformers writes them: both towers, or the picture tower alone."""

from math import isqrt
from pathlib import Path
from typing import Any

from torch import nn

from omni.model.families.clip import layer_names, stack, text_names
from omni.model.families.pictures import patches_of, side
from omni.model.load import Config
from omni.model.losses.pairs import SIGLIP_BIAS, SIGLIP_LOG_SCALE
from omni.model.patch_embed import PatchSpec
from omni.model.pool import AttentionPool
from omni.model.two_tower import TextSpec, TextTower, TwoTower
from omni.model.vision import VisionSpec, VisionTransformer
from omni.model.weights import Names, both
from omni_tokenizers import Patches, Text
from omni_tokenizers.image import NaFlex

IGNORED = [r"position_ids$"]
SIZES = {
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
    "hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6,
}  # fmt: skip
VISION = {**SIZES, "image_size": 224, "patch_size": 16, "num_channels": 3, "num_patches": 256}
TEXT = {**SIZES, "vocab_size": 32000, "max_position_embeddings": 64}


def naflex(config: Config) -> bool:
    """Whether pictures keep their shape and come as patches: SigLIP 2."""
    return str(config["model_type"]).startswith("siglip2")


def vision(config: Config, *, flexible: bool) -> VisionTransformer:
    """The picture tower: no class token, attention pooling."""
    c = {**VISION, **config}
    trunk = stack(c, final_norm=True)
    patch = PatchSpec(c["patch_size"], c["num_channels"], order="hwc" if flexible else "chw")
    rows = isqrt(c["num_patches"]) if flexible else side(c["image_size"]) // patch.size
    resampling = "siglip2" if flexible else "vit"
    spec = VisionSpec(trunk, patch, (rows, rows), resampling=resampling, class_token=False)
    pool = AttentionPool(trunk.block) if c.get("vision_use_head", True) else nn.Identity()
    return VisionTransformer(spec, pool=pool)


def build(config: Config) -> nn.Module:
    """Both towers, or the picture tower of a vision model."""
    if str(config["model_type"]).endswith("_vision_model"):
        return vision(config, flexible=naflex(config))
    c = {**TEXT, **(config.get("text_config") or {})}
    spec = TextSpec(
        c["vocab_size"], c["max_position_embeddings"], stack(c, final_norm=True), causal=False, read_at="last"
    )
    text = TextTower(spec, nn.Linear(c["hidden_size"], c.get("projection_size") or c["hidden_size"]))
    pictures = vision(config.get("vision_config") or {}, flexible=naflex(config))
    return TwoTower(pictures, text, log_scale=SIGLIP_LOG_SCALE, bias=SIGLIP_BIAS)


def names(config: Config) -> Names:
    """Pairs (theirs, ours)."""
    if str(config["model_type"]).endswith("_vision_model"):
        return [*vision_names("vision_model.", ""), *vision_names("", "")]
    return [
        *vision_names("vision_model.", "vision."),
        *text_names("text_model.", "text."),
        *both("text_model.head", "text.head"),
        ("logit_scale", "log_scale"),
        ("logit_bias", "bias"),
    ]


def vision_names(theirs: str, ours: str) -> list[tuple[str, str]]:
    """The picture tower."""
    return [
        (f"{theirs}embeddings.position_embedding.weight", f"{ours}positions.table"),
        *both(f"{theirs}embeddings.patch_embedding", f"{ours}embed.linear"),
        *layer_names(f"{theirs}encoder.layers.{{i}}", f"{ours}stack.blocks.{{i}}"),
        *both(f"{theirs}post_layernorm", f"{ours}stack.norm"),
        (f"{theirs}head.probe", f"{ours}pool.probe"),
        (f"{theirs}head.attention.in_proj_weight", f"{ours}pool.attention.qkv.weight"),
        (f"{theirs}head.attention.in_proj_bias", f"{ours}pool.attention.qkv.bias"),
        *both(f"{theirs}head.attention.out_proj", f"{ours}pool.attention.out"),
        *both(f"{theirs}head.layernorm", f"{ours}pool.norm"),
        *both(f"{theirs}head.mlp.fc1", f"{ours}pool.mlp.up"),
        *both(f"{theirs}head.mlp.fc2", f"{ours}pool.mlp.down"),
    ]


def tokenizers(folder: Path, config: Config) -> dict[str, Any]:
    """Patches (NaFlex for SigLIP 2), and the text vocabulary where the folder has one."""
    picture = {**VISION, **(config.get("vision_config") or config)}
    if naflex(config):
        policy = NaFlex(picture["num_patches"])
        found: dict[str, Any] = {"image": Patches(picture["patch_size"], resize=policy, order="hwc", normalize="half")}
    else:
        found = {"image": patches_of(folder, picture, normalize="half")}
    if (folder / "tokenizer.json").exists():
        found["text"] = Text.load(folder)
    return found
