"""ViT, DeiT, DINOv2, CLIP and SigLIP picture towers as timm writes them: the name is the configuration."""

import re
from pathlib import Path
from typing import Any, cast

from torch import nn

from omni.model.attention import AttentionSpec
from omni.model.block import BlockSpec
from omni.model.conv_stem import ConvStem, ConvStemSpec
from omni.model.families.activation import activation
from omni.model.families.timm_preprocessing import patches_of
from omni.model.head import TwoHeads
from omni.model.load import Config
from omni.model.mlp import MlpSpec
from omni.model.norm import Norm
from omni.model.patch_embed import PatchSpec
from omni.model.pool import AttentionPool, ClassToken, FirstTokens, Mean
from omni.model.stack import StackSpec
from omni.model.vision import VisionSpec, VisionTransformer
from omni.model.weights import Names, both

IGNORED: list[str] = []

# width, depth, heads; timm's default is base
SIZES = {
    "tiny": (192, 12, 3), "small": (384, 12, 6), "medium": (512, 12, 8), "base": (768, 12, 12),
    "large": (1024, 24, 16), "huge": (1280, 32, 16), "giant": (1408, 40, 16), "so400m": (1152, 27, 16),
}  # fmt: skip
# What a word in the name of an architecture changes; `model_args` in the configuration change it again.
WORDS: dict[str, dict[str, Any]] = {
    "clip": {"pre_norm": True, "eps": 1e-5},
    "quickgelu": {"act_layer": "quick_gelu"},
    "dinov2": {"init_values": 1e-5},
    "reg4": {"reg_tokens": 4, "no_embed_class": True},
    "deit3": {"no_embed_class": True, "init_values": 1e-6},
    "distilled": {"distilled": True},
    "siglip": {"class_token": False, "global_pool": "map"},
    "so400m": {"mlp_ratio": 3.7362},
    "giant": {"mlp_ratio": 48 / 11},
}
# Residual units of the convolutional stem, by two words of the name
HYBRIDS = {("r50", "s16"): (3, 4, 9), ("r50", "s32"): (3, 4, 6, 3), ("r26", "s32"): (2, 2, 2, 2), ("r", "s16"): ()}
# SigLIP 2's own sizes, which no SigLIP had
TANH = re.compile("vit_(base_patch32_siglip|large_patch16_siglip_512|so400m_patch16_siglip)")
READ = {
    "embed_dim", "depth", "num_heads", "mlp_ratio", "patch_size", "img_size", "in_chans", "num_classes", "global_pool",
    "qkv_bias", "init_values", "class_token", "no_embed_class", "reg_tokens", "pre_norm", "fc_norm", "act_layer",
    "dynamic_img_size", "dynamic_img_pad", "distilled", "eps", "final_norm",
}  # fmt: skip


def arguments(config: Config) -> dict[str, Any]:
    """What timm's model would be called with."""
    name, published = config["architecture"], config.get("pretrained_cfg") or {}
    words = name.split("_")
    if not name.startswith(("vit_", "deit_", "deit3_")) or any(re.fullmatch(r"\d+x\d+", word) for word in words):
        raise ValueError(f"architecture is {name!r}, which this family cannot build: vit_*, deit_* and deit3_* are")
    size = next((word for word in words if word in SIZES), "base")
    width, depth, heads = SIZES[size]
    patch = re.search(r"patch(\d+)|_p(\d+)_", name)
    stem = hybrid(config)
    found: dict[str, Any] = {
        "embed_dim": width, "depth": depth, "num_heads": heads, "mlp_ratio": 4.0, "eps": 1e-6,
        "patch_size": int(patch[1] or patch[2]) if patch else 16 if stem is None else 1,
        "img_size": (published.get("input_size") or (3, 224, 224))[-1],
        "global_pool": "token", "class_token": True,
    }  # fmt: skip
    for word in words:
        found |= WORDS.get(word, {})
    if TANH.match(name):
        found["act_layer"] = "gelu_tanh"
    found |= {key: config[key] for key in ("num_classes", "global_pool") if config.get(key) is not None}
    found |= config.get("model_args") or {}
    unknown = sorted(set(found) - READ)
    if unknown:
        raise ValueError(f"{name} has model_args {', '.join(unknown)}, which this family cannot build")
    return found


def hybrid(config: Config) -> tuple[int, ...] | None:
    """The units of the convolutional stem, where the architecture has one."""
    words = set(config["architecture"].split("_"))
    return next((layers for pair, layers in HYBRIDS.items() if words.issuperset(pair)), None)


