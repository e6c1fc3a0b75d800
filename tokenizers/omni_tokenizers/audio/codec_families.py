"""EnCodec, Mimi and DAC: how each published model is put together."""

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch import nn

from omni_tokenizers.audio.codec_causal import Chain, Convolution, Transposed

Step = Callable[[torch.Tensor, bool], torch.Tensor]  # (piece, last) to what it gives


class Family:
    """What differs between the published kinds of codec."""

    def sizes(self, config: Any) -> tuple[int, int, int]:
        """Samples a frame, code books, entries of each."""
        raise NotImplementedError

    def refuse(self, config: Any, books: int) -> str | None:  # noqa: ARG002
        """Why this configuration cannot be used, if it cannot."""
        return None if getattr(config, "audio_channels", 1) == 1 else f"it has {config.audio_channels} channels, not 1"

    def encoder(self, model: Any) -> list[nn.Module]:
        """The layers from samples on."""
        raise NotImplementedError

    def decoder(self, model: Any) -> list[nn.Module]:
        """The layers from the frames' vectors on."""
        raise NotImplementedError

    def encode_step(self, model: Any, books: int) -> Step:
        """A fresh live encoder: samples [1, 1, n] to codes [books, frames]."""
        raise NotImplementedError

    def decode_step(self, model: Any) -> Step:
        """A fresh live decoder: codes [books, frames] to samples [1, 1, n]."""
        raise NotImplementedError

    def whole_encode(self, model: Any, samples: torch.Tensor) -> torch.Tensor:
        """Samples [1, 1, n] to codes [1, books, frames], every book."""
        raise NotImplementedError

    def whole_decode(self, model: Any, codes: torch.Tensor) -> torch.Tensor:
        """Codes [1, books, frames] to samples [1, 1, n]."""
        raise NotImplementedError


class _Encodec(Family):
    """Convolutions and an LSTM around a residual quantizer; 75 frames a second at 24 kHz."""

    def sizes(self, config: Any) -> tuple[int, int, int]:
        return prod(config.upsampling_ratios), config.num_quantizers, config.codebook_size

    def refuse(self, config: Any, books: int) -> str | None:
        if config.normalize or config.chunk_length_s is not None:
            return "it scales each chunk and keeps the scale outside of the codes, so codes alone give no sound"
        return super().refuse(config, books)

    def encoder(self, model: Any) -> list[nn.Module]:
        return list(model.encoder.layers)

    def decoder(self, model: Any) -> list[nn.Module]:
        return list(model.decoder.layers)

    def encode_step(self, model: Any, books: int) -> Step:
        chain = Chain(model.encoder.layers)
        return lambda x, last: model.quantizer.encode(chain.step(x, last), _bandwidth(model, books))[:, 0]

    def decode_step(self, model: Any) -> Step:
        chain = Chain(model.decoder.layers)
        return lambda codes, last: chain.step(model.quantizer.decode(codes[:, None]), last)

    def whole_encode(self, model: Any, samples: torch.Tensor) -> torch.Tensor:
        return model.quantizer.encode(model.encoder(samples)).transpose(0, 1)

    def whole_decode(self, model: Any, codes: torch.Tensor) -> torch.Tensor:
        return model.decoder(model.quantizer.decode(codes.transpose(0, 1)))


def _bandwidth(model: Any, books: int) -> float:
    """The published quantizer is asked for kilobits a second; half a book more keeps its floor from rounding down."""
    bits = model.bits_per_codebook * model.config.frame_rate
    return (books + 0.5) * bits / 1000


class _Mimi(Family):
    """Convolutions and a transformer around a split quantizer; 12.5 frames a second at 24 kHz."""

    def sizes(self, config: Any) -> tuple[int, int, int]:
        return round(config.sampling_rate / config.frame_rate), config.num_quantizers, config.codebook_size

    def refuse(self, config: Any, books: int) -> str | None:
        if books < config.num_semantic_quantizers:
            return f"{books} books leave out a semantic one: take at least {config.num_semantic_quantizers}"
        return super().refuse(config, books)

    def encoder(self, model: Any) -> list[nn.Module]:
        return [*model.encoder.encoder_seanet.layers, model.encoder.downsample]

    def decoder(self, model: Any) -> list[nn.Module]:
        return [model.decoder.upsample, *model.decoder.decoder_seanet.layers]

    def encode_step(self, model: Any, books: int) -> Step:
        encoder = model.encoder
        chain, down = Chain(encoder.encoder_seanet.layers), Convolution(encoder.downsample)
        attend = _Attention(encoder.encoder_transformer)

        def step(x: torch.Tensor, last: bool) -> torch.Tensor:
            x = down.step(attend.step(chain.step(x, last)), last)  # [1, width, frames]
            return model.quantizer.encode(x, books)[:, 0]

        return step

    def decode_step(self, model: Any) -> Step:
        decoder = model.decoder
        up, chain = Transposed(decoder.upsample), Chain(decoder.decoder_seanet.layers)
        attend = _Attention(decoder.decoder_transformer)
        return lambda codes, last: chain.step(attend.step(up.step(model.quantizer.decode(codes[None]), last)), last)

    def whole_encode(self, model: Any, samples: torch.Tensor) -> torch.Tensor:
        return model.encode(samples).audio_codes

    def whole_decode(self, model: Any, codes: torch.Tensor) -> torch.Tensor:
        return model.decode(codes).audio_values


class _Attention:
    """Mimi's transformer, which looks back over a sliding window of keys and values."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self._cache: Any = None

    def step(self, x: torch.Tensor) -> torch.Tensor:
        """[1, width, time] to the same."""
        seen = self._module(x.transpose(1, 2), past_key_values=self._cache, use_cache=True)
        self._cache = seen.past_key_values
        return seen.last_hidden_state.transpose(1, 2)


class _Dac(Family):
    """Convolutions that look both ways around a residual quantizer; whole clips only."""

    def sizes(self, config: Any) -> tuple[int, int, int]:
        return config.hop_length, config.n_codebooks, config.codebook_size

    def whole_encode(self, model: Any, samples: torch.Tensor) -> torch.Tensor:
        return model.encode(samples).audio_codes

    def whole_decode(self, model: Any, codes: torch.Tensor) -> torch.Tensor:
        return model.decode(audio_codes=codes).audio_values


FAMILIES: dict[str, tuple[str, Family]] = {
    "dac": ("DacModel", _Dac()),
    "encodec": ("EncodecModel", _Encodec()),
    "mimi": ("MimiModel", _Mimi()),
}
