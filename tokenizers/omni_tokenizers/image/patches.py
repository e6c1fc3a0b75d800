"""`Patches`: an image as the tokens of a vision transformer, and back."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from omni_tokenizers.image.from_array import array_size
from omni_tokenizers.image.from_tensor import pixels_of_tensor
from omni_tokenizers.image.grid import Kind, PatchGrid, Values
from omni_tokenizers.image.normalize import NORMALIZATIONS, Normalize, affine
from omni_tokenizers.image.order import ORDERS, Order, grid_positions, patchify, unpatchify
from omni_tokenizers.image.pixels import MAX_PIXELS, WHITE, Color, Layout, as_color, check_size, is_tensor
from omni_tokenizers.image.plan import Plan, View
from omni_tokenizers.image.read import ImageSource, borrow_pixels, read_image
from omni_tokenizers.image.resize import Exact, Resize, resize_from, resize_settings
from omni_tokenizers.image.scale import render
from omni_tokenizers.tokenizer import CannotStream

if TYPE_CHECKING:
    import torch


EXACT = Exact()


@dataclass(frozen=True)
class Patches:
    """Settings that turn images into patches; nothing in it changes, so one can serve every thread.

    >>> patches = Patches(16)
    >>> patches.encode(np.zeros((32, 48, 3), np.uint8)).values.shape
    (6, 768)
    >>> patches.count(48, 32)
    6
    """

    size: int = 16  # pixels on each side of a patch
    resize: Resize = EXACT
    order: Order | str = "hwc"
    normalize: Normalize | str = "half"
    cls: bool = False  # a slot for the class token, before everything
    registers: int = 0  # slots for register tokens, after the class token
    background: Color = WHITE  # what alpha is composited on
    device: str | None = None  # None: numpy on the CPU; else tensors on that device
    max_pixels: int = MAX_PIXELS  # of one source image

    def __post_init__(self) -> None:
        if not isinstance(self.size, int) or self.size < 1:
            raise ValueError(f"size={self.size!r} must be a whole number of pixels, at least 1")
        if not isinstance(self.registers, int) or self.registers < 0:
            raise ValueError(f"registers={self.registers!r} must be a whole number of at least 0")
        if not hasattr(self.resize, "plan") or isinstance(self.resize, type):
            raise TypeError(f"resize={self.resize!r} is not a policy: pass one such as Square(224)")
        # Names and lists become what they stand for, so that equal settings compare equal.
        object.__setattr__(self, "background", as_color(self.background, "background"))
        if not isinstance(self.order, Order):
            object.__setattr__(self, "order", Order.named(self.order))
        if not isinstance(self.normalize, Normalize):
            object.__setattr__(self, "normalize", Normalize.named(self.normalize))

    @property
    def dim(self) -> int:
        """Raw values in one patch: 768 for 16×16 RGB. The width of a model is another number."""
        return self._order.width(self.size)

    @property
    def slots(self) -> int:
        """Rows before the patches: the class token and the registers."""
        return int(self.cls) + self.registers

    def plan(self, width: int, height: int) -> Plan:
        """What will be done to an image of this size; raises what `encode` would raise."""
        check_size(width, height, self.max_pixels)
        plan = self.resize.plan(width, height, self.size)
        step = self.size * self._order.merge
        for view in plan.views:
            if view.size[0] % step or view.size[1] % step:
                raise ValueError(
                    f"image of {width}×{height} (width×height) becomes {view.size[0]}×{view.size[1]}, which is no "
                    f"whole number of {self._order.merge}×{self._order.merge} blocks of {self.size}-pixel patches: "
                    f"pass a resize=… that gives multiples of {step}"
                )
        return plan

    def count(self, width: int, height: int) -> int:
        """Tokens of an image of this size as displayed; always `len(encode(image))`."""
        return self.slots + sum(rows * columns for rows, columns in map(self._grid, self.plan(width, height).views))

    def encode(self, image: ImageSource, *, layout: Layout | None = None) -> PatchGrid:
        """Read, scale, cut and normalise one image."""
        if self.device is None:
            pixels = borrow_pixels(image, background=self.background, layout=layout, max_pixels=self.max_pixels)
            return self._encode_array(pixels)
        return self._encode_tensor(self._on_device(image, layout))

    def encode_batch(self, images: Iterable[ImageSource], *, layout: Layout | None = None) -> list[PatchGrid]:
        """Each image for itself; `pad_patches` makes one array of the result."""
        shape = getattr(images, "shape", ())
        last = (layout or ("chw" if is_tensor(images) else "hwc")) == "hwc"
        if isinstance(images, (str, bytes)) or (len(shape) == 3 and shape[-1 if last else 0] <= 4):
            what = f"an array of shape {list(shape)}" if shape else type(images).__name__
            raise TypeError(
                f"encode_batch takes many images, and {what} could be one: pass [image], or list(images) if it is many"
            )
        return [self.encode(image, layout=layout) for image in images]

    def decode(self, grid: PatchGrid, *, thumbnail: bool = False) -> NDArray[np.uint8]:
        """The pixels [height, width, 3] again, as they were after scaling: padding is cut off, tiles are joined."""
        values, first, parts = grid.patches, 0, []
        if not isinstance(values, np.ndarray):
            values = values.detach().float().cpu().numpy()
        factor, offset = affine(self._normalize, self.size, self._order)
        for view, (rows, columns) in zip(grid.plan.views, grid.grids, strict=True):
            rows_of_view = values[first : first + rows * columns]
            first += rows * columns
            if (view.kind == "thumbnail") == thumbnail:
                raw = unpatchify((rows_of_view - offset) / factor, (rows, columns), self.size, self._order)
                parts.append((view, np.rint(np.clip(raw, 0, 255)).astype(np.uint8)))
        if not parts:
            raise ValueError("this image has no thumbnail: only Tiles with more than one tile adds one")
        return _join(parts)

    def stream(self) -> NoReturn:
        """An image cannot stream."""
        raise CannotStream("an image arrives whole: scaling needs its size and every row, so call encode")

    def settings(self) -> dict[str, Any]:
        """Everything but the device, as plain JSON values."""
        return {
            "size": self.size,
            "resize": resize_settings(self.resize),
            "order": asdict(self._order),
            "normalize": asdict(self._normalize),
            "cls": self.cls,
            "registers": self.registers,
            "background": list(self.background),
            "max_pixels": self.max_pixels,
        }

    @classmethod
    def from_settings(cls, settings: dict[str, Any], *, device: str | None = None) -> "Patches":
        """What `settings` wrote down; names are taken for `order` and `normalize` too.

        >>> Patches.from_settings(Patches(14, cls=True).settings()) == Patches(14, cls=True)
        True
        """
        values = dict(settings)
        unknown = set(values) - set(Patches.__dataclass_fields__)
        if unknown:
            raise ValueError(f"unknown settings of Patches: {', '.join(sorted(unknown))}")
        if isinstance(values.get("resize"), dict):
            values["resize"] = resize_from(values["resize"])
        if isinstance(values.get("order"), dict):
            values["order"] = Order(**values["order"])
        if isinstance(values.get("normalize"), dict):
            values["normalize"] = Normalize(**values["normalize"])
        if "background" in values:
            values["background"] = tuple(values["background"])
        return cls(**{**values, "device": device})

    @property
    def _order(self) -> Order:
        return self.order if isinstance(self.order, Order) else ORDERS[self.order]

    @property
    def _normalize(self) -> Normalize:
        return self.normalize if isinstance(self.normalize, Normalize) else NORMALIZATIONS[self.normalize]

    def _grid(self, view: View) -> tuple[int, int]:
        width, height = view.size
        return height // self.size, width // self.size

    def _encode_array(self, pixels: NDArray[np.uint8]) -> PatchGrid:
        plan = self.plan(pixels.shape[1], pixels.shape[0])
        parts = [patchify(window, self.size, self._order) for window in render(pixels, plan)]
        factor, offset = affine(self._normalize, self.size, self._order)
        values = np.empty((self.slots + sum(map(len, parts)), self.dim), np.float32)
        values[: self.slots] = 0
        first = self.slots
        for part in parts:
            rows = values[first : first + len(part)]
            rows[:] = part
            rows *= factor
            rows += offset
            first += len(part)
        return self._labelled(values, plan)

    def _on_device(self, image: ImageSource, layout: Layout | None) -> "torch.Tensor":
        import torch

        if is_tensor(image):
            tensor = torch.as_tensor(image)
            check_size(*array_size(tuple(tensor.shape), layout or "chw"), self.max_pixels)
            moved = tensor.to(self.device)
            return pixels_of_tensor(moved, background=self.background, layout=layout or "chw")
        pixels = read_image(image, background=self.background, layout=layout, max_pixels=self.max_pixels)
        return torch.tensor(pixels, device=self.device)

    def _encode_tensor(self, pixels: "torch.Tensor") -> PatchGrid:
        import torch

        plan = self.plan(pixels.shape[1], pixels.shape[0])
        parts = [patchify(window, self.size, self._order) for window in render(pixels, plan)]
        factor, offset = (
            torch.tensor(x, device=pixels.device) for x in affine(self._normalize, self.size, self._order)
        )
        rows = torch.cat(parts).float().mul_(factor).add_(offset)
        values = torch.cat([rows.new_zeros(self.slots, self.dim), rows]) if self.slots else rows
        return self._labelled(values, plan)

    def _labelled(self, values: Values, plan: Plan) -> PatchGrid:
        grids = tuple(map(self._grid, plan.views))
        positions, kind, view = _labels(grids, self.cls, self.registers, self._order)
        return PatchGrid(values, positions, kind, view, grids, plan)


@lru_cache(maxsize=256)
def _labels(
    grids: tuple[tuple[int, int], ...], cls: bool, registers: int, order: Order
) -> tuple[NDArray[np.int32], NDArray[np.uint8], NDArray[np.int32]]:
    """Positions, kinds and views of every row; read-only, since images of one shape share them."""
    slots = cls + registers
    positions = np.concatenate([np.full((slots, 2), -1, np.int32), *(grid_positions(g, order) for g in grids)])
    kind = np.full(len(positions), Kind.PATCH, np.uint8)
    kind[:slots] = Kind.REGISTER
    kind[: int(cls)] = Kind.CLS
    counts = [slots, *(rows * columns for rows, columns in grids)]
    view = np.repeat(np.arange(-1, len(grids), dtype=np.int32), counts)
    for array in (positions, kind, view):
        array.flags.writeable = False
    return positions, kind, view


def _join(parts: list[tuple[View, NDArray[np.uint8]]]) -> NDArray[np.uint8]:
    """Lay windows of one scaled image beside each other, without their padding."""
    boxes = [view.inside for view, _ in parts]
    left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
    right, bottom = max(box[2] for box in boxes), max(box[3] for box in boxes)
    joined = np.empty((bottom - top, right - left, 3), np.uint8)
    for (view, window), (l, t, r, b) in zip(parts, boxes, strict=True):
        x, y = l - view.box[0], t - view.box[1]
        joined[t - top : b - top, l - left : r - left] = window[y : y + b - t, x : x + r - l]
    return joined
