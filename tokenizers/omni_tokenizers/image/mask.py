"""Masked autoencoding: which patches a model sees, what it must predict, and how wrong it was.

The draw for an image comes from its own seed and its own number of patches, so neither the batch nor its
padding changes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Union

import numpy as np
from numpy.typing import NDArray

from omni_tokenizers.image.pixels import Array

if TYPE_CHECKING:
    import torch

TARGET_EPSILON = 1e-6  # added to the variance of a patch


@dataclass(frozen=True, eq=False)
class Masking:
    """One draw over `length` patches. Kept patches come in random order, as published."""

    keep: NDArray[np.int64]  # [kept] indices that the encoder sees
    restore: NDArray[np.int64]  # [length] where each patch is in (kept, then hidden)
    mask: NDArray[np.bool_]  # [length] True where hidden

    def __len__(self) -> int:
        return len(self.mask)

    def visible(self, values: Array) -> Array:
        """The kept rows [kept, …] of [length, …]."""
        if values.shape[0] != len(self):
            raise ValueError(f"values have {values.shape[0]} rows, this mask was drawn for {len(self)}")
        return values[self.keep]

    def full(self, visible: Array, hidden: Array) -> Array:
        """Kept rows and one vector (or one row each) for the hidden, back in the order of the image [length, …]."""
        if visible.shape[0] != len(self.keep):
            raise ValueError(f"visible has {visible.shape[0]} rows, this mask keeps {len(self.keep)}")
        missing = len(self) - len(self.keep)
        if isinstance(visible, np.ndarray):
            rest = np.broadcast_to(np.asarray(hidden), (missing, *visible.shape[1:]))
            return np.concatenate([visible, rest])[self.restore]
        import torch

        rows = torch.as_tensor(hidden).expand(missing, *visible.shape[1:])
        return torch.cat([visible, rows])[torch.as_tensor(self.restore, device=visible.device)]


def random_mask(length: int, ratio: float = 0.75, *, seed: int | Sequence[int]) -> Masking:
    """Hide a random share of `length` patches; the same seed always hides the same ones.

    >>> int(random_mask(196, 0.75, seed=7).mask.sum())
    147
    """
    if length < 1:
        raise ValueError(f"length={length}: there must be at least one patch to mask")
    return mask_from_noise(np.random.default_rng(seed).random(length), ratio)


def mask_from_noise(noise: NDArray[Any], ratio: float = 0.75) -> Masking:
    """Hide the patches with the largest noise; ⌊length·(1 − ratio)⌋ stay, and always at least one.

    The published formula keeps none of 10 patches at a ratio of 0.9, since 10·(1 − 0.9) is just below 1.
    """
    if not 0 <= ratio < 1:
        raise ValueError(f"ratio={ratio} must be at least 0 and below 1")
    noise = np.asarray(noise)
    if noise.ndim != 1 or not len(noise):
        raise ValueError(f"noise has shape {list(noise.shape)}, it must be one number for each patch")
    kept = max(1, int(len(noise) * (1 - ratio)))
    shuffle = np.argsort(noise, kind="stable")
    restore = np.argsort(shuffle, kind="stable")
    return Masking(shuffle[:kept], restore, restore >= kept)


def patch_targets(values: Array) -> Array:
    """Patches [n, dim], each with its own mean and (unbiased) variance taken out: what a MAE predicts."""
    if values.shape[-1] < 2:
        raise ValueError(f"patches of {values.shape[-1]} value have no variance")
    centred = values - values.mean(-1)[..., None]
    variance = (centred**2).sum(-1)[..., None] / (values.shape[-1] - 1)
    return centred / (variance + TARGET_EPSILON) ** 0.5


def masked_loss(predicted: Array, target: Array, mask: Union[NDArray[Any], "torch.Tensor"]) -> Any:
    """Mean squared error of each patch [n, dim], then the mean over the hidden ones: True, or 1, in the mask."""
    if predicted.shape != target.shape:
        raise ValueError(f"predicted has shape {list(predicted.shape)}, target {list(target.shape)}")
    error = ((predicted - target) ** 2).mean(-1)  # [n]
    if tuple(error.shape) != tuple(mask.shape):
        raise ValueError(f"mask has shape {list(mask.shape)}, there are {list(error.shape)} patches")
    if not isinstance(error, np.ndarray):
        import torch

        mask = torch.as_tensor(mask, device=error.device)
    hidden = mask != 0
    if not hidden.any():
        raise ValueError("no patch is hidden, so there is nothing to average")
    return error[hidden].mean()
