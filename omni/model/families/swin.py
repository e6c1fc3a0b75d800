"""Swin as transformers writes it."""

from pathlib import Path
from typing import Any

from torch import nn

from omni.model.families.activation import activation
from omni.model.families.pictures import labels, patches_of
from omni.model.load import Config
from omni.model.norm import Norm
from omni.model.patch_embed import PatchSpec
from omni.model.swin import Swin, SwinSpec
from omni.model.weights import Names, both

IGNORED = [r"relative_position_index$", r"mask_token$", r"^decoder\."]


def build(config: Config) -> nn.Module:
    """With a classifier or without a head, as `architectures` says."""
    c = config
    if c.get("use_absolute_embeddings"):
        raise ValueError("use_absolute_embeddings is true: no published Swin has them, and they cannot be built here")
    depths = tuple(c["depths"])
    spec = SwinSpec(
        c["embed_dim"],
        depths,
        tuple(c["num_heads"]),
        (c.get("window_size", 7),) * len(depths),
        PatchSpec(c.get("patch_size", 4), c.get("num_channels", 3), edges="pad"),
        c.get("mlp_ratio", 4.0),
        activation(c),
        c.get("qkv_bias", True),
        Norm("layer", eps=c.get("layer_norm_eps", 1e-5)),
    )
    if (c.get("architectures") or [""])[0] == "SwinForImageClassification":
        return Swin(spec, head=nn.Linear(spec.width * 2 ** (len(depths) - 1), labels(c)))
    return Swin(spec)


def names(config: Config) -> Names:
    """Pairs (theirs, ours)."""
    pairs = both("classifier", "head")
    for prefix in ("swin.", ""):
        layer, ours = f"{prefix}encoder.layers.{{i}}.blocks.{{j}}", "stages.{i}.{j}"
        mixer = f"{ours}.attention.inner.inner"
        pairs += [
            *both(f"{prefix}embeddings.patch_embeddings.projection", "embed.linear"),
            *both(f"{prefix}embeddings.norm", "embed_norm"),
            *(
                (f"{layer}.attention.self.{part}.{kind}", f"{mixer}.attention.qkv.{kind}@{part[0]}")
                for part in ("query", "key", "value")
                for kind in ("weight", "bias")
            ),
            (f"{layer}.attention.self.relative_position_bias_table", f"{mixer}.bias.table"),
            *both(f"{layer}.attention.output.dense", f"{mixer}.attention.out"),
            *both(f"{layer}.layernorm_before", f"{ours}.attention.norm"),
            *both(f"{layer}.layernorm_after", f"{ours}.mlp.norm"),
            *both(f"{layer}.intermediate.dense", f"{ours}.mlp.inner.up"),
            *both(f"{layer}.output.dense", f"{ours}.mlp.inner.down"),
            *both(f"{prefix}encoder.layers.{{i}}.downsample.norm", "merges.{i}.norm"),
            (f"{prefix}encoder.layers.{{i}}.downsample.reduction.weight", "merges.{i}.linear.weight"),
            *both(f"{prefix}layernorm", "norm"),
        ]
    return pairs


def tokenizers(folder: Path, config: Config) -> dict[str, Any]:
    """Patches, scaled and normalised as the folder's preprocessor says; their pixels are what the model takes."""
    return {"image": patches_of(folder, config, normalize="imagenet")}
