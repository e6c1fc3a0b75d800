"""ViT as transformers writes it; the names of its layers serve DeiT, DINOv2 and MAE as well."""

from pathlib import Path
from typing import Any

from torch import nn

from omni.model.attention import AttentionSpec
from omni.model.block import BlockSpec
from omni.model.families.activation import activation
from omni.model.families.pictures import labels, patches_of, side
from omni.model.head import tanh_head
from omni.model.load import Config
from omni.model.mlp import MlpSpec
from omni.model.norm import Norm
from omni.model.patch_embed import PatchSpec
from omni.model.stack import StackSpec
from omni.model.vision import VisionSpec, VisionTransformer
from omni.model.weights import Names, both

IGNORED = [r"mask_token$", r"^decoder\."]  # of masked-image pre-training


def spec(config: Config, *, distillation: bool = False) -> VisionSpec:
    """The trunk of a ViTConfig or DeiTConfig."""
    c = config
    attention = AttentionSpec(c["num_attention_heads"], bias=c.get("qkv_bias", True))
    norm = Norm("layer", eps=c.get("layer_norm_eps", 1e-12))
    mlp = MlpSpec(c["intermediate_size"], activation(c))
    stack = StackSpec(BlockSpec(c["hidden_size"], attention, mlp, norm), c["num_hidden_layers"], final_norm=norm)
    patch = PatchSpec(side(c.get("patch_size", 16)), c.get("num_channels", 3))
    grid = side(c.get("image_size", 224)) // patch.size
    return VisionSpec(stack, patch, (grid, grid), distillation=distillation)


def build(config: Config) -> nn.Module:
    """With a classifier, with the pooler of a bare ViTModel, or without a head, as `architectures` says."""
    trunk = spec(config)
    width, architecture = trunk.stack.block.width, (config.get("architectures") or [""])[0]
    head: nn.Module | None = None
    if architecture == "ViTForImageClassification":
        head = nn.Linear(width, labels(config))
    elif architecture == "ViTModel":
        head = pooler(config, width)
    return VisionTransformer(trunk, head=head)


def pooler(config: Config, width: int) -> nn.Module:
    """The head of a bare model."""
    if (named := config.get("pooler_act") or "tanh") != "tanh":
        raise ValueError(f"pooler_act is {named!r}, which is not built here: 'tanh' is")
    return tanh_head(width, config.get("pooler_output_size") or width)


def names(config: Config) -> Names:
    """Pairs (theirs, ours)."""
    return [
        *(pair for prefix in ("vit.", "") for pair in encoder_names(prefix)),
        *both("classifier", "head"),
        *both("pooler.dense", "head.0"),
    ]


def layer_names(theirs: str, ours: str) -> list[tuple[str, str]]:
    """One block."""
    attention = f"{ours}.attention.inner.attention"
    return [
        *(
            (f"{theirs}.attention.attention.{part}.{kind}", f"{attention}.qkv.{kind}@{part[0]}")
            for part in ("query", "key", "value")
            for kind in ("weight", "bias")
        ),
        *both(f"{theirs}.attention.output.dense", f"{attention}.out"),
        *both(f"{theirs}.layernorm_before", f"{ours}.attention.norm"),
        *both(f"{theirs}.layernorm_after", f"{ours}.mlp.norm"),
        *both(f"{theirs}.intermediate.dense", f"{ours}.mlp.inner.up"),
        *both(f"{theirs}.output.dense", f"{ours}.mlp.inner.down"),
    ]


def encoder_names(theirs: str = "", ours: str = "") -> list[tuple[str, str]]:
    """Everything but the heads."""
    return [
        (f"{theirs}embeddings.cls_token", f"{ours}class_token"),
        (f"{theirs}embeddings.distillation_token", f"{ours}distillation_token"),
        (f"{theirs}embeddings.register_tokens", f"{ours}register_tokens"),
        (f"{theirs}embeddings.position_embeddings", f"{ours}positions.table"),
        *both(f"{theirs}embeddings.patch_embeddings.projection", f"{ours}embed.linear"),
        *layer_names(f"{theirs}encoder.layer.{{i}}", f"{ours}stack.blocks.{{i}}"),
        *both(f"{theirs}layernorm", f"{ours}stack.norm"),
    ]


def tokenizers(folder: Path, config: Config) -> dict[str, Any]:
    """Patches, scaled and normalised as the folder's preprocessor says."""
    return {"image": patches_of(folder, config, normalize="half")}
