"""What the picture families share: reading sizes, labels and preprocessing out of published configurations."""

from math import isclose
from pathlib import Path
from typing import Any, cast

from omni.model.load import Config, read_json
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
            raise ValueError(f"a size is {size}: only square pictures and patches can be loaded")
        size = size[0]
    return int(size)


def labels(config: Config) -> int:
    """How many classes the classifier tells apart."""
    return len(config.get("id2label") or ()) or int(config.get("num_labels", UNWRITTEN_LABELS))


def preprocessor(folder: Path) -> Config | None:
    """What transformers wrote of the preprocessing, in a file of its own or in that of all modalities."""
    alone, all_of_them = folder / "preprocessor_config.json", folder / "processor_config.json"
    c = read_json(alone) if alone.exists() else None
    if c is None and all_of_them.exists():
        c = read_json(all_of_them).get("image_processor")
    if c is None:
        return None
    if c.get("resample", 2) not in RESAMPLES:
        raise ValueError(f"resample is {c['resample']}, which is not built here: 2 (bilinear) and 3 (bicubic) are")
    for name in ("do_resize", "do_rescale"):
        if not c.get(name, True):
            raise ValueError(f"{name} is false in the preprocessing of {folder}: pictures are always scaled here")
    if not isclose(factor := c.get("rescale_factor", 1 / 255), 1 / 255, rel_tol=1e-6):
        raise ValueError(f"rescale_factor is {factor}, which is not built here: 1/255 is")
    return c


def patches_of(folder: Path, config: Config, *, normalize: str, order: str = "chw") -> Patches:
    """The patch tokenizer of transformers' preprocessor_config.json, or the family's usual one where there is none."""
    size, image = side(config.get("patch_size", 16)), side(config.get("image_size", 224))
    c = preprocessor(folder)
    if c is None:
        return Patches(size, resize=Square(image), order=order, normalize=normalize)
    resample = RESAMPLES[c.get("resample", 2)]
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
