"""The tokens of one image, and of several padded to one length."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any, TypeAlias, Union

import numpy as np
from numpy.typing import NDArray

from omni_tokenizers.image.plan import Plan

if TYPE_CHECKING:
    import torch

Values: TypeAlias = Union[NDArray[np.float32], "torch.Tensor"]


class Kind(IntEnum):
    """What a row of values stands for. A model puts its own learned vector where the kind is not PATCH."""

    PATCH = 0
    CLS = 1
    REGISTER = 2
    PADDING = 3


@dataclass(frozen=True, eq=False)
class PatchGrid:
    """One image as tokens: CLS and register slots first (rows of zeros), then the patches of each view."""

    values: Values  # float32 [n, dim]
    positions: NDArray[np.int32]  # [n, 2] row and column in its own view; −1 for slots
    kind: NDArray[np.uint8]  # [n] of Kind
    view: NDArray[np.int32]  # [n] index into plan.views; −1 for slots
    grids: tuple[tuple[int, int], ...]  # rows and columns of each view
    plan: Plan

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns, where the image is one view."""
        if len(self.grids) != 1:
            raise ValueError(f"this image has {len(self.grids)} views, each with a grid of its own: read .grids")
        return self.grids[0]

    @property
    def slots(self) -> int:
        """How many CLS and register rows come before the patches."""
        return len(self.kind) - sum(rows * columns for rows, columns in self.grids)

    @property
    def patches(self) -> Values:
        """The rows that are patches [n − slots, dim]."""
        return self.values[self.slots :]

    def with_patches(self, patches: Values) -> "PatchGrid":
        """The same grid with other patch values, for instance those a model predicted."""
        if tuple(patches.shape) != tuple(self.patches.shape):
            raise ValueError(f"patches have shape {list(patches.shape)}, this grid holds {list(self.patches.shape)}")
        if isinstance(self.values, np.ndarray):
            return replace(self, values=np.concatenate([self.values[: self.slots], np.asarray(patches)]))
        import torch

        return replace(self, values=torch.cat([self.values[: self.slots], torch.as_tensor(patches)]))


@dataclass(frozen=True, eq=False)
class PaddedPatches:
    """Several images as one array; padding is zeros at the end and False in the mask."""

    values: Values  # float32 [batch, n, dim]
    mask: NDArray[np.bool_]  # [batch, n], True for tokens
    positions: NDArray[np.int32]  # [batch, n, 2], −1 for slots and padding
    kind: NDArray[np.uint8]  # [batch, n] of Kind
    grids: tuple[tuple[tuple[int, int], ...], ...]  # of each image, of each view


def pad_patches(items: Iterable[PatchGrid], length: int | None = None) -> PaddedPatches:
    """Pad images to `length` tokens, or to the longest; no value of an item changes."""
    items = list(items)
    if not items:
        raise ValueError("pad_patches needs at least one image")
    longest = max(map(len, items))
    length = longest if length is None else length
    if length < longest:
        raise ValueError(f"length={length} is shorter than the longest image, {longest} tokens: it would lose patches")
    dims = {item.values.shape[1] for item in items}
    if len(dims) > 1:
        raise ValueError(f"images have patches of {sorted(dims)} values: encode them all with one Patches")

    def stack(name: str, fill: int) -> Any:
        parts = [getattr(item, name) for item in items]
        padded = np.full((len(items), length, *parts[0].shape[1:]), fill, parts[0].dtype)
        for row, part in zip(padded, parts, strict=True):
            row[: len(part)] = part
        return padded

    kind = stack("kind", Kind.PADDING)
    return PaddedPatches(
        values=stack("values", 0) if isinstance(items[0].values, np.ndarray) else _stack_tensors(items, length),
        mask=kind != Kind.PADDING,
        positions=stack("positions", -1),
        kind=kind,
        grids=tuple(item.grids for item in items),
    )


def _stack_tensors(items: Sequence[PatchGrid], length: int) -> "torch.Tensor":
    import torch

    first = torch.as_tensor(items[0].values)
    padded = first.new_zeros(len(items), length, first.shape[1])
    for row, item in zip(padded, items, strict=True):
        row[: len(item)] = torch.as_tensor(item.values)
    return padded
