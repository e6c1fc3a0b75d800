"""Log-Mel on a GPU, or wherever torch computes: the whole clip at once.

The values are those of the blocks on the CPU up to float32 rounding; the last bits depend on the clip's length,
which is why this way does not stream.
"""

from functools import cache

import torch
from torch.nn import functional

from omni_tokenizers.audio.floors import FIXED_MAXIMUM, RANGE, FloorName
from omni_tokenizers.audio.mel_filterbank import HOP, N_FFT, PAD, mel_filters
from omni_tokenizers.audio.waveform import Wave

SMALLEST = 1e-10  # power under the logarithm


@cache
def constants(device: str, bins: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return window [400] and filters [201, bins] on the device, once."""
    with torch.inference_mode(False):
        window = torch.hann_window(N_FFT, periodic=True, dtype=torch.float32, device=device)
        return window, torch.tensor(mel_filters(bins).T.copy(), dtype=torch.float64, device=device)


def log_mel_on(device: str, wave: Wave, bins: int, floor: FloorName | None) -> torch.Tensor:
    """Return the frames [frames, bins] of a 16 kHz waveform, on the device."""
    window, filters = constants(device, bins)
    samples = torch.tensor(wave, device=device)
    padded = functional.pad(samples[None], (PAD, PAD), mode="reflect")[0]
    frames = padded.unfold(0, N_FFT, HOP)[: len(wave) // HOP]  # [frames, 400]
    spectrum = torch.view_as_real(torch.fft.rfft(frames * window))  # [frames, 201, 2]
    power = spectrum.square().sum(-1)  # [frames, 201]
    # In float64, which neither TF32 nor autocast touches: either would leave 3 digits of every mel value.
    mel = (power.double() @ filters).float()  # [frames, bins]
    log = mel.clamp(min=SMALLEST).log10()
    if floor == "clip":
        log = torch.maximum(log, log.amax() - float(RANGE))
    elif floor == "fixed":
        log = log.clamp(min=float(FIXED_MAXIMUM - RANGE))
    elif floor == "running":
        log = torch.maximum(log, log.amax(dim=1).cummax(dim=0).values[:, None] - float(RANGE))
    return log / 4 + 1
