"""Audio to tokens: reading, resampling, log-Mel frames, wav2vec features and acoustic codes.

Names are imported on first use, so that asking for `LogMel` does not load torch and asking for
`read_audio` does not load a speech encoder.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omni_tokenizers.audio.codec import Codec
    from omni_tokenizers.audio.codec_hub import load_codec
    from omni_tokenizers.audio.log_mel import LogMel, MelWindow
    from omni_tokenizers.audio.mel_filterbank import mel_filters
    from omni_tokenizers.audio.mel_stream import MelStream
    from omni_tokenizers.audio.read import read_audio
    from omni_tokenizers.audio.resampler import Resampler, resample, resampled_count
    from omni_tokenizers.audio.wav2vec import Wav2Vec
    from omni_tokenizers.audio.waveform import as_waveform

_HOME = {
    "Codec": "codec",
    "LogMel": "log_mel",
    "MelStream": "mel_stream",
    "MelWindow": "log_mel",
    "Resampler": "resampler",
    "Wav2Vec": "wav2vec",
    "as_waveform": "waveform",
    "load_codec": "codec_hub",
    "mel_filters": "mel_filterbank",
    "read_audio": "read",
    "resample": "resampler",
    "resampled_count": "resampler",
}

__all__ = [
    "Codec",
    "LogMel",
    "MelStream",
    "MelWindow",
    "Resampler",
    "Wav2Vec",
    "as_waveform",
    "load_codec",
    "mel_filters",
    "read_audio",
    "resample",
    "resampled_count",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value  # the next look-up does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
