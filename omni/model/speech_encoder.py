"""wav2vec 2.0, HuBERT and WavLM: convolutions turn samples into frames, one more says where a frame is, a stack mixes.

The feature encoder is the tokenizer library's own; everything behind it is the shared stack.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omni.model.reach import EVERYTHING, Reach
from omni.model.relative import GatedBias, RelativeTable
from omni.model.stack import Stack, StackSpec
from omni_tokenizers.audio.wav2vec_encoder import ConvShape, FeatureEncoder


@dataclass(frozen=True)
class RelativeSpec:
    """Sizes of WavLM's relative table."""

    buckets: int = 320
    longest: int = 800  # frames; further away is one bucket


@dataclass(frozen=True)
class SpeechEncoderSpec:
    """A speech encoder in full. Post-norm stacks have a norm before the first block, pre-norm ones after the last."""

    features: ConvShape
    stack: StackSpec
    kernel: int = 128  # frames that the position convolution sees
    groups: int = 16
    feature_norm: bool = True
    hides: bool = True  # has a learned vector that stands for a hidden frame
    relative: RelativeSpec | None = None


@dataclass(frozen=True)
class Heard:
    """What the encoder made of a batch of utterances."""

    frames: Tensor  # [batch, frames, width]
    features: Tensor  # [batch, frames, channels], normed output of the convolutions: what a quantizer sees
    lengths: Tensor | None  # [batch], real frames of each row; None where all are


class PositionConv(nn.Module):
    """A wide grouped convolution whose output is added to the frames; its weight is a direction and a gain by tap."""

    def __init__(self, width: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.direction = nn.Parameter(torch.randn(width, width // groups, kernel) * (4 / (kernel * width)) ** 0.5)
        self.gain = nn.Parameter(self.direction.detach().norm(dim=(0, 1), keepdim=True).clone())  # [1, 1, kernel]
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """[batch, frames, width] → the same shape."""
        weight = self.direction * (self.gain / self.direction.norm(dim=(0, 1), keepdim=True))
        x = x.transpose(1, 2)  # [batch, width, frames]
        # An even kernel gives one frame too many.
        moved = F.conv1d(x, weight, self.bias, padding=weight.shape[2] // 2, groups=self.groups)[..., : x.shape[2]]
        return F.gelu(moved).transpose(1, 2)


class SpeechEncoder(nn.Module):
    """Samples at 16 kHz to one vector for every 20 ms."""

    def __init__(self, spec: SpeechEncoderSpec) -> None:
        super().__init__()
        self.spec = spec
        block = spec.stack.block
        width, channels = block.width, spec.features.channels[-1]
        self.features = FeatureEncoder(spec.features)
        self.feature_norm = block.norm.build(channels) if spec.feature_norm else nn.Identity()
        self.projection = nn.Linear(channels, width)
        self.hidden = nn.Parameter(torch.rand(width)) if spec.hides else None
        self.position = PositionConv(width, spec.kernel, spec.groups)
        self.norm = block.norm.build(width) if block.norm_place == "post" else nn.Identity()
        if spec.relative is None:
            self.stack = Stack(spec.stack)
        else:
            heads, _, head_width = block.attention.sizes(width)
            table = RelativeTable(heads, spec.relative.buckets, spec.relative.longest)
            self.relative = table
            self.stack = Stack(spec.stack, bias=lambda _: GatedBias(table, heads, head_width))

    def frames(self, samples: Tensor) -> Tensor:
        """How many frames so many samples give, elementwise and without leaving the device."""
        for kernel, stride in zip(self.spec.features.kernels, self.spec.features.strides, strict=True):
            samples = ((samples - kernel) // stride + 1).clamp(min=0)
        return samples

    def forward(
        self,
        samples: Tensor,  # [batch, samples]
        lengths: Tensor | None = None,  # [batch], real samples of each row
        *,
        hide: Tensor | None = None,  # bool [batch, frames], frames whose content the stack must not see
        states: list[Tensor] | None = None,  # filled with what goes into the stack and what each layer makes of it
    ) -> Heard:
        """Hear a batch. With `lengths`, a row of a padded batch has the values that it has alone."""
        if samples.shape[1] < self.spec.features.receptive:
            raise ValueError(
                f"{samples.shape[1]} samples; one frame needs {self.spec.features.receptive}: pad the audio with zeros"
            )
        features = self.feature_norm(self.features(samples, lengths))  # [batch, frames, channels]
        x = self.projection(features)  # [batch, frames, width]
        if hide is not None:
            if self.hidden is None:
                raise ValueError("this encoder was built without a vector for hidden frames: build it with hides=True")
            if hide.shape != x.shape[:2] or hide.dtype != torch.bool:
                raise ValueError(
                    f"hide is {hide.dtype} {tuple(hide.shape)}; bool {tuple(x.shape[:2])}, one a frame, is needed"
                )
            x = torch.where(hide[..., None], self.hidden, x)
        reach, count = EVERYTHING, None
        if lengths is not None:
            count = self.frames(lengths)
            # The position convolution has to see zeros behind the last frame, as it does when the row is alone.
            x = x * (torch.arange(x.shape[1], device=x.device) < count[:, None])[..., None]
            reach = Reach.of_lengths(count, x.shape[1])
        x = self.norm(x + self.position(x))
        return Heard(self.stack(x, reach, states=states), features, count)
