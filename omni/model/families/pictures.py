"""What the picture families share: reading sizes, labels and preprocessing out of published configurations."""

import json
from pathlib import Path
from typing import Any, cast

from omni.model.load import Config
from omni_tokenizers.image import Normalize, Patches, Resize, ShortSideCrop, Square
from omni_tokenizers.image.plan import Resample

RESAMPLES: dict[int, Resample] = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers
UNWRITTEN_LABELS = 2  # transformers leaves the default of two labels out of the file


def side(size: Any) -> int:
    """The side of a square picture, given as a number, a pair or a mapping."""
    if isinstance(size, dict):
        size = [size["height"], size["width"]]
    if isinstance(size, list | tuple):
        if len(set(size)) != 1:
            raise ValueError(f"image_size is {size}: only square position tables can be loaded")
        size = size[0]
    return int(size)


def labels(config: Config) -> int:
    """How many classes the classifier tells apart."""
    return len(config.get("id2label") or ()) or int(config.get("num_labels", UNWRITTEN_LABELS))


def patches_of(folder: Path, config: Config, *, normalize: str, order: str = "chw") -> Patches:
    """The patch tokenizer of transformers' preprocessor_config.json, or the family's usual one where there is none."""
    size, image = int(config.get("patch_size", 16)), side(config.get("image_size", 224))
    file = folder / "preprocessor_config.json"
    if not file.exists():
        return Patches(size, resize=Square(image), order=order, normalize=normalize)
    c = json.loads(file.read_text())
    resample = RESAMPLES.get(c.get("resample", 2), "bilinear")
    wanted = c.get("size", image)
    resize: Resize
    if (isinstance(wanted, dict) and "shortest_edge" in wanted) or c.get("do_center_crop"):
        crop = side(c.get("crop_size", image)) if c.get("do_center_crop", True) else None
        short = wanted["shortest_edge"] if isinstance(wanted, dict) and "shortest_edge" in wanted else side(wanted)
        resize = ShortSideCrop(int(short), crop, resample)
    else:
        resize = Square(side(wanted), resample)
    mean, std = c.get("image_mean"), c.get("image_std")
    chosen: Normalize | str = normalize
    if not c.get("do_normalize", True):
        chosen = "none"
    elif mean and std:
        chosen = Normalize(cast(Any, tuple(mean)), cast(Any, tuple(std)))
    return Patches(size, resize=resize, order=order, normalize=chosen)
