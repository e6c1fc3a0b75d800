"""timm's evaluation transform as a patch tokenizer."""

import math
from typing import Any, cast

from omni_tokenizers.image import Normalize, Patches, Resize, ShortSideCrop, Square
from omni_tokenizers.image.plan import Resample

HALF = (0.5, 0.5, 0.5)


def patches_of(published: dict[str, Any], patch: int, image: int | tuple[int, int]) -> Patches:
    """Patches from a `pretrained_cfg`: crop_pct scales the short side up before the centre is cut."""
    crop = image if isinstance(image, int) else image[0]
    how: Resample = "bilinear" if published.get("interpolation") == "bilinear" else "bicubic"
    resize: Resize
    if published.get("crop_mode") == "squash" and published.get("crop_pct", 0.875) == 1.0:
        resize = Square(crop, how)
    else:
        resize = ShortSideCrop(math.floor(crop / published.get("crop_pct", 0.875)), crop, how, rounding="even")
    mean, std = tuple(published.get("mean", HALF)), tuple(published.get("std", HALF))
    return Patches(patch, resize=resize, order="chw", normalize=Normalize(cast(Any, mean), cast(Any, std)))
