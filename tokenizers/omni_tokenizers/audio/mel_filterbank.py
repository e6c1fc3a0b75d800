"""The Whisper values: the constants of its spectrogram and its Slaney filter bank, from the formulae."""

from functools import cache

import numpy as np
import numpy.typing as npt

SAMPLE_RATE = 16_000  # Hz
N_FFT = 400  # samples, 25 ms
HOP = 160  # samples, 10 ms
PAD = N_FFT // 2  # samples reflected at either end, so that frame k is centred on sample 160·k
BINS_FFT = N_FFT // 2 + 1  # 0 to 8000 Hz in steps of 40 Hz
FRAME_RATE = SAMPLE_RATE / HOP  # frames a second
MIN_SAMPLES = PAD + 1  # a reflection of 200 samples needs 201
WINDOW_SAMPLES = 30 * SAMPLE_RATE  # what one pass of Whisper sees
MEL_BINS = (80, 128)

HZ_PER_MEL = 200 / 3  # the linear part, below 1000 Hz
LOG_FROM_HZ = 1000.0
LOG_FROM_MEL = LOG_FROM_HZ / HZ_PER_MEL  # 15
LOG_STEP = np.log(6.4) / 27.0  # natural logarithm of the frequency ratio of one mel, above 1000 Hz


def hz_of_mel(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Turn mels of the Slaney scale into Hz: linear to 1000 Hz, logarithmic above.

    >>> hz_of_mel(np.array([0.0, 15.0, 45.245640471924965])).round(6).tolist()
    [0.0, 1000.0, 8000.0]
    """
    log = LOG_FROM_HZ * np.exp(LOG_STEP * (mel - LOG_FROM_MEL))
    return np.where(mel >= LOG_FROM_MEL, log, HZ_PER_MEL * mel)


@cache
def mel_filters(bins: int) -> npt.NDArray[np.float32]:
    """Return the triangular filters [bins, 201] that sum FFT power into mel bins, each of unit area (Slaney).

    >>> mel_filters(80).shape, int((mel_filters(80) > 0).sum(axis=0).max())
    ((80, 201), 2)
    """
    if bins not in MEL_BINS:
        raise ValueError(f"bins is {bins!r}; Whisper has filter banks of 80 and of 128 bins: pass one of them")
    top = LOG_FROM_MEL + np.log(SAMPLE_RATE / 2 / LOG_FROM_HZ) / LOG_STEP  # 45.245640471924965
    corners = hz_of_mel(np.linspace(0.0, top, bins + 2))  # [bins + 2] Hz
    fft = np.fft.rfftfreq(N_FFT, 1 / SAMPLE_RATE)  # [201] Hz
    ramps = corners[:, None] - fft  # [bins + 2, 201]
    rise = -ramps[:-2] / np.diff(corners)[:-1, None]
    fall = ramps[2:] / np.diff(corners)[1:, None]
    triangles = np.maximum(0, np.minimum(rise, fall)).astype(np.float32)  # rounded here, as librosa rounds
    filters: npt.NDArray[np.float32] = (triangles * (2.0 / (corners[2:] - corners[:-2]))[:, None]).astype(np.float32)
    filters.setflags(write=False)
    return filters
