"""Published codecs behind the `Codec` seam: EnCodec, Mimi and DAC models, loaded through transformers.

A kernel rounds differently for another length, and a code is an argmin, so near a tie even 1e-7 turns it over.
Causal models are therefore worked in pieces at fixed places (80 ms), offline and live alike: both run the
same kernels on the same shapes, and the stream equals `encode` and `decode` to the bit by construction.
Against the published model in one go the features differ by rounding alone.

Small pieces have their price. CPU seconds to encode 2 s of sound at published sizes with 8 books, in pieces of
80 ms, 320 ms, 1 s, and by the published code in one go: EnCodec 0.95, 0.37, 0.27, 0.25; Mimi 1.35, 0.88, 0.57, 0.48.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize

from omni_tokenizers.audio.at_rate import count_at, samples_at
from omni_tokenizers.audio.codec import CodeArray, Codec, Codes, checked_codes
from omni_tokenizers.audio.codec_causal import cannot_stream, first_piece
from omni_tokenizers.audio.codec_families import FAMILIES, Family, Step
from omni_tokenizers.audio.read import AudioSource
from omni_tokenizers.audio.resampler import Resampler
from omni_tokenizers.audio.waveform import Samples, Wave
from omni_tokenizers.optional import need
from omni_tokenizers.tokenizer import CannotStream

PIECE = 0.08  # seconds worked at once: one frame of Mimi, six of EnCodec


class HubCodec:
    """A published codec. `books` is how many of its code books are used, from the first on."""

    def __init__(self, model: Any, hop: int, book_sizes: tuple[int, ...], name: str) -> None:
        self._model = model
        self._name = name
        self.hop = hop  # samples a frame
        self.sample_rate = int(model.config.sampling_rate)  # Hz
        self.book_sizes = book_sizes
        self.device = next(model.parameters()).device

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.sample_rate / self.hop

    def count(self, samples: int, rate: int | None = None) -> int:
        """How many frames `encode` gives for so many samples; a begun frame counts."""
        return -(-count_at(samples, rate, self.sample_rate) // self.hop)


class CausalCodec(HubCodec):
    """A codec that never looks ahead, so it can be fed live."""

    def __init__(
        self, model: Any, hop: int, book_sizes: tuple[int, ...], name: str, family: Family, piece: float = PIECE
    ) -> None:
        super().__init__(model, hop, book_sizes, name)
        self._family = family
        block = max(1, round(piece * self.frame_rate))
        self._block = block  # frames of a piece
        self._first_encoded = max(block, first_piece(family.encoder(model), hop))  # frames of the first piece
        self._first_decoded = max(block, first_piece(family.decoder(model), 1))

    def encode(self, audio: AudioSource, rate: int | None = None) -> CodeArray:
        """Sound to codes, int32 [frames, books]."""
        stream = self.stream()
        return np.concatenate([stream.push(samples_at(audio, rate, self.sample_rate)), stream.finish()])

    def decode(self, codes: Codes) -> Wave:
        """Codes to sound, float32 [frames · hop]."""
        stream = self.decoder()
        return np.concatenate([stream.push(codes), stream.finish()])

    def stream(self, rate: int | None = None) -> "CodecEncoder":
        """A live encoder of sound at `rate`; codes come a piece at a time."""
        return CodecEncoder(self, rate)

    def decoder(self) -> "CodecDecoder":
        """A live decoder of the same pieces."""
        return CodecDecoder(self)


class WholeCodec(HubCodec):
    """A codec that looks ahead, so it takes whole clips only."""

    def __init__(self, model: Any, hop: int, book_sizes: tuple[int, ...], name: str, family: Family) -> None:
        super().__init__(model, hop, book_sizes, name)
        self._family = family
        self._reason = cannot_stream(model.config)

    @torch.inference_mode()
    def encode(self, audio: AudioSource, rate: int | None = None) -> CodeArray:
        """Sound to codes, int32 [frames, books]."""
        samples = samples_at(audio, rate, self.sample_rate)
        if not len(samples):
            return np.empty((0, len(self.book_sizes)), np.int32)
        padded = np.pad(samples, (0, -len(samples) % self.hop))
        codes = self._family.whole_encode(self._model, torch.tensor(padded, device=self.device)[None, None])
        return _rows(codes[0], len(self.book_sizes))

    @torch.inference_mode()
    def decode(self, codes: Codes) -> Wave:
        """Codes to sound, float32 [samples]."""
        checked = checked_codes(codes, self.book_sizes)
        if not len(checked):
            return np.empty(0, np.float32)
        books = torch.tensor(checked.T, dtype=torch.int64, device=self.device)[None]  # [1, books, frames]
        return self._family.whole_decode(self._model, books).reshape(-1).float().cpu().numpy()

    def stream(self, rate: int | None = None) -> "CodecEncoder":  # noqa: ARG002
        """Refused: no code is certain before the end of the clip."""
        raise CannotStream(f"{self._name} cannot be encoded live: {self._reason}; use encode, or a causal codec")

    def decoder(self) -> "CodecDecoder":
        """Refused: no sample is certain before the end of the codes."""
        raise CannotStream(f"{self._name} cannot be decoded live: {self._reason}; use decode, or a causal codec")


class CodecEncoder:
    """Codes of live sound. What `push` and `finish` return, joined, is `encode` of the joined sound."""

    def __init__(self, codec: CausalCodec, rate: int | None = None) -> None:
        self._codec = codec
        self._resampler = Resampler(codec.sample_rate if rate is None else rate, codec.sample_rate)
        self._step: Step = codec._family.encode_step(codec._model, len(codec.book_sizes))
        self._held = np.empty(0, np.float32)
        self._piece = codec._first_encoded * codec.hop  # samples that the next piece takes
        self._open = True

    def push(self, audio: Samples, /) -> CodeArray:
        """Take the next samples; return the codes [frames, books] that are now certain."""
        _require_open(self._open)
        return np.concatenate([self._none, *self._take(self._resampler.push(audio))])

    def finish(self) -> CodeArray:
        """Return the codes of what was held back, a begun frame included, and close the stream."""
        _require_open(self._open)
        self._open = False
        out = self._take(self._resampler.finish())
        if len(self._held):
            out.append(self._work(self._held, last=True))
        return np.concatenate([self._none, *out])

    @property
    def _none(self) -> CodeArray:
        return np.empty((0, len(self._codec.book_sizes)), np.int32)

    def _take(self, samples: Wave) -> list[CodeArray]:
        """Hold the samples and work the pieces that are full."""
        self._held = np.concatenate([self._held, samples])
        out = []
        while len(self._held) >= self._piece:
            out.append(self._work(self._held[: self._piece], last=False))
            self._held = self._held[self._piece :]
            self._piece = self._codec._block * self._codec.hop
        return out

    @torch.inference_mode()
    def _work(self, samples: Wave, last: bool) -> CodeArray:
        codes = self._step(torch.tensor(samples, device=self._codec.device)[None, None], last)  # [books, frames]
        return _rows(codes, len(self._codec.book_sizes))


class CodecDecoder:
    """Sound of live codes. What `push` and `finish` return, joined, is `decode` of the joined codes."""

    def __init__(self, codec: CausalCodec) -> None:
        self._codec = codec
        self._step: Step = codec._family.decode_step(codec._model)
        self._held = np.empty((0, len(codec.book_sizes)), np.int32)
        self._piece = codec._first_decoded  # frames that the next piece takes
        self._open = True

    def push(self, codes: Codes, /) -> Wave:
        """Take the next codes [frames, books]; return the samples that are now certain."""
        _require_open(self._open)
        self._held = np.concatenate([self._held, checked_codes(codes, self._codec.book_sizes)])
        out = [np.empty(0, np.float32)]
        while len(self._held) >= self._piece:
            out.append(self._work(self._held[: self._piece], last=False))
            self._held = self._held[self._piece :]
            self._piece = self._codec._block
        return np.concatenate(out)

    def finish(self) -> Wave:
        """Return the samples of the codes that were held back and close the stream."""
        _require_open(self._open)
        self._open = False
        return self._work(self._held, last=True) if len(self._held) else np.empty(0, np.float32)

    @torch.inference_mode()
    def _work(self, codes: CodeArray, last: bool) -> Wave:
        books = torch.tensor(codes.T, dtype=torch.int64, device=self._codec.device)  # [books, frames]
        return self._step(books, last).reshape(-1).float().cpu().numpy()


def _rows(codes: torch.Tensor, books: int) -> CodeArray:
    """[books, frames] on the device to int32 [frames, books]."""
    return np.ascontiguousarray(codes[:books].T.to(torch.int32).cpu().numpy())


def _require_open(is_open: bool) -> None:
    if not is_open:
        raise ValueError("this stream is finished: open another")


def load_codec(
    source: str | Path, *, books: int | None = None, piece: float = PIECE, device: str | torch.device = "cpu"
) -> Codec:
    """Load an EnCodec, Mimi or DAC model (safetensors) from a local folder or a hub name.

    `books` uses the first so many code books, fewer bits for coarser sound; all of them if not given. A causal codec
    works `piece` seconds at once: longer pieces cost less time, offline too, and live codes come later.
    """
    if not 0 < piece < float("inf"):
        raise ValueError(f"piece is {piece} seconds; a length of time above 0 is needed, such as {PIECE}")
    transformers = need("transformers", extra="model", use="load_codec")
    try:
        config = transformers.AutoConfig.from_pretrained(source)
    except (OSError, ValueError) as failed:
        raise ValueError(
            f"{source} is neither the folder of a model here nor one that the hub gave "
            f"({type(failed).__name__}): check the name and the connection"
        ) from failed
    if config.model_type not in FAMILIES:
        raise ValueError(f"{source} is a {config.model_type!r} model; the codecs known here are {sorted(FAMILIES)}")
    kind, family = FAMILIES[config.model_type]
    hop, most, entries = family.sizes(config)
    chosen = most if books is None else books
    if not 1 <= chosen <= most:
        raise ValueError(f"books is {books}; {source} has 1 to {most}")
    if (reason := family.refuse(config, chosen)) is not None:
        raise ValueError(f"{source} cannot be used as a codec here: {reason}")
    try:
        model = getattr(transformers, kind).from_pretrained(source, use_safetensors=True, dtype=torch.float32)
    except OSError as failed:
        raise ValueError(f"{source} has no whole safetensors weights ({str(failed).splitlines()[0]})") from failed
    _settle_weight_norm(model)
    model = model.to(device).eval().requires_grad_(False)
    if cannot_stream(config):
        return WholeCodec(model, hop, (entries,) * chosen, str(source), family)
    return CausalCodec(model, hop, (entries,) * chosen, str(source), family, piece)


def _settle_weight_norm(model: nn.Module) -> None:
    """Work out normalised weights once instead of at every step; the numbers stay the same."""
    for module in list(model.modules()):
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight")
