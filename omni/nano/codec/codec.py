"""`NanoCodec`: nano's voice behind the `Codec` seam of the tokenizer library.

A kernel rounds differently for another length, so every frame is worked alone, offline and live alike: the stream
equals `encode` and `decode` to the bit by construction.
"""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from omni.nano.codec.frame import FrameDecoder
from omni.nano.codec.hearing import AFTER, BEFORE, WINDOW, hear
from omni.nano.codec.network import PITCHES, CodecNet, CodecSpec, Memory, pitch_codes, pitch_values
from omni.nano.codec.source_filter import (
    FRAME,
    NOISE_SAMPLES,
    RATE,
    amplitudes,
    cycle,
    mix,
    noise_table,
    signals,
)
from omni_tokenizers.audio import Resampler
from omni_tokenizers.audio.at_rate import count_at, samples_at
from omni_tokenizers.audio.codec import CodeArray, Codes, checked_codes
from omni_tokenizers.audio.read import AudioSource
from omni_tokenizers.audio.waveform import Samples, Wave

SHIPPED = Path(__file__).parents[1] / "weights" / "codec"
FORMAT = 1
FIRST_OCTAVES = 0.5  # of book 0, until the voice first sings


class NanoCodec:
    """One clear voice, 24 kHz, 25 frames of 12 codes a second; the first code of a frame is its pitch.

    A frame of codes becomes its 40 ms of sound at once; a frame of sound becomes codes 61 ms after its end.
    """

    def __init__(self, net: CodecNet) -> None:
        self.net = net.eval().requires_grad_(False)
        self.frame = FrameDecoder(net.decoder)
        self.sample_rate = RATE
        self.frame_rate = RATE / FRAME
        self.book_sizes = (PITCHES, *(net.fsq.size,) * net.fsq.books)
        self.meaning = net.fsq.values(torch.arange(net.fsq.size)[:, None])  # [entries, channels], of a learned book
        table = noise_table()
        self.noise = torch.cat([table, table[:, :FRAME]], dim=1)  # any frame of it lies in one piece

    def count(self, samples: int, rate: int | None = None) -> int:
        """How many frames `encode` gives for so many samples; a begun frame counts."""
        return -(-count_at(samples, rate, RATE) // FRAME)

    def encode(self, audio: AudioSource, rate: int | None = None) -> CodeArray:
        """Sound to codes, int32 [frames, books]."""
        stream = self.stream()
        return np.concatenate([stream.push(samples_at(audio, rate, RATE)), stream.finish()])

    def decode(self, codes: Codes) -> Wave:
        """Codes to sound, float32 [frames · 960]."""
        stream = self.decoder()
        return np.concatenate([stream.push(codes), stream.finish()])

    def stream(self, rate: int | None = None) -> "NanoEncoder":
        """A live encoder of sound at `rate`."""
        return NanoEncoder(self, RATE if rate is None else rate)

    def decoder(self) -> "NanoDecoder":
        """A live decoder: every frame that is pushed comes back as 40 ms of sound."""
        return NanoDecoder(self)

    def save(self, folder: str | Path) -> None:
        """Write codec.json and model.safetensors (half precision)."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        about = {"format": FORMAT, "sample_rate": RATE, "spec": asdict(self.net.spec)}
        (folder / "codec.json").write_text(json.dumps(about, indent=1) + "\n")
        save_file({k: v.half().contiguous() for k, v in self.net.state_dict().items()}, folder / "model.safetensors")

    @classmethod
    def load(cls, folder: str | Path = SHIPPED) -> "NanoCodec":
        """Read what `save` wrote; the codec that is shipped with the package if no folder is given."""
        about_file = Path(folder) / "codec.json"
        if not about_file.exists():
            raise FileNotFoundError(f"{folder} holds no codec (no codec.json): name the folder that `save` wrote")
        about = json.loads(about_file.read_text())
        if about["format"] != FORMAT:
            raise ValueError(f"{about_file} has format {about['format']}, and this version reads {FORMAT}")
        net = CodecNet(CodecSpec(**about["spec"]))
        file = Path(folder) / "model.safetensors"
        try:
            weights = load_file(file)
        except SafetensorError as wrong:
            raise ValueError(f"{file} is damaged: put a copy in its place ({wrong})") from None
        net.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
        return cls(net)


class NanoEncoder:
    """Codes of live sound. What `push` and `finish` return, joined, is `encode` of the joined sound."""

    def __init__(self, codec: NanoCodec, rate: int) -> None:
        self._net = codec.net
        self._books = len(codec.book_sizes)
        self._resampler = Resampler(rate, RATE)
        self._held = np.zeros(BEFORE, np.float32)  # begins where the window of the next frame begins
        self._came = 0  # samples at 24 kHz
        self._heard = 0  # frames that the encoder has seen
        self._memory = Memory()
        self._octaves = FIRST_OCTAVES
        self._pitches: list[Tensor] = []  # of frames whose other codes are still to come
        self._open = True

    def push(self, audio: Samples, /) -> CodeArray:
        """Take the next samples; return the codes [frames, books] that are now certain."""
        _require_open(self._open)
        return self._take(self._resampler.push(audio))

    def finish(self) -> CodeArray:
        """Return the codes of what was held back, a begun frame included, and close the stream."""
        _require_open(self._open)
        self._open = False
        ready = self._take(self._resampler.finish())
        frames = -(-self._came // FRAME)
        if not frames:
            return ready
        silence = (frames + self._net.spec.ahead) * FRAME + AFTER - self._came
        rest = self._take(np.zeros(silence, np.float32))
        return np.concatenate([ready, rest])

    @torch.inference_mode()
    def _take(self, samples: Wave) -> CodeArray:
        self._came += len(samples)
        self._held = np.concatenate([self._held, samples])
        at, rows = 0, []
        while len(self._held) - at >= WINDOW:
            rows += self._frame(torch.from_numpy(self._held[at : at + WINDOW].copy()))
            at += FRAME
        self._held = self._held[at:]
        return np.concatenate(rows) if rows else np.empty((0, self._books), np.int32)

    def _frame(self, window: Tensor) -> list[CodeArray]:
        """The codes of the frame `ahead` before this one, if there is such a frame."""
        features, octaves, weight = hear(window[None])
        if weight.item() > 0:
            self._octaves = octaves.item()
        self._pitches.append(pitch_codes(torch.tensor([self._octaves])))
        z = self._net.encoder(features[None], self._memory)[0]  # [1, width]
        self._heard += 1
        if self._heard <= self._net.spec.ahead:
            return []
        codes = torch.cat([self._pitches.pop(0)[:, None], self._net.fsq.codes(z)], dim=1)
        return [codes.to(torch.int32).numpy()]


class NanoDecoder:
    """Sound of live codes. What `push` returns, joined, is `decode` of the joined codes; nothing is held back."""

    def __init__(self, codec: NanoCodec) -> None:
        self._frame_decoder = codec.frame
        self._sizes = codec.book_sizes
        self._meaning = codec.meaning
        self._noise = codec.noise
        self._seen = codec.frame.start()
        self._loud: Tensor | None = None  # [1, 1, signals], at the end of the last frame
        self._pitch: Tensor | None = None  # [1], Hz, there
        self._turns = torch.zeros(1, dtype=torch.float64)  # where the pitch cycle is, there
        self._at = 0  # sample of the noise that comes next
        self._open = True

    def push(self, codes: Codes, /) -> Wave:
        """Take the next codes [frames, books]; return their sound, 960 samples a frame."""
        _require_open(self._open)
        rows = torch.from_numpy(checked_codes(codes, self._sizes)).long()
        pieces = [self._frame(rows[at : at + 1]) for at in range(len(rows))]
        return np.concatenate(pieces) if pieces else np.empty(0, np.float32)

    def finish(self) -> Wave:
        """Close the stream; there is nothing left to give."""
        _require_open(self._open)
        self._open = False
        return np.empty(0, np.float32)

    @torch.inference_mode()
    def _frame(self, codes: Tensor) -> Wave:
        """Codes [1, books] → samples [960]."""
        values = self._meaning[codes[:, 1:]].flatten(1)  # [1, width]
        controls = self._frame_decoder(values, pitch_values(codes[:, 0]), self._seen)
        loud = amplitudes(controls)
        before = torch.zeros_like(loud[:, :1]) if self._loud is None else self._loud
        turns = cycle(controls.pitch[:, 0] if self._pitch is None else self._pitch, controls.pitch, self._turns)
        noise = self._noise[None, :, self._at : self._at + FRAME]
        sound = mix(before, loud, signals(turns, noise))[0]
        self._loud, self._pitch, self._turns = loud[:, -1:], controls.pitch[:, -1], turns[:, -1].double()
        self._at = (self._at + FRAME) % NOISE_SAMPLES
        samples: Wave = sound.numpy()
        return samples


def _require_open(is_open: bool) -> None:
    if not is_open:
        raise ValueError("this stream is finished: open another")
