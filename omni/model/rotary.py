"""Rotary positions: one axis (Llama, Qwen) or three (M-RoPE), with the published ways to stretch them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Self

import torch
from torch import Tensor, nn

Turn = tuple[Tensor, Tensor]  # cosines, and sines negated in their first half: [batch, 1, tokens, head_width]


@dataclass(frozen=True)
class Llama3Stretch:
    """Llama 3.1's frequency scaling: long waves are slowed by `factor`, short ones kept, those between blended."""

    factor: float = 8.0
    low: float = 1.0
    high: float = 4.0
    trained: int = 8192  # tokens the model was first trained on


@dataclass(frozen=True)
class RotarySpec:
    """How positions become angles.

    `sections` splits the frequencies between the time, height and width axes of M-RoPE: contiguous (Qwen2-VL)
    or interleaved (Qwen3). Without sections, positions have one axis.
    """

    base: float = 10_000.0
    width: int | None = None  # rotated part of a head; None rotates all of it
    sections: tuple[int, ...] | None = None
    layout: Literal["contiguous", "interleaved"] = "contiguous"
    stretch: Llama3Stretch | None = None


def frequencies(spec: RotarySpec, head_width: int) -> Tensor:
    """Angle for one step of position, by frequency: [head_width / 2]."""
    width = spec.width or head_width
    f = 1.0 / spec.base ** (torch.arange(0, width, 2, dtype=torch.float32) / width)
    if spec.stretch is None:
        return f
    s = spec.stretch
    wavelength = 2 * torch.pi / f
    blend = (s.trained / wavelength - s.low) / (s.high - s.low)  # 0 where long, 1 where short
    blended = (1 - blend) * f / s.factor + blend * f
    f = torch.where(wavelength > s.trained / s.low, f / s.factor, f)
    return torch.where((wavelength <= s.trained / s.low) & (wavelength >= s.trained / s.high), blended, f)


class Rotary(nn.Module):
    """Positions → cosines and sines, computed once a forward pass and shared by all layers."""

    frequency: Tensor

    def __init__(self, spec: RotarySpec, head_width: int) -> None:
        super().__init__()
        self.spec = spec
        # Computed on the CPU even when the model is built on the meta device: it is no weight, so nothing loads it.
        with torch.device("cpu"):
            frequency = frequencies(spec, head_width)
        self.register_buffer("frequency", frequency, persistent=False)
        if spec.sections is not None and sum(spec.sections) != len(frequency):
            raise ValueError(
                f"sections {spec.sections} sum to {sum(spec.sections)}, not to {len(frequency)} frequencies"
            )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move with the model, but stay as exact as built when it is cast: `model.to(torch.bfloat16)`."""
        exact = self.frequency
        super()._apply(fn, recurse)
        self.frequency = exact.to(self.frequency.device)
        return self

    def forward(self, positions: Tensor, dtype: torch.dtype) -> Turn:
        """positions [batch, tokens], or [axes, batch, tokens] with sections → a `Turn`."""
        # float32 whatever the model runs in: bfloat16 cannot tell position 257 from 258
        angle = positions[..., None].float() * self.frequency.to(positions.device)
        if self.spec.sections is not None:
            if positions.ndim == 2:
                angle = angle.expand(len(self.spec.sections), *angle.shape)
            angle = self.mix_axes(angle)  # [batch, tokens, width/2]
        cos, sin = angle.cos().unsqueeze(1), angle.sin().unsqueeze(1)  # [batch, 1, tokens, width/2]
        return torch.cat([cos, cos], dim=-1).to(dtype), torch.cat([-sin, sin], dim=-1).to(dtype)

    def mix_axes(self, angle: Tensor) -> Tensor:
        """Give every frequency the angle of its axis: [axes, batch, tokens, width/2] → [batch, tokens, width/2]."""
        assert self.spec.sections is not None
        if self.spec.layout == "contiguous":
            parts = angle.split(self.spec.sections, dim=-1)
            return torch.cat([part[axis] for axis, part in enumerate(parts)], dim=-1)
        mixed = angle[0].clone()
        for axis in range(1, len(self.spec.sections)):
            every = len(self.spec.sections)
            chosen = slice(axis, self.spec.sections[axis] * every, every)
            mixed[..., chosen] = angle[axis][..., chosen]
        return mixed


def turn(x: Tensor, by: Turn) -> Tensor:
    """Rotate x [batch, heads, tokens, head_width]; a part of the head beyond the cosines' width stays as it is."""
    cos, sin = by
    width = cos.shape[-1]
    rotated = x[..., :width] if width < x.shape[-1] else x
    # Three kernels; the usual form (split, negate, join, two products, a sum) takes twice as long for one token and
    # half as long again for 512.
    rotated = torch.addcmul(rotated * cos, rotated.roll(width // 2, dims=-1), sin)
    return rotated if width == x.shape[-1] else torch.cat([rotated, x[..., width:]], dim=-1)