def build(config: Config) -> nn.Module:
    """The model of an architecture's name and arguments."""
    a = arguments(config)
    width, pooling = a["embed_dim"], a["global_pool"]
    norm = Norm("layer", eps=a["eps"])
    block = BlockSpec(
        width,
        AttentionSpec(a["num_heads"], bias=a.get("qkv_bias", True)),
        MlpSpec(int(width * a["mlp_ratio"]), activation(a, "act_layer")),
        norm,
        layer_scale=a.get("init_values") or None,
    )
    late = a.get("fc_norm")  # the last norm stands behind the pool
    late = pooling == "avg" if late is None else late
    last = norm if a.get("final_norm", True) else None
    registers, distilled = a.get("reg_tokens", 0), bool(a.get("distilled"))
    image = a["img_size"] if isinstance(a["img_size"], list | tuple) else (a["img_size"], a["img_size"])
    layers = hybrid(config)
    stem = None if layers is None else ConvStemSpec(layers, channels=a.get("in_chans", 3), patch=a["patch_size"])
    step = a["patch_size"] if stem is None else stem.step
    front = int(a["class_token"]) + distilled + registers
    spec = VisionSpec(
        StackSpec(block, a["depth"], final_norm=None if late else last),
        PatchSpec(a["patch_size"], a.get("in_chans", 3), bias=not a.get("pre_norm"),
                  edges="pad" if a.get("dynamic_img_pad") else "refuse"),
        (image[0] // step, image[1] // step),
        resampling="timm",
        class_token=a["class_token"],
        distillation=distilled,
        registers=registers,
        placed=0 if a.get("no_embed_class") else front,
        entry_norm=norm if a.get("pre_norm") else None,
    )  # fmt: skip
    if pooling == "map":
        pool: nn.Module = AttentionPool(block, skip=front)
    elif pooling in ("avg", "token"):
        pool = Mean(front) if pooling == "avg" else FirstTokens() if distilled else ClassToken()
    else:
        raise ValueError(f"global_pool is {pooling!r}: 'token', 'avg' and 'map' can be built")
    classes = a.get("num_classes", 1000)
    head: nn.Module | None = None
    if classes:
        head = TwoHeads(width, classes) if distilled else nn.Linear(width, classes)
    embed = None if stem is None else ConvStem(width, stem)
    return VisionTransformer(spec, embed=embed, pool=pool, pool_norm=last if late else None, head=head)


def names(config: Config) -> Names:
    """Pairs (theirs, ours)."""
    a = arguments(config)
    head = "head.label" if a.get("distilled") else "head"
    pairs = [*trunk_names("", ""), *both("head", head), *both("head_dist", "head.teacher")]
    layers = hybrid(config)
    return pairs if layers is None else [*stem_names(layers), *pairs]


def stem_names(layers: tuple[int, ...]) -> list[tuple[str, str]]:
    """The convolutional stem; without stages timm leaves out a level."""
    first = "patch_embed.backbone." + ("stem." if layers else "")
    unit, ours = "patch_embed.backbone.stages.{i}.blocks.{j}", "embed.stages.{i}.{j}"
    pairs = [
        (f"{first}conv.weight", "embed.stem.weight"),
        *both(f"{first}norm", "embed.stem_norm"),
        (f"{unit}.downsample.conv.weight", f"{ours}.shortcut.weight"),
        *both(f"{unit}.downsample.norm", f"{ours}.shortcut_norm"),
        *both("patch_embed.proj", "embed.project.linear"),
    ]
    for n, part in enumerate(("first", "second", "third"), start=1):
        pairs.append((f"{unit}.conv{n}.weight", f"{ours}.{part}.weight"))
        pairs += both(f"{unit}.norm{n}", f"{ours}.{part}_norm")
    return pairs


def trunk_names(theirs: str, ours: str, pool: str = "pool.") -> list[tuple[str, str]]:
    """Everything but the classifier; `open_clip` has the same trunk inside its SigLIP models."""
    block, attention = f"{ours}stack.blocks.{{i}}", f"{ours}stack.blocks.{{i}}.attention.inner.attention"
    layer = f"{theirs}blocks.{{i}}"
    return [
        (f"{theirs}cls_token", f"{ours}class_token"),
        (f"{theirs}dist_token", f"{ours}distillation_token"),
        (f"{theirs}reg_token", f"{ours}register_tokens"),
        (f"{theirs}pos_embed", f"{ours}positions.table"),
        *both(f"{theirs}patch_embed.proj", f"{ours}embed.linear"),
        *both(f"{theirs}norm_pre", f"{ours}entry_norm"),
        *both(f"{layer}.norm1", f"{block}.attention.norm"),
        *both(f"{layer}.attn.qkv", f"{attention}.qkv"),
        *both(f"{layer}.attn.proj", f"{attention}.out"),
        (f"{layer}.ls1.gamma", f"{block}.attention.scale.factor"),
        *both(f"{layer}.norm2", f"{block}.mlp.norm"),
        *both(f"{layer}.mlp.fc1", f"{block}.mlp.inner.up"),
        *both(f"{layer}.mlp.fc2", f"{block}.mlp.inner.down"),
        (f"{layer}.ls2.gamma", f"{block}.mlp.scale.factor"),
        *both(f"{theirs}norm", f"{ours}stack.norm"),
        *both(f"{theirs}fc_norm", f"{ours}pool_norm"),
        (f"{theirs}attn_pool.latent", f"{ours}{pool}probe"),
        *(
            pair
            for kind in ("weight", "bias")
            for pair in (
                (f"{theirs}attn_pool.q.{kind}", f"{ours}{pool}attention.qkv.{kind}@q"),
                (f"{theirs}attn_pool.kv.{kind}", f"{ours}{pool}attention.qkv.{kind}@kv"),
            )
        ),
        *both(f"{theirs}attn_pool.proj", f"{ours}{pool}attention.out"),
        *both(f"{theirs}attn_pool.norm", f"{ours}{pool}norm"),
        *both(f"{theirs}attn_pool.mlp.fc1", f"{ours}{pool}mlp.up"),
        *both(f"{theirs}attn_pool.mlp.fc2", f"{ours}{pool}mlp.down"),
    ]


def tokenizers(folder: Path, config: Config) -> dict[str, Any]:
    """Patches as timm's evaluation transform makes them."""
    a = arguments(config)
    layers = hybrid(config)
    size = a["patch_size"] if layers is None else ConvStemSpec(layers, patch=a["patch_size"]).step
    return {"image": patches_of(cast(dict[str, Any], config.get("pretrained_cfg") or {}), size, a["img_size"])}
