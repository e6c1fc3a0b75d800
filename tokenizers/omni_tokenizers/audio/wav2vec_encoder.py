"""The convolutional feature encoder of wav2vec 2.0, HuBERT and WavLM, as one trainable module.

Seven convolutions without padding turn 400 samples (25 ms) into one frame and move on by 320 (20 ms).
Two published kinds: `group` normalises the first layer's channels over the whole utterance, `layer`
normalises every layer's output across channels, frame by frame. The names of the weights are the published
ones (`conv_layers.0.conv.weight`, `conv_layers.0.layer_norm.weight`), so state dicts load as they are.
"""

from dataclasses import dataclass
from math import prod
from typing import Literal, get_args

import torch
from torch import nn
from torch.nn import functional

Norm = Literal["group", "layer"]


@dataclass(frozen=True)
class ConvShape:
    """Sizes of the convolutions; the defaults are those of every published model.

    >>> ConvShape().receptive, ConvShape().hop, ConvShape().frames(16_000)
    (400, 320, 49)
    """

    norm: Norm = "layer"
    kernels: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)  # 5 ms of samples at 16 kHz, then frames
    strides: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    channels: tuple[int, ...] = (512,) * 7
    bias: bool = True

    def __post_init__(self) -> None:
        if self.norm not in get_args(Norm):
            raise ValueError(f"norm is {self.norm!r}; the feature encoders have {get_args(Norm)}")
        # Lists, as configuration files give them, become what can be compared and kept in a table.
        for name in ("kernels", "strides", "channels"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not len(self.kernels) == len(self.strides) == len(self.channels) > 0:
            raise ValueError(
                f"{len(self.kernels)} kernels, {len(self.strides)} strides, {len(self.channels)} channels: "
                "give each layer one of each"
            )
        sizes = f"kernels {self.kernels}, strides {self.strides}, channels {self.channels}"
        if min(self.kernels + self.strides + self.channels) < 1:
            raise ValueError(f"{sizes}: all must be at least 1")
        if any(kernel < stride for kernel, stride in zip(self.kernels, self.strides, strict=True)):
            raise ValueError(f"{sizes}: a stride longer than its kernel would skip sound")

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        return prod(self.strides)

    @property
    def receptive(self) -> int:
        """Samples that one frame is made of."""
        return self.samples(1)

    def samples(self, frames: int) -> int:
        """The fewest samples that give this many frames (at least one)."""
        return self.samples_of_layer(0, frames)

    def samples_of_layer(self, layer: int, frames: int) -> int:
        """The fewest inputs of this layer that give so many frames of the last."""
        for kernel, stride in zip(reversed(self.kernels[layer:]), reversed(self.strides[layer:]), strict=True):
            frames = (frames - 1) * stride + kernel
        return frames

    def frames(self, samples: int) -> int:
        """How many frames so many samples give; no frame is made of padding."""
        for kernel, stride in zip(self.kernels, self.strides, strict=True):
            samples = (samples - kernel) // stride + 1 if samples >= kernel else 0
        return samples


class ConvLayer(nn.Module):
    """One convolution, its norm if it has one, and GELU."""

    def __init__(self, shape: ConvShape, index: int) -> None:
        super().__init__()
        before, channels = (1, *shape.channels)[index : index + 2]
        self.conv = nn.Conv1d(before, channels, shape.kernels[index], shape.strides[index], bias=shape.bias)
        self.layer_norm: nn.LayerNorm | nn.GroupNorm | None = None
        if shape.norm == "layer":
            self.layer_norm = nn.LayerNorm(channels)
        elif index == 0:
            self.layer_norm = nn.GroupNorm(channels, channels)

    def forward(self, x: torch.Tensor, frames: torch.Tensor | None = None) -> torch.Tensor:
        """[batch, before, time] to [batch, channels, frames]; `frames` [batch] bounds what a group norm may see."""
        x = self.conv(x)
        if isinstance(self.layer_norm, nn.LayerNorm):
            x = self.layer_norm(x.transpose(1, 2)).transpose(1, 2)
        elif isinstance(self.layer_norm, nn.GroupNorm):
            x = self.layer_norm(x) if frames is None else _group_norm(x, frames, self.layer_norm)
        return functional.gelu(x)


def _group_norm(x: torch.Tensor, frames: torch.Tensor, norm: nn.GroupNorm) -> torch.Tensor:
    """Group norm with a group for each channel, over each row's own frames: padding changes no statistic."""
    inside = torch.arange(x.shape[-1], device=x.device) < frames[:, None]  # [batch, time]
    inside = inside[:, None]  # [batch, 1, time]
    number = frames.clamp(min=1)[:, None, None]
    mean = (x * inside).sum(-1, keepdim=True) / number  # [batch, channels, 1]
    variance = ((x - mean).square() * inside).sum(-1, keepdim=True) / number
    x = (x - mean) * torch.rsqrt(variance + norm.eps)
    return x * norm.weight[:, None] + norm.bias[:, None]


class FeatureEncoder(nn.Module):
    """Samples to features, for training and for batches; `Wav2Vec` is the tokenizer around it.

    >>> FeatureEncoder(ConvShape(channels=(8,) * 7))(torch.zeros(1, 800)).shape
    torch.Size([1, 2, 8])
    """

    def __init__(self, shape: ConvShape | None = None) -> None:
        super().__init__()
        self.shape = ConvShape() if shape is None else shape
        self.conv_layers = nn.ModuleList(ConvLayer(self.shape, i) for i in range(len(self.shape.kernels)))
        for layer in self.layers:
            nn.init.kaiming_normal_(layer.conv.weight)

    @property
    def layers(self) -> list[ConvLayer]:
        """The convolution layers, first to last."""
        return [layer for layer in self.conv_layers if isinstance(layer, ConvLayer)]

    def forward(self, samples: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """[batch, samples] to [batch, frames, channels].

        With `lengths` [batch], a row of a padded batch has the values that it has alone; its frames beyond
        `shape.frames(length)` are zero.
        """
        if samples.ndim != 2:
            raise ValueError(f"samples have shape {tuple(samples.shape)}; (batch, samples) is needed")
        x = samples[:, None]  # [batch, 1, samples]
        left = lengths
        for layer, kernel, stride in zip(self.layers, self.shape.kernels, self.shape.strides, strict=True):
            if left is not None:
                left = ((left - kernel) // stride + 1).clamp(min=0)
            x = layer(x, left)
        x = x.transpose(1, 2)  # [batch, frames, channels]
        if left is not None:
            x = x * (torch.arange(x.shape[1], device=x.device) < left[:, None])[..., None]
        return x


def shape_of(state: dict[str, torch.Tensor], strides: tuple[int, ...]) -> ConvShape:
    """Read the sizes and the kind from the weights themselves; strides are not among them."""
    kernels, channels, before = [], [], 1
    layers = sorted({int(name.split(".")[1]) for name in state if name.startswith("conv_layers.")})
    if layers != list(range(len(layers))) or not layers:
        raise ValueError(
            f"the weights have convolution layers {layers}; an unbroken row from conv_layers.0 on is needed: "
            "this is not a whole wav2vec feature encoder"
        )
    for index in layers:
        weight = state.get(f"conv_layers.{index}.conv.weight")
        if weight is None or weight.ndim != 3 or weight.shape[1] != before:
            found = "missing" if weight is None else f"of shape {tuple(weight.shape)}"
            raise ValueError(f"conv_layers.{index}.conv.weight is {found}; (channels, {before}, kernel) is needed")
        before = weight.shape[0]
        channels.append(before)
        kernels.append(weight.shape[2])
    normed = [i for i in layers if f"conv_layers.{i}.layer_norm.weight" in state]
    if normed not in ([0], layers):
        raise ValueError(f"layers {normed} of {len(layers)} have a norm; it is the first alone (group) or all (layer)")
    norm: Norm = "layer" if normed == layers and len(layers) > 1 else "group"
    return ConvShape(norm, tuple(kernels), strides, tuple(channels), bias="conv_layers.0.conv.bias" in state)
