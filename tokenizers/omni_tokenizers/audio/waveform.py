"""A waveform inside this library: one channel of finite float32 samples, about −1 to 1.

Everything that takes audio in memory comes through `as_waveform`: numpy arrays, torch tensors and
lists, integer PCM or floats, one channel or several.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

Wave: TypeAlias = npt.NDArray[np.float32]
Samples: TypeAlias = "npt.NDArray[Any] | torch.Tensor | list[float]"

MAX_CHANNELS = 32  # an axis longer than this is time
MAX_LEVEL = 1e12  # beyond it the squares of a spectrum leave float32
# Offset and full scale of the PCM types; wider integers than these are no audio format.
PCM = {"u1": (128, 128.0), "i1": (0, 128.0), "i2": (0, 32768.0), "i4": (0, 2147483648.0)}


def as_waveform(samples: Samples, *, channel_axis: int | None = None) -> Wave:
    """Return one channel of float32 samples: integers scaled to ±1, channels averaged. Copies only if it must.

    >>> as_waveform(np.array([0, -32768, 16384], np.int16))
    array([ 0. , -1. ,  0.5], dtype=float32)
    >>> as_waveform(np.array([[1.0, 0.5], [0.0, -0.5]]), channel_axis=0)  # left, right
    array([0.5, 0. ], dtype=float32)
    """
    values = numbers(samples)
    if values.ndim == 1:
        wave = scaled(values)
    elif values.ndim == 2:
        axis = channel_axis_of(values.shape) if channel_axis is None else channel_axis
        if axis not in (0, 1, -1, -2):
            raise ValueError(f"channel_axis is {axis}; the array has two axes: pass 0 or 1")
        wave = mixed(values if axis in (0, -2) else values.T)
    else:
        raise ValueError(
            f"audio has shape {values.shape}; one axis (samples) or two (channels and samples) are understood: "
            "encode the items of a batch one by one, or with encode_batch"
        )
    check_levels(wave)
    return wave


@dataclass
class Channels:
    """The layout of a stream's pieces: one that could be read both ways is read as the last that could not."""

    axis: int | None = None
    count: int = 0

    def waveform(self, samples: Samples) -> Wave:
        """Return one channel of the next piece."""
        values = numbers(samples)
        if values.ndim != 2:
            return as_waveform(values)
        if self.axis is None or values.shape[self.axis] != self.count:
            self.axis = channel_axis_of(values.shape)
            self.count = values.shape[self.axis]
        return as_waveform(values, channel_axis=self.axis)


def numbers(samples: object) -> npt.NDArray[Any]:
    """Return an array of the samples as they are, on this machine's memory."""
    if isinstance(samples, str | bytes | bytearray | memoryview):
        raise TypeError(f"samples are {type(samples).__name__}; pass an array, or read the file with read_audio")
    if hasattr(samples, "detach"):  # a torch tensor, recognised without importing torch
        tensor = samples.detach().cpu().resolve_conj()
        # numpy has no bfloat16; float32 holds every bfloat16 and float16 exactly.
        samples = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    values = np.asarray(samples)
    if values.dtype.kind not in "fiu" and values.size:
        raise TypeError(
            f"audio samples are {values.dtype}; floats in ±1, int16, int32, int8 or uint8 are understood: "
            "convert them first"
        )
    return values


def channel_axis_of(shape: tuple[int, ...]) -> int:
    """Tell which axis of a two-dimensional array is channels, or refuse to guess."""
    few = [axis for axis in (0, 1) if 1 <= shape[axis] <= MAX_CHANNELS]
    if len(few) != 1:
        what = f"either axis could be channels (at most {MAX_CHANNELS})"
        if not few:
            what = f"neither axis is 1 to {MAX_CHANNELS} channels long"
        raise ValueError(
            f"audio has shape {shape} and {what}: "
            "mix it first, with as_waveform(samples, channel_axis=0) or channel_axis=1"
        )
    return few[0]


def scaled(values: npt.NDArray[Any]) -> Wave:
    """Return float32 samples: PCM integers divided by their full scale, floats as they are."""
    if values.dtype == np.float32:
        return np.ascontiguousarray(values)
    if values.dtype.kind == "f" or not values.size:
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite and is refused below
            return np.ascontiguousarray(values, np.float32)
    kind = values.dtype.str[1:]
    if kind not in PCM:
        raise TypeError(
            f"audio samples are {values.dtype}, whose full scale is not known: "
            "convert them to int16 or int32, or to floats in ±1"
        )
    offset, full = PCM[kind]
    if kind == "i4":  # float32 cannot hold 32 bits: divide first, round once
        return (values / full).astype(np.float32)
    return (values.astype(np.float32) - np.float32(offset)) / np.float32(full)


def mixed(channels: npt.NDArray[Any]) -> Wave:
    """Average channels [channels, samples] into one; added in order, so that no chunking changes a bit."""
    if not len(channels):
        raise ValueError("audio has no channel")
    if len(channels) == 1:
        return scaled(channels[0])
    total = scaled(channels[0]).copy()
    for channel in channels[1:]:
        total += scaled(channel)
    total /= np.float32(len(channels))
    return total


def check_levels(wave: Wave) -> None:
    """Refuse NaN, infinity and absurd levels."""
    # One dot product instead of isfinite().all(): no array of flags, 0.08 ms for 30 s. Only a suspicious sum,
    # which a single wild sample is enough for, is looked at sample by sample.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.dot(wave, wave) < MAX_LEVEL**2:  # false for NaN as well
            return
    wild = ~(np.abs(wave) <= MAX_LEVEL)
    if wild.any():
        first = int(np.argmax(wild))
        raise ValueError(
            f"audio sample {first} is {wave[first]:g} ({int(wild.sum())} such samples of {len(wave)}); "
            "samples must be finite, and about −1 to 1: repair them, for instance with numpy.nan_to_num"
        )
