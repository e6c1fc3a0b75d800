"""Waveform to wav2vec features: `Wav2Vec`, with a live stream that equals the whole to the bit.

A convolution over a long input and over a short one run different kernels and round differently (about
3e-6 here), so "the same features in pieces" needs the same shapes, not only the same mathematics. Frames are
therefore computed in blocks of `block` frames, at fixed places of the utterance, each a pure function of its
samples [hop·block·k, hop·block·(k+1) + receptive − hop): offline, live and in a batch the very same products
run on the very same shapes. Neighbouring blocks share only 80 samples, so no state is kept but the samples.

Measured on one core, published sizes, 4 s, against the plain convolutions (1.0): blocks of 1, 2, 4, 8, 16 frames
as convolutions 2.3, 1.4, 1.1, 0.8, 0.8; as matrix products over time-major windows 1.6, 1.0, 0.67, 0.57, 0.55.
Time-major also spares the two transposes around every layer norm. Four frames: exact, faster than the
published code, and a stream may answer every 20 ms at four times the work of a block.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from omni_tokenizers.audio.at_rate import count_at, samples_at
from omni_tokenizers.audio.read import AudioSource
from omni_tokenizers.audio.resampler import Resampler
from omni_tokenizers.audio.wav2vec_encoder import ConvShape, FeatureEncoder
from omni_tokenizers.audio.wav2vec_weights import encoder_of, load_checkpoint
from omni_tokenizers.audio.waveform import Samples, Wave, as_waveform
from omni_tokenizers.tokenizer import CannotStream

VARIANCE_FLOOR = 1e-7  # keeps silence finite
CPU_BLOCK = 4  # frames, 80 ms
NORM_FLOOR = 1e-5  # torch's default, which every published model keeps
GROUP_PIECE = 32  # frames, 640 ms, of a group-norm encoder after its first layer
GPU_BLOCK = 64  # frames, 1.28 s: launches, not arithmetic, are what costs there


@dataclass(frozen=True)
class FixedNorm:
    """Input normalisation with statistics known beforehand, so that a live stream can apply it."""

    mean: float
    variance: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.mean) and np.isfinite(self.variance) and self.variance >= 0):
            raise ValueError(f"mean {self.mean} and variance {self.variance}: both finite, variance ≥ 0")

    @classmethod
    def of(cls, samples: Samples) -> "FixedNorm":
        """The statistics of these samples (of an earlier utterance, or of a corpus)."""
        wide = as_waveform(samples).astype(np.float64)
        return cls(float(wide.mean()), float(wide.var())) if wide.size else cls(0.0, 1.0)

    def __call__(self, samples: Wave) -> Wave:
        """(x − mean) / √(variance + 1e-7)."""
        scale = np.float32(1 / np.sqrt(self.variance + VARIANCE_FLOOR))
        return (samples - np.float32(self.mean)) * scale


class Wav2Vec:
    """Waveform at 16 kHz to features [frames, channels], 50 frames a second.

    `normalize` is True (each utterance to mean 0 and variance 1, as the published models expect), False, or a
    `FixedNorm`. Features are float32 tensors on `device`.

    >>> speech = Wav2Vec(FeatureEncoder(ConvShape(channels=(8,) * 7)))
    >>> speech.encode([0.0] * 16_000).shape, speech.count(16_000)
    (torch.Size([49, 8]), 49)
    """

    def __init__(
        self,
        encoder: FeatureEncoder,
        *,
        normalize: bool | FixedNorm = True,
        rate: int = 16_000,
        device: str | torch.device = "cpu",
        block: int | None = None,
    ) -> None:
        if not isinstance(normalize, bool | FixedNorm):
            raise TypeError(f"normalize is {normalize!r}; pass True, False or a FixedNorm")
        self.shape = encoder.shape
        self.normalize = normalize
        self.sample_rate = rate  # Hz
        self.device = torch.device(device)
        self.block = block if block is not None else CPU_BLOCK if self.device.type == "cpu" else GPU_BLOCK
        if self.block < 1:
            raise ValueError(f"block is {self.block}; at least one frame must be computed at a time")
        # The weights as matrices [kernel·before, channels]: a window of a time-major input is one row.
        self._layers = [
            _Layer(
                self._own(layer.conv.weight.permute(2, 1, 0).flatten(0, 1)).contiguous(),
                None if layer.conv.bias is None else self._own(layer.conv.bias),
                kernel,
                stride,
                None if layer.layer_norm is None else self._own(layer.layer_norm.weight),
                None if layer.layer_norm is None else self._own(layer.layer_norm.bias),
            )
            for layer, kernel, stride in zip(encoder.layers, self.shape.kernels, self.shape.strides, strict=True)
        ]

    def _own(self, weight: torch.Tensor) -> torch.Tensor:
        # All of them are copies, so that an encoder that is trained meanwhile changes none.
        return weight.detach().to(self.device, torch.float32, copy=True)

    @classmethod
    def load(
        cls,
        source: str | Path,
        *,
        normalize: bool | FixedNorm | None = None,
        device: str | torch.device = "cpu",
        block: int | None = None,
    ) -> "Wav2Vec":
        """Load a published checkpoint from a folder or a hub name; `normalize=None` does what it was trained with."""
        found = load_checkpoint(source)
        chosen = found.normalize if normalize is None else normalize
        return cls(found.encoder, normalize=chosen, rate=found.rate, device=device, block=block)

    @classmethod
    def from_state(
        cls,
        state: dict[str, torch.Tensor],
        *,
        strides: tuple[int, ...] = ConvShape.strides,
        normalize: bool | FixedNorm = True,
        device: str | torch.device = "cpu",
        block: int | None = None,
    ) -> "Wav2Vec":
        """Take the feature encoder out of a state dict of transformers or torchaudio."""
        return cls(encoder_of(state, strides=strides), normalize=normalize, device=device, block=block)

    @property
    def width(self) -> int:
        """Numbers in a frame."""
        return self.shape.channels[-1]

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.sample_rate / self.shape.hop

    def count(self, samples: int, rate: int | None = None) -> int:
        """How many frames `encode` gives for so many samples.

        >>> tiny = Wav2Vec(FeatureEncoder(ConvShape(channels=(8,) * 7)))
        >>> [tiny.count(n) for n in (0, 399, 400, 719, 720)]
        [0, 0, 1, 1, 2]
        """
        return self.shape.frames(count_at(samples, rate, self.sample_rate))

    def encode(self, audio: AudioSource, rate: int | None = None) -> torch.Tensor:
        """Return the features [frames, channels] of one utterance; fewer than 400 samples have no frame."""
        samples = samples_at(audio, rate, self.sample_rate)
        if self.normalize is True:
            samples = FixedNorm.of(samples)(samples)
        elif isinstance(self.normalize, FixedNorm):
            samples = self.normalize(samples)
        frames = self.shape.frames(len(samples))
        if frames == 0:
            return self._none()
        if self.shape.norm == "group":
            return self._encode_group(samples, frames)
        step = self.shape.hop * self.block
        starts = range(0, frames * self.shape.hop, step)
        return torch.cat([self._run_block(samples[start:]) for start in starts])[:frames]

    def encode_batch(self, audio: Sequence[AudioSource], rate: int | None = None) -> list[torch.Tensor]:
        """Encode each utterance as if it were alone; nothing is padded, so nothing can leak."""
        return [self.encode(one, rate) for one in audio]

    def stream(self, rate: int | None = None, *, eager: bool = True) -> "Wav2VecStream":
        """Return a live stream of audio at `rate`; refused where a frame depends on audio that has not come yet.

        `eager` returns each frame as soon as its 400 samples are in and works a block anew for it;
        otherwise a block is worked once, when it is full.
        """
        if self.shape.norm == "group":
            raise CannotStream(
                "this feature encoder normalises its first layer over the whole utterance (norm 'group'), so no frame "
                "is certain before the end: use a checkpoint of the layer-norm kind, or encode whole utterances"
            )
        if self.normalize is True:
            raise CannotStream(
                "the input is normalised with the mean and variance of the whole utterance, which a stream does not "
                "know: pass normalize=False, or normalize=FixedNorm(mean, variance) with statistics known beforehand"
            )
        return Wav2VecStream(self, rate, eager)

    def _none(self) -> torch.Tensor:
        return torch.empty(0, self.width, dtype=torch.float32, device=self.device)

    def _run_block(self, samples: Wave) -> torch.Tensor:
        """The features [block, channels] of the samples from a block's start on; zeros stand for what is missing."""
        window = np.zeros(self.shape.samples(self.block), np.float32)
        piece = samples[: len(window)]
        window[: len(piece)] = piece
        return self._run(window)

    @torch.no_grad()
    def _run(self, samples: Wave) -> torch.Tensor:
        x = torch.tensor(samples, device=self.device)[:, None]  # [samples, 1]
        for layer in self._layers:
            x = layer.convolve(x)
            if layer.norm_weight is not None:
                x = functional.layer_norm(x, (x.shape[1],), layer.norm_weight, layer.norm_bias)
            x = functional.gelu(x)
        return x  # [frames, channels]

    @torch.no_grad()
    def _encode_group(self, samples: Wave, frames: int) -> torch.Tensor:
        """The first layer over the whole utterance, because of its norm; the others piece by piece, to save memory."""
        first, *others = self._layers
        x = first.convolve(torch.tensor(samples, device=self.device)[:, None])  # [time, channels]
        # A group for each channel, over time; time-major, so torch's own group norm would transpose twice, and its
        # var_mean takes a quarter of the whole. In place, for x is 131 KB for each frame of the result.
        x = x.sub_(x.mean(0))
        x = x.mul_(torch.rsqrt(x.square().mean(0) + NORM_FLOOR))
        if first.norm_weight is not None and first.norm_bias is not None:
            x = x.mul_(first.norm_weight).add_(first.norm_bias)
        x = functional.gelu(x)
        out = []
        for start in range(0, frames, GROUP_PIECE):
            end = min(start + GROUP_PIECE, frames)
            head = self.shape.samples_of_layer(1, end - start)
            skip = start * self.shape.hop // self.shape.strides[0]
            y = x[skip : skip + head]
            for layer in others:
                y = functional.gelu(layer.convolve(y))
            out.append(y)
        return torch.cat(out)


