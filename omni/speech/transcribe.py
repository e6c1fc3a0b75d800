"""Audio of any length to text with times: windows of 30 s, each beginning where the one before stopped being sure.

The decoder says where its sentences end. What it wrote behind the last complete one is thrown away, and the next window
starts there. Where the published rules leave a choice, this is openai-whisper's, so that its models behave as known.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from omni.model.load import Checkpoint
from omni.model.whisper import STRIDE, Whisper
from omni.speech.decode_window import Decoded, Rule, decode_windows, detect_language
from omni.speech.guard import Guard, compression
from omni.speech.logit_rules import NoBlankStart, Suppress, TimestampRules
from omni.speech.task_tokens import Task, TaskTokens, unspoken
from omni.speech.voice import RATE, Voice, Wave, join
from omni_tokenizers import LogMel, Text

HOP = 160  # samples a log-Mel frame, 10 ms
EDGE = 400  # zero samples behind the clip, so that its last frame sees what a 30 s padding would show it
HOT = 0.5  # text drawn at a higher temperature is no good context for the next window


@dataclass(frozen=True)
class Segment:
    """One stretch of text, with its times in the whole audio and the numbers that speak for or against it."""

    start: float  # seconds
    end: float  # seconds
    text: str
    ids: tuple[int, ...]
    temperature: float
    log_probability: float
    compression: float
    no_speech: float


@dataclass(frozen=True)
class Transcript:
    """Everything that was said."""

    text: str
    language: str
    segments: tuple[Segment, ...]


@dataclass
class Transcriber:
    """A Whisper model with its vocabulary. `voice` says where somebody speaks; without it every window is decoded."""

    model: Whisper
    text: Text
    audio: LogMel = field(default_factory=LogMel)
    voice: Voice | None = None
    guard: Guard = field(default_factory=Guard)
    longest: int | None = None  # ids of a window; None is half of the decoder's positions
    gap: float = 2.0  # seconds of silence that cut the audio, where there is a `voice`
    tokens: TaskTokens = field(init=False)

    def __post_init__(self) -> None:
        self.tokens = TaskTokens.of(self.text.special)
        if self.audio.bins != self.model.spec.bins:
            raise ValueError(f"the model hears {self.model.spec.bins} bins and the log-Mel makes {self.audio.bins}")
        never = tuple(sorted({*unspoken(self.text.encode), *self.tokens.control}))
        blank = (*self.text.encode(" "), self.tokens.end)
        self._rules: tuple[Rule, ...] = (NoBlankStart(blank), Suppress(never))

    @classmethod
    def of(cls, checkpoint: Checkpoint, voice: Voice | None = None) -> "Transcriber":
        """Out of what `load` gave."""
        if not isinstance(checkpoint.model, Whisper) or "text" not in checkpoint.tokenizers:
            raise ValueError(f"{checkpoint.kind} is no Whisper checkpoint with a vocabulary: it cannot transcribe")
        return cls(checkpoint.model, checkpoint.tokenizers["text"], checkpoint.tokenizers["audio"], voice)

    def languages(self, audio: object, rate: int | None = None) -> dict[str, float]:
        """The probability of each language in the first 30 s, likeliest first."""
        mel, _ = self._frames(self.audio.waveform(audio, rate))  # type: ignore[arg-type]
        return detect_language(self.model, self._memory(mel[: self._window]), self.tokens)[0]

    def transcribe(
        self,
        audio: object,
        rate: int | None = None,
        *,
        language: str | None = None,
        task: Task = "transcribe",
        timestamps: bool = True,
        context: bool = True,
        before: str = "",
        generator: torch.Generator | None = None,
    ) -> Transcript:
        """Write down what is said, or its English translation.

        Without `language` it is detected. `context` gives each window the text of the ones before, `before` is such a
        text from outside (names, jargon). `generator` draws at temperatures above 0.
        """
        wave = self.audio.waveform(audio, rate)  # type: ignore[arg-type]
        mel, frames = self._frames(wave)
        clips = self._clips(wave, frames)
        if not clips:
            return Transcript("", language or "", ())
        if language is None:
            first = clips[0][0] if self.voice else 0
            language = next(
                iter(detect_language(self.model, self._memory(mel[first : first + self._window]), self.tokens)[0])
            )
        rules: list[Rule] = list(self._rules)
        if timestamps:
            rules.append(TimestampRules(self.tokens, round(1.0 / self._place)))
        given = self.text.encode(f" {before.strip()}") if before.strip() else []
        written, since = list(given), 0
        segments: list[Segment] = []
        for start, end in clips:
            seek = start
            while seek < end:
                size = min(self._window, frames - seek, end - seek)
                prompt = self.tokens.prompt(
                    language, task, timestamps=timestamps, before=written[since:][-(self.model.spec.tokens // 2 - 1) :]
                )
                decoded, silent = self._decode(mel[seek : seek + size], prompt, rules, generator)
                if silent:
                    seek += size
                    continue
                found, step = self._segments(decoded, seek, size)
                segments += [piece for piece in found if piece.text]
                written += [token for piece in found if piece.text for token in piece.ids]
                if not context or decoded.temperature > HOT:
                    since = len(written)
                seek += step
        text = self.text.decode([t for t in written[len(given) :] if t < self.tokens.end])
        return Transcript(text, language, tuple(segments))

    @property
    def _window(self) -> int:
        """Log-Mel frames of a window: 3,000, which is 30 s."""
        return STRIDE * self.model.spec.places

    @property
    def _place(self) -> float:
        """Seconds of one position of the encoder."""
        return STRIDE * HOP / RATE

    def _frames(self, wave: Wave) -> tuple[torch.Tensor, int]:
        padded = np.concatenate([wave, np.zeros(EDGE, np.float32)])
        frames = len(wave) // HOP
        return torch.as_tensor(self.audio.encode(padded, RATE))[:frames], frames

    def _memory(self, mel: torch.Tensor) -> torch.Tensor:
        """A window [frames, bins], filled up with zeros, through the encoder: [1, positions, width]."""
        weight = self.model.decoder.embedding.weight
        filled = mel.new_zeros(1, self._window, mel.shape[1])
        filled[0, : len(mel)] = mel
        with torch.inference_mode():
            return self.model.encoder(filled.to(weight))

    def _clips(self, wave: Wave, frames: int) -> list[tuple[int, int]]:
        """The stretches that are decoded, in log-Mel frames."""
        if self.voice is None:
            return [(0, frames)] if frames else []
        spans = join(self.voice(wave), self.gap)
        clips = [(max(0, int(a * RATE / HOP)), min(frames, -int(-b * RATE // HOP))) for a, b in spans]
        return [(start, end) for start, end in clips if start < end]

    def _decode(
        self, mel: torch.Tensor, prompt: Sequence[int], rules: Sequence[Rule], generator: torch.Generator | None
    ) -> tuple[Decoded, bool]:
        """Decode one window, hotter and hotter while the guard doubts it; and whether it is silent."""
        memory = self._memory(mel)
        for temperature in self.guard.temperatures:
            decoded = decode_windows(
                self.model,
                memory,
                [prompt],
                self.tokens,
                rules,
                temperature=temperature,
                longest=self.longest,
                generator=generator,
            )[0]
            verdict = self.guard.verdict(decoded, self._plain(decoded.ids).strip())
            if verdict != "again":
                break
        return decoded, verdict == "silent"

    def _plain(self, ids: Sequence[int]) -> str:
        return self.text.decode([token for token in ids if token < self.tokens.end])

    def _segments(self, decoded: Decoded, seek: int, size: int) -> tuple[list[Segment], int]:
        """Cut a window's ids at its pairs of times; and how many log-Mel frames to go on by."""
        ids, first = decoded.ids, self.tokens.first_timestamp
        timed = [token >= first for token in ids]
        cuts = [i for i in range(1, len(ids)) if timed[i - 1] and timed[i]]
        offset = seek * HOP / RATE
        if not cuts:
            times = [token for token in ids if token >= first]
            end = self.tokens.seconds(times[-1]) if times and times[-1] != first else size * HOP / RATE
            return [self._segment(decoded, ids, offset, offset + end)], size
        open_end = timed[-2:] == [False, True]  # a time after the last text: nothing follows it in this window
        if open_end:
            cuts.append(len(ids))
        pieces = [ids[a:b] for a, b in zip([0, *cuts], cuts, strict=False)]
        found = [
            self._segment(decoded, p, offset + self.tokens.seconds(p[0]), offset + self.tokens.seconds(p[-1]))
            for p in pieces
        ]
        return found, size if open_end else (pieces[-1][-1] - first) * STRIDE

    def _segment(self, decoded: Decoded, ids: Sequence[int], start: float, end: float) -> Segment:
        text = self._plain(ids)
        if start == end or not text.strip():
            text = ""
        whole = compression(self._plain(decoded.ids).strip())
        return Segment(
            start, end, text, tuple(ids), decoded.temperature, decoded.log_probability, whole, decoded.no_speech
        )
