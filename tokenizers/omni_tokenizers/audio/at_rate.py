"""Audio of any kind and rate as the samples that a speech tokenizer works on."""

from omni_tokenizers.audio.read import AudioSource, is_file, read_audio
from omni_tokenizers.audio.resampler import check_rates, resample, resampled_count
from omni_tokenizers.audio.waveform import Wave


def samples_at(audio: AudioSource, rate: int | None, needed: int) -> Wave:
    """Return the samples at the rate needed; an array is at `rate`, or at the rate needed if none is given.

    >>> len(samples_at([0.0] * 48_000, 48_000, 16_000))
    16000
    """
    if rate is None and not is_file(audio):
        rate = needed
    samples, found = read_audio(audio, rate=rate)
    return resample(samples, found, needed)


def count_at(samples: int, rate: int | None, needed: int) -> int:
    """How many samples so many at `rate` are at the rate needed.

    >>> count_at(48_000, 48_000, 16_000)
    16000
    """
    if samples < 0:
        raise ValueError(f"samples is {samples}; a length is 0 or more")
    rate = needed if rate is None else rate
    check_rates(rate, needed, "HQ")
    return resampled_count(samples, rate, needed)
