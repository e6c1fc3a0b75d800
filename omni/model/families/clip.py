"""CLIP as transformers writes it: both towers, or the picture tower alone."""

from math import log
from pathlib import Path
from typing import Any

from torch import nn

from omni.model.attention import AttentionSpec
from omni.model.block import BlockSpec
from omni.model.families.activation import activation
from omni.model.families.pictures import patches_of, side
from omni.model.load import Config
from omni.model.mlp import MlpSpec
from omni.model.norm import Norm
from omni.model.patch_embed import PatchSpec
from omni.model.stack import StackSpec
from omni.model.two_tower import TextSpec, TextTower, TwoTower
from omni.model.vision import VisionSpec, VisionTransformer
from omni.model.weights import Names, both
from omni_tokenizers import Text

IGNORED = [r"position_ids$"]
# what a configuration leaves out, since it is transformers' default
VISION = {
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
    "image_size": 224, "patch_size": 32, "num_channels": 3, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5,
}  # fmt: skip
TEXT = {
    "vocab_size": 49408, "hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12,
    "num_attention_heads": 8, "max_position_embeddings": 77, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5,
    "eos_token_id": 49407,
}  # fmt: skip
WRONG_END = 2  # the end-of-text id that old configurations state; their texts end with the largest id


def tower(config: Config, name: str) -> Config:
    """What a configuration says of one tower; the `_dict` of an old one replaces all of the other, as published."""
    return config.get(f"{name}_dict") or config.get(name) or {}


def stack(c: Config, *, final_norm: bool) -> StackSpec:
    """The layers of one tower."""
    norm = Norm("layer", eps=c["layer_norm_eps"])
    mlp = MlpSpec(c["intermediate_size"], activation(c))
    block = BlockSpec(c["hidden_size"], AttentionSpec(c["num_attention_heads"]), mlp, norm)
    return StackSpec(block, c["num_hidden_layers"], final_norm=norm if final_norm else None)


def vision(config: Config, projection: int | None) -> VisionTransformer:
    """The picture tower; its tokens are before the last norm, as transformers gives them."""
    c = {**VISION, **config}
    patch = PatchSpec(c["patch_size"], c["num_channels"], bias=False)
    grid = side(c["image_size"]) // patch.size
    norm = Norm("layer", eps=c["layer_norm_eps"])
    spec = VisionSpec(stack(c, final_norm=False), patch, (grid, grid), entry_norm=norm)
    head = None if projection is None else nn.Linear(c["hidden_size"], projection, bias=False)
    return VisionTransformer(spec, pool_norm=norm, head=head)


def build(config: Config) -> nn.Module:
    """Both towers, or the picture tower of a CLIPVisionModel."""
    if config["model_type"] == "clip_vision_model":
        projected = (config.get("architectures") or [""])[0] == "CLIPVisionModelWithProjection"
        return vision(config, config.get("projection_dim", 512) if projected else None)
    shared = config.get("projection_dim", 512)
    c = {**TEXT, **tower(config, "text_config")}
    end = c["eos_token_id"]
    spec = TextSpec(
        c["vocab_size"],
        c["max_position_embeddings"],
        stack(c, final_norm=True),
        read_at="largest" if end == WRONG_END else end,
    )
    text = TextTower(spec, nn.Linear(c["hidden_size"], shared, bias=False))
    log_scale = config.get("logit_scale_init_value", log(1 / 0.07))
    return TwoTower(vision(tower(config, "vision_config"), shared), text, log_scale=log_scale)


def names(config: Config) -> Names:
    """Pairs (theirs, ours)."""
    if config["model_type"] == "clip_vision_model":
        return [*vision_names("vision_model.", ""), *vision_names("", ""), ("visual_projection.weight", "head.weight")]
    return [
        *vision_names("vision_model.", "vision."),
        *text_names("text_model.", "text."),
        ("visual_projection.weight", "vision.head.weight"),
        ("text_projection.weight", "text.head.weight"),
        ("logit_scale", "log_scale"),
    ]


def vision_names(theirs: str, ours: str) -> list[tuple[str, str]]:
    """The picture tower."""
    return [
        (f"{theirs}embeddings.class_embedding", f"{ours}class_token"),
        (f"{theirs}embeddings.position_embedding.weight", f"{ours}positions.table"),
        *both(f"{theirs}embeddings.patch_embedding", f"{ours}embed.linear"),
        *both(f"{theirs}pre_layrnorm", f"{ours}entry_norm"),  # sic
        *layer_names(f"{theirs}encoder.layers.{{i}}", f"{ours}stack.blocks.{{i}}"),
        *both(f"{theirs}post_layernorm", f"{ours}pool_norm"),
    ]


def text_names(theirs: str, ours: str) -> list[tuple[str, str]]:
    """The text tower."""
    return [
        (f"{theirs}embeddings.token_embedding.weight", f"{ours}embedding.weight"),
        (f"{theirs}embeddings.position_embedding.weight", f"{ours}places"),
        *layer_names(f"{theirs}encoder.layers.{{i}}", f"{ours}stack.blocks.{{i}}"),
        *both(f"{theirs}final_layer_norm", f"{ours}stack.norm"),
    ]


def layer_names(theirs: str, ours: str) -> list[tuple[str, str]]:
    """One block of either tower."""
    attention = f"{ours}.attention.inner.attention"
    return [
        *(
            (f"{theirs}.self_attn.{part}_proj.{kind}", f"{attention}.qkv.{kind}@{part}")
            for part in ("q", "k", "v")
            for kind in ("weight", "bias")
        ),
        *both(f"{theirs}.self_attn.out_proj", f"{attention}.out"),
        *both(f"{theirs}.layer_norm1", f"{ours}.attention.norm"),
        *both(f"{theirs}.layer_norm2", f"{ours}.mlp.norm"),
        *both(f"{theirs}.mlp.fc1", f"{ours}.mlp.inner.up"),
        *both(f"{theirs}.mlp.fc2", f"{ours}.mlp.inner.down"),
    ]


def tokenizers(folder: Path, config: Config) -> dict[str, Any]:
    """Patches, and the text vocabulary where the folder has one."""
    picture = {**VISION, **(tower(config, "vision_config") or config)}
    found: dict[str, Any] = {"image": patches_of(folder, picture, normalize="clip")}
    if (folder / "tokenizer.json").exists():
        found["text"] = Text.load(folder)
    return found
