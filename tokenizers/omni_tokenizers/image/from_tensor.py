"""Pixels of a torch tensor, on the device where it lies."""

from typing import TYPE_CHECKING

from omni_tokenizers.image.from_array import array_size
from omni_tokenizers.image.pixels import Color, Layout

if TYPE_CHECKING:
    import torch


def pixels_of_tensor(tensor: "torch.Tensor", *, background: Color, layout: Layout = "chw") -> "torch.Tensor":
    """RGB as uint8 [height, width, 3]; the rules are those of `pixels_of_array`, layout is torch's own."""
    import torch

    array_size(tuple(tensor.shape), layout)
    tensor = tensor.detach()
    if tensor.ndim == 3 and layout == "chw":
        tensor = tensor.permute(1, 2, 0)
    eight = _eight_bits(tensor)
    if eight.ndim == 2:
        eight = eight[..., None]
    channels = eight.shape[2]  # [h, w, channels]
    if channels == 3:
        return eight.contiguous()
    if channels == 1:
        return eight.repeat(1, 1, 3)
    alpha = eight[..., -1:].int()
    behind = torch.tensor(background, dtype=torch.int32, device=eight.device)
    return ((eight[..., :-1].int() * alpha + behind * (255 - alpha) + 127) // 255).to(torch.uint8)


def _eight_bits(tensor: "torch.Tensor") -> "torch.Tensor":
    import torch

    kind = tensor.dtype
    if kind == torch.uint8:
        return tensor
    if kind == torch.bool:
        return tensor.to(torch.uint8) * 255
    if tensor.numel() == 0:
        return tensor.to(torch.uint8)
    if kind == torch.uint16:
        return ((tensor.int() + 128) // 257).to(torch.uint8)
    if kind.is_complex:
        raise TypeError(f"image tensor has dtype {kind}: uint8, uint16, bool, or a float from 0 to 1 can be read")
    low, high = (float(x) for x in torch.aminmax(tensor.float()))
    if not kind.is_floating_point:
        if low < 0 or high > 255:
            raise ValueError(
                f"image tensor of {kind} holds values from {low:g} to {high:g}: whole numbers must be 0 to 255"
            )
        return tensor.to(torch.uint8)
    if not (low >= 0 and high <= 1):  # also true of NaN
        bad = int((~torch.isfinite(tensor)).sum())
        if bad:
            raise ValueError(f"image tensor of {kind} holds {bad} values that are NaN or infinite: clean it first")
        raise ValueError(
            f"image tensor of {kind} holds values from {low:g} to {high:g}: floats must be 0 to 1; "
            "divide by 255, or pass uint8; a normalised picture cannot be read again"
        )
    return (tensor.float() * 255).round().to(torch.uint8)
