"""The layers of a causal convolutional codec, fed piece by piece.

The published EnCodec and Mimi modules see a whole clip at once. Here each layer keeps what the next piece needs:
a convolution its last kernel − stride inputs, a transposed convolution the tail that overlaps, a recurrent
layer its cells. The weights stay in the published modules, and a clip of one piece has the published result.
"""

from collections.abc import Iterable
from typing import Any, Protocol

import torch
from torch import nn
from torch.nn import functional


class Live(Protocol):
    """One layer with its state: [1, channels, time] in, [1, channels, time] out."""

    def step(self, x: torch.Tensor, last: bool) -> torch.Tensor:
        """Take the next piece; `last` says that nothing follows."""
        ...


class Convolution:
    """A causal convolution; at the end of the clip it pads up to its stride, as the published one does."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self._stride = int(module.conv.stride[0])
        self._pad = (int(module.conv.kernel_size[0]) - 1) * int(module.conv.dilation[0]) + 1 - self._stride
        self._past: torch.Tensor | None = None  # [1, channels, pad], the inputs that the next window begins with

    def step(self, x: torch.Tensor, last: bool) -> torch.Tensor:
        """[1, before, time] to [1, channels, time / stride]."""
        more = -x.shape[-1] % self._stride if last else 0
        mode = self._module.pad_mode
        if self._past is None:
            x = self._module._pad1d(x, (self._pad, more), mode)
        else:
            x = torch.cat([self._past, x], -1)
            if more:
                x = functional.pad(x, (0, more), mode)
        self._past = x[..., x.shape[-1] - self._pad :]
        y: torch.Tensor = self._module.conv(x)
        return y


class Transposed:
    """A causal transposed convolution: each piece's last kernel − stride outputs wait for the next piece."""

    def __init__(self, module: Any) -> None:
        self._conv = module.conv
        self._stride = int(module.conv.stride[0])
        self._tail: torch.Tensor | None = None  # [1, channels, kernel − stride]

    def step(self, x: torch.Tensor, last: bool) -> torch.Tensor:  # noqa: ARG002
        """[1, before, time] to [1, channels, time · stride]; at the end of the clip the tail is cut off."""
        conv = self._conv
        y = functional.conv_transpose1d(x, conv.weight, None, conv.stride, groups=conv.groups)
        if self._tail is not None:
            y[..., : self._tail.shape[-1]] += self._tail
        ready = x.shape[-1] * self._stride
        self._tail = y[..., ready:]
        y = y[..., :ready]
        return y if conv.bias is None else y + conv.bias[:, None]


class _Recurrent:
    """EnCodec's LSTM with its shortcut."""

    def __init__(self, module: Any) -> None:
        self._lstm = module.lstm
        self._cells: tuple[torch.Tensor, torch.Tensor] | None = None

    def step(self, x: torch.Tensor, last: bool) -> torch.Tensor:  # noqa: ARG002
        x = x.permute(2, 0, 1)  # [time, 1, channels]
        y, self._cells = self._lstm(x, self._cells)
        return (y + x).permute(1, 2, 0)


class Chain:
    """Layers one after the other."""

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        self._layers = [live(module) for module in modules]

    def step(self, x: torch.Tensor, last: bool) -> torch.Tensor:
        """Through every layer."""
        for layer in self._layers:
            x = layer.step(x, last)
        return x


class _Residual:
    """A block beside its shortcut."""

    def __init__(self, module: Any) -> None:
        self._block = Chain(module.block)
        self._shortcut = live(module.shortcut)

    def step(self, x: torch.Tensor, last: bool) -> torch.Tensor:
        return self._shortcut.step(x, last) + self._block.step(x, last)


class _Stateless:
    """An activation: every sample by itself."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def step(self, x: torch.Tensor, last: bool) -> torch.Tensor:  # noqa: ARG002
        y: torch.Tensor = self._module(x)
        return y


def live(module: nn.Module) -> Live:
    """Give a published layer its state, told by what it is made of."""
    inner = getattr(module, "conv", None)
    if isinstance(inner, nn.ConvTranspose1d):
        return Transposed(module)
    if isinstance(inner, nn.Conv1d):
        return Convolution(module)
    if hasattr(module, "lstm"):
        return _Recurrent(module)
    if hasattr(module, "block"):
        return _Residual(module)
    if next(module.children(), None) is None and not list(module.parameters(recurse=False)):
        return _Stateless(module)
    raise TypeError(f"{type(module).__name__} is not a layer of a codec that is known here")


def first_piece(modules: Iterable[nn.Module], inputs: int) -> int:
    """How many frames the first piece must have, so that no reflected padding reaches beyond it.

    `inputs` is how many inputs of the first layer make a frame: the hop for an encoder, 1 for a decoder.
    """
    need = 1
    for module in modules:
        for part in module.modules():
            conv = getattr(part, "conv", None)
            if isinstance(conv, nn.ConvTranspose1d):
                inputs *= conv.stride[0]
            elif isinstance(conv, nn.Conv1d):
                if getattr(part, "pad_mode", "") == "reflect":
                    pad = (conv.kernel_size[0] - 1) * conv.dilation[0] + 1 - conv.stride[0]
                    need = max(need, pad // inputs + 1)
                inputs //= conv.stride[0]
    return need


def cannot_stream(config: Any) -> str | None:
    """The reason why a model of this configuration depends on sound that has not come yet, if it does."""
    if not getattr(config, "use_causal_conv", False):
        return "its convolutions look ahead (they are not causal)"
    if getattr(config, "norm_type", "weight_norm") != "weight_norm":
        return f"its norm {config.norm_type!r} is taken over the whole clip"
    if config.trim_right_ratio != 1:
        return f"it trims {config.trim_right_ratio:g} of each transposed convolution on the right, so it looks ahead"
    return None