@dataclass(frozen=True)
class _Layer:
    weight: torch.Tensor  # [kernel·before, channels]
    bias: torch.Tensor | None  # [channels]
    kernel: int
    stride: int
    norm_weight: torch.Tensor | None  # [channels]
    norm_bias: torch.Tensor | None

    def convolve(self, x: torch.Tensor) -> torch.Tensor:
        """[time, before], contiguous, to [frames, channels]."""
        width = x.shape[1]
        frames = (x.shape[0] - self.kernel) // self.stride + 1
        size, strides = (frames, self.kernel * width), (self.stride * width, 1)
        rows = x.as_strided(size, strides, x.storage_offset())  # overlapping windows, no copy yet
        with torch.autocast(rows.device.type, enabled=False):  # features are float32, whoever asks for them
            return rows @ self.weight if self.bias is None else torch.addmm(self.bias, rows, self.weight)


class Wav2VecStream:
    """Features of live audio. What `push` and `finish` return, joined, is `encode` of the joined audio."""

    def __init__(self, speech: Wav2Vec, rate: int | None, eager: bool) -> None:
        self._speech = speech
        self._eager = eager
        self._resampler = Resampler(speech.sample_rate if rate is None else rate, speech.sample_rate)
        self._held = np.empty(0, np.float32)  # samples from the start of the block at hand
        self._given = 0  # frames of that block that are out already
        self._open = True

    def push(self, audio: Samples, /) -> torch.Tensor:
        """Take the next samples; return the frames [n, channels] that are now certain."""
        if not self._open:
            raise ValueError("this stream is finished: open another with stream()")
        out = self._take(self._resampler.push(audio))
        if self._eager:
            out.append(self._partial())
        return self._joined(out)

    def finish(self) -> torch.Tensor:
        """Return the frames still held back and close the stream."""
        if not self._open:
            raise ValueError("this stream is finished: open another with stream()")
        self._open = False
        return self._joined([*self._take(self._resampler.finish()), self._partial()])

    def _take(self, samples: Wave) -> list[torch.Tensor]:
        """Hold the samples and work the blocks that are full."""
        speech = self._speech
        if isinstance(speech.normalize, FixedNorm):
            samples = speech.normalize(samples)
        self._held = np.concatenate([self._held, samples])
        out = []
        while speech.shape.frames(len(self._held)) >= speech.block:
            out.append(speech._run_block(self._held)[self._given :])
            self._held = self._held[speech.shape.hop * speech.block :]
            self._given = 0
        return out

    def _joined(self, pieces: list[torch.Tensor]) -> torch.Tensor:
        return torch.cat([self._speech._none(), *pieces])

    def _partial(self) -> torch.Tensor:
        speech = self._speech
        certain = speech.shape.frames(len(self._held))
        if certain <= self._given:
            return speech._none()
        out = speech._run_block(self._held)[self._given : certain]
        self._given = certain
        return out
