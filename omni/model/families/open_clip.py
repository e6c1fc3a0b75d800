"""CLIP and SigLIP as open_clip writes them: its own picture tower, or one of timm's."""

from math import log
from pathlib import Path
from typing import Any, cast

from torch import nn

from omni.model.attention import AttentionSpec
from omni.model.block import BlockSpec
from omni.model.families import timm_vit
from omni.model.families.pictures import side
from omni.model.load import Config
from omni.model.mlp import MlpSpec
from omni.model.norm import Norm
from omni.model.patch_embed import PatchSpec
from omni.model.stack import StackSpec
from omni.model.two_tower import TextSpec, TextTower, TwoTower
from omni.model.vision import VisionSpec, VisionTransformer
from omni.model.weights import Names, both
from omni_tokenizers import Patches, Text
from omni_tokenizers.image import Normalize, Resize, ShortSideCrop, Square
from omni_tokenizers.image.plan import Resample

IGNORED = [r"attn_mask$"]
READ_AT = {"argmax": "largest", "last": "last"}
VISION_READ = {
    "layers", "width", "head_width", "mlp_ratio", "patch_size", "image_size", "ls_init_value", "patch_dropout",
    "no_ln_pre", "pool_type", "act_kwargs", "norm_kwargs", "timm_model_name", "timm_model_pretrained", "timm_pool",
    "timm_proj", "timm_proj_bias", "timm_drop", "timm_drop_path",
}  # fmt: skip
TEXT_READ = {
    "context_length", "vocab_size", "hf_tokenizer_name", "tokenizer_mode", "tokenizer_kwargs", "width", "heads",
    "layers", "mlp_ratio", "ls_init_value", "pad_id", "eos_id", "no_causal_mask", "pool_type", "proj_bias",
    "act_kwargs", "norm_kwargs",
}  # fmt: skip


def refuse(part: str, c: Config, read: set[str]) -> None:
    """Name what would change the model in a way that is not built here."""
    unknown = sorted(key for key in set(c) - read if c[key])
    if unknown:
        raise ValueError(f"{part} has {', '.join(unknown)}, which this family cannot build")


def stack(c: Config, heads: int, quick: bool, *, final_norm: bool) -> StackSpec:
    """The layers of one tower."""
    width, norm = c["width"], Norm("layer", eps=(c.get("norm_kwargs") or {}).get("eps", 1e-5))
    tanh = (c.get("act_kwargs") or {}).get("approximate") == "tanh"
    mlp = MlpSpec(int(width * c.get("mlp_ratio", 4.0)), "quick_gelu" if quick else "gelu_tanh" if tanh else "gelu")
    block = BlockSpec(width, AttentionSpec(heads), mlp, norm, layer_scale=c.get("ls_init_value"))
    return StackSpec(block, c["layers"], final_norm=norm if final_norm else None)


def build(config: Config) -> nn.Module:
    """Both towers."""
    c = config["model_cfg"]
    refuse("vision_cfg", c["vision_cfg"], VISION_READ)
    refuse("text_cfg", c["text_cfg"], TEXT_READ)
    quick = bool(c.get("quick_gelu"))
    t = {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12, **c["text_cfg"]}
    at = t.get("pool_type", "argmax")
    read_at = t.get("eos_id", 2) if at == "eos" else READ_AT.get(at)
    if read_at is None:
        raise ValueError(f"pool_type of the text tower is {at!r}: 'argmax', 'last' and 'eos' can be built")
    text_stack = stack(t, t["heads"], quick, final_norm=True)
    causal = not t.get("no_causal_mask", False)
    spec = TextSpec(t["vocab_size"], t["context_length"], text_stack, causal, cast(Any, read_at))
    text = TextTower(spec, nn.Linear(t["width"], c["embed_dim"], bias=bool(t.get("proj_bias"))))
    log_scale = c.get("init_logit_scale", log(1 / 0.07))
    return TwoTower(vision(c, quick), text, log_scale=log_scale, bias=c.get("init_logit_bias"))


def timm_config(c: Config) -> Config:
    """What the picture tower would be to timm."""
    v = c["vision_cfg"]
    if v.get("timm_proj", "linear") not in ("linear", "none", ""):
        raise ValueError(f"timm_proj is {v['timm_proj']!r}: 'linear', 'none' and '' can be built")
    classes = c["embed_dim"] if v.get("timm_proj", "linear") == "" else 0
    given = {"num_classes": classes, "global_pool": v.get("timm_pool", "avg") or "token"}
    found = {"architecture": v["timm_model_name"], "model_args": given}
    if "image_size" in v:
        found["pretrained_cfg"] = {"input_size": [3, side(v["image_size"]), side(v["image_size"])]}
    return found


