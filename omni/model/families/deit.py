"""DeiT as transformers writes it: ViT with a distillation token and two classifiers."""

from torch import nn

from omni.model.families.pictures import labels
from omni.model.families.vit import IGNORED, encoder_names, pooler, spec, tokenizers
from omni.model.head import TwoHeads
from omni.model.load import Config
from omni.model.pool import FirstTokens
from omni.model.vision import VisionTransformer
from omni.model.weights import Names, both

__all__ = ["IGNORED", "build", "names", "tokenizers"]


def build(config: Config) -> nn.Module:
    """With both classifiers, with the class token's alone, with the pooler, or without a head."""
    trunk = spec(config, distillation=True)
    width, architecture = trunk.stack.block.width, (config.get("architectures") or [""])[0]
    if architecture == "DeiTForImageClassificationWithTeacher":
        return VisionTransformer(trunk, pool=FirstTokens(), head=TwoHeads(width, labels(config)))
    if architecture == "DeiTForImageClassification":
        return VisionTransformer(trunk, head=nn.Linear(width, labels(config)))
    if architecture == "DeiTModel":
        return VisionTransformer(trunk, head=pooler(config, width))
    return VisionTransformer(trunk)


def names(config: Config) -> Names:
    """Pairs (theirs, ours)."""
    return [
        *(pair for prefix in ("deit.", "") for pair in encoder_names(prefix)),
        *both("classifier", "head"),
        *both("cls_classifier", "head.label"),
        *both("distillation_classifier", "head.teacher"),
        *both("pooler.dense", "head.0"),
    ]
