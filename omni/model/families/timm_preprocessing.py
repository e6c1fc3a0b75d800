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
    mode, share = published.get("crop_mode") or "center", published.get("crop_pct", 0.875)
    resize: Resize
    if mode == "center":
        resize = ShortSideCrop(math.floor(crop / share), crop, how, rounding="even")
    elif mode == "squash" and share == 1.0:
        resize = Square(crop, how)
    else:
        raise ValueError(
            f"crop_mode is {mode!r} with crop_pct {share}, which is not built here: 'center' is, and 'squash' with 1"
        )
    mean, std = tuple(published.get("mean", HALF)), tuple(published.get("std", HALF))
    return Patches(patch, resize=resize, order="chw", normalize=Normalize(cast(Any, mean), cast(Any, std)))
