"""Swin as timm writes it: the architecture's name is the configuration."""

import re
from pathlib import Path
from typing import Any

from torch import nn

from omni.model.families.timm_preprocessing import patches_of
from omni.model.load import Config
from omni.model.patch_embed import PatchSpec
from omni.model.swin import Swin, SwinSpec
from omni.model.weights import Names, both

IGNORED = [r"relative_position_index$", r"attn_mask$"]

# width, depths, heads
SIZES: dict[str, tuple[int, tuple[int, ...], tuple[int, ...]]] = {
    "tiny": (96, (2, 2, 6, 2), (3, 6, 12, 24)),
    "small": (96, (2, 2, 18, 2), (3, 6, 12, 24)),
    "base": (128, (2, 2, 18, 2), (4, 8, 16, 32)),
    "large": (192, (2, 2, 18, 2), (6, 12, 24, 48)),
}
READ = {
    "embed_dim", "depths", "num_heads", "window_size", "patch_size", "img_size", "in_chans", "num_classes",
    "global_pool", "mlp_ratio",
}  # fmt: skip


def arguments(config: Config) -> dict[str, Any]:
    """What timm's model would be called with."""
    name = config["architecture"]
    word = next((word for word in name.split("_") if word in SIZES), "tiny")
    window, patch = re.search(r"window(\d+)", name), re.search(r"patch(\d+)", name)
    width, depths, heads = SIZES[word]
    found: dict[str, Any] = {
        "embed_dim": width, "depths": depths, "num_heads": heads, "window_size": int(window[1]) if window else 7,
        "patch_size": int(patch[1]) if patch else 4,
        "img_size": ((config.get("pretrained_cfg") or {}).get("input_size") or (3, 224, 224))[-1],
    }  # fmt: skip
    found |= {key: config[key] for key in ("num_classes", "global_pool") if config.get(key) is not None}
    found |= config.get("model_args") or {}
    unknown = sorted(set(found) - READ)
    if unknown or found.get("global_pool", "avg") != "avg":
        raise ValueError(f"{name} has {', '.join(unknown) or found['global_pool']}, which this family cannot build")
    if isinstance(found["img_size"], list | tuple):
        found["img_size"] = min(found["img_size"])
    return found


def build(config: Config) -> nn.Module:
    """The model of an architecture's name and arguments."""
    a = arguments(config)
    side, stages = a["img_size"] // a["patch_size"], len(a["depths"])
    windows = tuple(min(a["window_size"], -(-side // 2**i)) for i in range(stages))  # never wider than the stage
    patch = PatchSpec(a["patch_size"], a.get("in_chans", 3))
    ratio = float(a.get("mlp_ratio", 4.0))
    spec = SwinSpec(a["embed_dim"], tuple(a["depths"]), tuple(a["num_heads"]), windows, patch, ratio)
    classes = a.get("num_classes", 1000)
    return Swin(spec, head=nn.Linear(spec.width * 2 ** (stages - 1), classes) if classes else None)


def names(config: Config) -> Names:
    """Pairs (theirs, ours)."""
    layer, ours = "layers.{i}.blocks.{j}", "stages.{i}.{j}"
    mixer = f"{ours}.attention.inner.inner"
    pairs = [
        *both("patch_embed.proj", "embed.linear"),
        *both("patch_embed.norm", "embed_norm"),
        *both(f"{layer}.norm1", f"{ours}.attention.norm"),
        *both(f"{layer}.attn.qkv", f"{mixer}.attention.qkv"),
        *both(f"{layer}.attn.proj", f"{mixer}.attention.out"),
        (f"{layer}.attn.relative_position_bias_table", f"{mixer}.bias.table"),
        *both(f"{layer}.norm2", f"{ours}.mlp.norm"),
        *both(f"{layer}.mlp.fc1", f"{ours}.mlp.inner.up"),
        *both(f"{layer}.mlp.fc2", f"{ours}.mlp.inner.down"),
        *both("norm", "norm"),
        *both("head.fc", "head"),
    ]
    for i in range(
        1, len(arguments(config)["depths"])
    ):  # timm merges before a stage, transformers after the one before
        pairs += both(f"layers.{i}.downsample.norm", f"merges.{i - 1}.norm")
        pairs.append((f"layers.{i}.downsample.reduction.weight", f"merges.{i - 1}.linear.weight"))
    return pairs


def tokenizers(folder: Path, config: Config) -> dict[str, Any]:
    """Patches as timm's evaluation transform makes them."""
    a = arguments(config)
    return {"image": patches_of(config.get("pretrained_cfg") or {}, a["patch_size"], a["img_size"])}