def vision(c: Config, quick: bool) -> VisionTransformer:
    """The picture tower, projected to the shared width."""
    if "timm_model_name" in c["vision_cfg"]:
        tower = cast(VisionTransformer, timm_vit.build(timm_config(c)))
        if c["vision_cfg"].get("timm_proj", "linear") == "linear":
            width, bias = tower.spec.stack.block.width, bool(c["vision_cfg"].get("timm_proj_bias"))
            tower.head = nn.Linear(width, c["embed_dim"], bias=bias)
        return tower
    v = {"layers": 12, "width": 768, "head_width": 64, "patch_size": 16, "image_size": 224, **c["vision_cfg"]}
    if v.get("pool_type", "tok") != "tok":
        raise ValueError(f"pool_type of the picture tower is {v['pool_type']!r}: 'tok' can be built")
    if not isinstance(v["layers"], int):
        raise ValueError(f"layers of the picture tower are {v['layers']}, a ResNet's: only transformers are built here")
    trunk = stack(v, v["width"] // v["head_width"], quick, final_norm=False)
    rows = side(v["image_size"]) // v["patch_size"]
    norm = trunk.block.norm
    spec = VisionSpec(
        trunk, PatchSpec(v["patch_size"], bias=False), (rows, rows), resampling="timm",
        entry_norm=None if v.get("no_ln_pre") else norm,
    )  # fmt: skip
    return VisionTransformer(spec, pool_norm=norm, head=nn.Linear(v["width"], c["embed_dim"], bias=False))


def names(config: Config) -> Names:
    """Pairs (theirs, ours)."""
    pairs = [("logit_scale", "log_scale"), ("logit_bias", "bias")]
    for prefix in ("text.", ""):  # a custom text tower is a module of its own
        pairs += [
            (f"{prefix}token_embedding.weight", "text.embedding.weight"),
            (f"{prefix}positional_embedding", "text.places"),
            *layer_names(f"{prefix}transformer.resblocks.{{i}}", "text.stack.blocks.{i}"),
            *both(f"{prefix}ln_final", "text.stack.norm"),
            (f"{prefix}text_projection", "text.head.weight@transposed"),
            *both(f"{prefix}text_projection", "text.head"),
        ]
    c = config["model_cfg"]
    if "timm_model_name" in c["vision_cfg"]:
        pairs += timm_vit.trunk_names("visual.trunk.", "vision.")
        return [*pairs, *both("visual.trunk.head", "vision.head"), *both("visual.head.proj", "vision.head")]
    return [
        *pairs,
        ("visual.class_embedding", "vision.class_token"),
        ("visual.positional_embedding", "vision.positions.table"),
        ("visual.conv1.weight", "vision.embed.linear.weight"),
        *both("visual.ln_pre", "vision.entry_norm"),
        *layer_names("visual.transformer.resblocks.{i}", "vision.stack.blocks.{i}"),
        *both("visual.ln_post", "vision.pool_norm"),
        ("visual.proj", "vision.head.weight@transposed"),
    ]


def layer_names(theirs: str, ours: str) -> list[tuple[str, str]]:
    """One block of either tower."""
    attention = f"{ours}.attention.inner.attention"
    return [
        *both(f"{theirs}.ln_1", f"{ours}.attention.norm"),
        (f"{theirs}.attn.in_proj_weight", f"{attention}.qkv.weight"),
        (f"{theirs}.attn.in_proj_bias", f"{attention}.qkv.bias"),
        *both(f"{theirs}.attn.out_proj", f"{attention}.out"),
        (f"{theirs}.ls_1.gamma", f"{ours}.attention.scale.factor"),
        *both(f"{theirs}.ln_2", f"{ours}.mlp.norm"),
        *both(f"{theirs}.mlp.c_fc", f"{ours}.mlp.inner.up"),
        *both(f"{theirs}.mlp.c_proj", f"{ours}.mlp.inner.down"),
        (f"{theirs}.ls_2.gamma", f"{ours}.mlp.scale.factor"),
    ]


def tokenizers(folder: Path, config: Config) -> dict[str, Any]:
    """Patches as open_clip's evaluation transform makes them, and the text vocabulary where the folder has one."""
    c, published = config["model_cfg"], config.get("preprocess_cfg") or {}
    v = c["vision_cfg"]
    crop = side(published.get("size") or v.get("image_size", 224))
    how: Resample = "bilinear" if published.get("interpolation") == "bilinear" else "bicubic"
    squash = published.get("resize_mode") == "squash"
    resize: Resize = Square(crop, how) if squash else ShortSideCrop(crop, crop, how, rounding="even")
    normalize: Normalize | str = "clip"
    if published.get("mean") and published.get("std"):
        normalize = Normalize(tuple(published["mean"]), tuple(published["std"]))
    patch = timm_vit.arguments(timm_config(c))["patch_size"] if "timm_model_name" in v else v.get("patch_size", 16)
    found: dict[str, Any] = {"image": Patches(patch, resize=resize, order="chw", normalize=normalize)}
    if (folder / "tokenizer.json").exists():
        found["text"] = Text.load(folder)
    return found
