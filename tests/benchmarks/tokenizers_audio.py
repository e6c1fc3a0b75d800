"""Log-Mel and resampling, whole and live, against what people use today."""

from collections.abc import Callable, Iterable

import faster_whisper.feature_extractor
import librosa
import numpy as np
import torch
import torchaudio
import transformers
import whisper

from omni_tokenizers.audio import LogMel, Resampler, resample
from tests.benchmarks.harness import Row, compare

SECONDS = 30
LIVE_CHUNK = 320  # samples, 20 ms at 16 kHz


def rows(quick: bool) -> Iterable[Row]:
    """Measure everything about audio."""
    yield from log_mel(5 if quick else 31)
    yield from live_log_mel(3 if quick else 9)
    yield from resampling(3 if quick else 9)


def speechlike(samples: int, rate: int = 16_000) -> np.ndarray:
    """Harmonics with a slow envelope and a little noise: nothing here depends on the values, but silence is special."""
    time = np.arange(samples) / rate
    voice = sum(np.sin(2 * np.pi * 120 * k * time) / k for k in range(1, 12))
    noise = np.random.default_rng(0).standard_normal(samples)
    return (0.1 * voice * (1 + np.sin(2 * np.pi * 3 * time)) + 0.01 * noise).astype(np.float32)


def log_mel(runs: int) -> list[Row]:
    """30 s to 3000 frames."""
    clip = speechlike(16_000 * SECONDS)
    mel = LogMel(80)
    return compare("log-Mel of 30 s", lambda: mel.encode(clip), peers(clip), bar=2.0, runs=runs)


def peers(clip: np.ndarray) -> dict[str, Callable[[], object]]:
    """Each peer as its own users call it, constants made beforehand, to the same values: Whisper's floor and scale."""
    tensor = torch.from_numpy(clip)
    extractor = transformers.WhisperFeatureExtractor()
    faster = faster_whisper.feature_extractor.FeatureExtractor()
    spectrogram = torchaudio.transforms.MelSpectrogram(
        16_000, 400, hop_length=160, n_mels=80, norm="slaney", mel_scale="slaney"
    )

    def with_librosa() -> np.ndarray:
        power = librosa.feature.melspectrogram(
            y=clip, sr=16_000, n_fft=400, hop_length=160, n_mels=80, pad_mode="reflect"
        )
        log = np.log10(np.maximum(power[:, :-1], 1e-10))
        return (np.maximum(log, log.max() - 8) + 4) / 4

    def with_torchaudio() -> torch.Tensor:
        log = spectrogram(tensor)[:, :-1].clamp(min=1e-10).log10()
        return (torch.maximum(log, log.max() - 8) + 4) / 4

    return {
        "openai-whisper": lambda: whisper.log_mel_spectrogram(tensor),
        "transformers": lambda: extractor(clip, sampling_rate=16_000, return_tensors="np"),
        "torchaudio": with_torchaudio,
        "librosa": with_librosa,
        "faster-whisper": lambda: faster(clip, padding=0),
    }


def live_log_mel(runs: int) -> list[Row]:
    """One 20 ms chunk of a live signal: a push, against the 30 s window computed again."""
    clip = speechlike(16_000 * SECONDS)
    chunk = clip[:LIVE_CHUNK]
    stream = LogMel(80, floor="fixed").stream()
    mel = LogMel(80)
    return compare(
        "log-Mel of 20 ms more, live",
        lambda: stream.push(chunk),
        {f"{name}, 30 s again": peer for name, peer in peers(clip).items()}
        | {"ours, 30 s again": lambda: mel.encode(clip)},
        bar={f"{name}, 30 s again": 50.0 for name in peers(clip)},
        runs=runs,
        per_call=10,  # chunks in a row, as a busy server takes them
    )


def resampling(runs: int) -> list[Row]:
    """30 s at 48 kHz, live in 20 ms chunks, and at once.

    The peers cannot carry a filter's history, so live they resample each chunk by itself, clicks and all. At once is
    for information: librosa calls the same soxr, and torchaudio's kernel of 6 zero crossings is a shorter filter.
    """
    clip = speechlike(48_000 * SECONDS, 48_000)
    chunks = clip.reshape(-1, 960)
    tensor = torch.from_numpy(clip)
    tensors = tensor.reshape(-1, 960)
    kernel = torchaudio.transforms.Resample(48_000, 16_000)

    def ours() -> None:
        resampler = Resampler(48_000, 16_000)
        for chunk in chunks:
            resampler.push(chunk)
        resampler.finish()

    def librosa_chunks() -> None:
        for chunk in chunks:
            librosa.resample(chunk, orig_sr=48_000, target_sr=16_000)

    return [
        *compare(
            "48 → 16 kHz, 30 s live in 20 ms chunks",
            ours,
            {"torchaudio by chunk": lambda: [kernel(chunk) for chunk in tensors], "librosa by chunk": librosa_chunks},
            bar=1.0,
            runs=runs,
        ),
        *compare(
            "48 → 16 kHz, 30 s at once",
            lambda: resample(clip, 48_000, 16_000),
            {
                "torchaudio": lambda: kernel(tensor),
                "librosa": lambda: librosa.resample(clip, orig_sr=48_000, target_sr=16_000),
            },
            runs=runs,
        ),
    ]
