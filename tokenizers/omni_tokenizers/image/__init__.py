"""Images as patches: reading, scaling, cutting, masking, and the way back. Importing it does not import torch."""

from omni_tokenizers.image.grid import Kind, PaddedPatches, PatchGrid, pad_patches
from omni_tokenizers.image.mask import Masking, mask_from_noise, masked_loss, patch_targets, random_mask
from omni_tokenizers.image.normalize import NORMALIZATIONS, Normalize
from omni_tokenizers.image.order import (
    ORDERS,
    Order,
    convert,
    grid_positions,
    linear_weight,
    patchify,
    raster,
    unpatchify,
)
from omni_tokenizers.image.patches import Patches
from omni_tokenizers.image.pixels import ImageTooLarge, UnreadableImage
from omni_tokenizers.image.plan import Plan, View
from omni_tokenizers.image.positions import RESAMPLINGS, Resampling, resample_positions
from omni_tokenizers.image.read import ImageSource, image_size, read_image
from omni_tokenizers.image.reduce import merge, pool
from omni_tokenizers.image.resize import (
    Exact,
    LongestSide,
    NaFlex,
    Pad,
    Resize,
    ShortSideCrop,
    SmartResize,
    Square,
    Tiles,
)

__all__ = [
    "NORMALIZATIONS",
    "ORDERS",
    "RESAMPLINGS",
    "Exact",
    "ImageSource",
    "ImageTooLarge",
    "Kind",
    "LongestSide",
    "Masking",
    "NaFlex",
    "Normalize",
    "Order",
    "Pad",
    "PaddedPatches",
    "PatchGrid",
    "Patches",
    "Plan",
    "Resampling",
    "Resize",
    "ShortSideCrop",
    "SmartResize",
    "Square",
    "Tiles",
    "UnreadableImage",
    "View",
    "convert",
    "grid_positions",
    "image_size",
    "linear_weight",
    "mask_from_noise",
    "masked_loss",
    "merge",
    "pad_patches",
    "patch_targets",
    "patchify",
    "pool",
    "random_mask",
    "raster",
    "read_image",
    "resample_positions",
    "unpatchify",
]
