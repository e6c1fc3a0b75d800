"""The log-Mel arithmetic, laid out so that no chunking of the audio changes a bit.

Products and sums of single numbers are fixed by IEEE 754. A matrix product is not: libraries choose another
kernel, and another order of the sum, for another number of rows. So frames live in cells of twenty, frame k in row
k mod 20 of cell k // 20, and the mel product is a batch of products of one fixed shape [20, width] × [width, bins].
A clip fills up to 50 cells at a time; a live stream that completes 2 frames runs one cell and keeps 2 rows. That
the FFT, the batched product and the logarithm give a cell the same bits in whatever company is no promise of theirs
either: `steady` tries it once in a process, and where it does not hold every cell is computed alone.

What was tried for 30 s (3000 frames) on one core; times are of that step for all frames, whisper took 10 to 15 ms:
- FFT: numpy 14 ms, scipy (float32, SIMD across rows) 4.6, two frames in one complex FFT 4.5, torch (MKL) 1.2 to 1.9.
- Window: numpy 0.8, torch 0.3, both over a strided view of the audio.
- Power: |z| then square 6 ms; re² + im² 1.0, most of it for taking apart the interleaved pairs. Leaving them
  interleaved (0.3) and giving every filter weight twice moves the sum into the matrix product.
- Mel: one dense product per block 1.4; three groups of filters, each over its own range of FFT bins, 0.9; the same in
  cells of twenty no slower, in cells of ten 1.1. A sparse sum with `add.reduceat` needs no cells and takes 4 times as
  long.
- The 1e-10 under the logarithm is applied after it, as −10, together with the floor: a pass less over the frames.
- Blocks of 100 frames of one fixed shape for everything, streams included, needed no check of steadiness, and made
  a stream's push half as dear again and a clip twice as dear: calls, not arithmetic.
"""

import threading
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from omni_tokenizers.audio.floors import ONE, QUARTER, Floor
from omni_tokenizers.audio.mel_filterbank import BINS_FFT, HOP, N_FFT, PAD, mel_filters
from omni_tokenizers.audio.waveform import Wave

CELL = 20  # frames, 200 ms
CELLS = 50  # at a time; of 30 s, 10 take 30 % longer, 25 take 8 % longer
COLUMNS = 2 * BINS_FFT  # real and imaginary parts side by side
CUTS = (0.0, 0.6, 0.8, 1.0)  # of the filters: the low ones are many and narrow, the high ones few and wide


@dataclass(frozen=True)
class FilterGroup:
    """Neighbouring filters and the FFT columns that they touch."""

    column: int  # first of the spectrum's 402
    weights: torch.Tensor  # [width, filters]; every weight twice, for the real and for the imaginary part


@dataclass(frozen=True)
class Run:
    """The views for so many cells at a time, made once: on a live stream the calls cost more than the arithmetic."""

    cells: int
    frames: torch.Tensor  # [20·cells, 400]
    weights: list[torch.Tensor]  # [cells, width, filters] for each group, not copied
    products: list[torch.Tensor]  # [cells, 20, filters] for each group
    mel: torch.Tensor  # [cells, 20, bins]


class MelBlocks:
    """Working memory of one thread, about 2.3 MB; it carries nothing from one call to the next."""

    def __init__(self, bins: int) -> None:
        # Plain tensors on the CPU, whatever mode or default device the caller's first call runs under.
        with torch.inference_mode(False), torch.device("cpu"):
            self.window = torch.hann_window(N_FFT, periodic=True, dtype=torch.float32)  # [400]
            self.frames = torch.zeros(CELLS * CELL, N_FFT, dtype=torch.float32)
            self.mel = torch.zeros(CELLS, CELL, bins, dtype=torch.float32)
            self.groups = filter_groups(bins)
            self.products = [self.mel.new_zeros(CELLS, CELL, group.weights.shape[1]) for group in self.groups]
            self.mel_rows = self.mel.view(CELLS * CELL, bins)
            self.one = torch.ones((), dtype=torch.float32)
            # What a live stream runs, one cell: views made once and a row at a time by numpy, whose calls are shorter,
            # save a fifth of a push. For many cells at a time both cost more than they save.
            self.hann, self.rows = self.window.numpy(), self.frames.numpy()
            self.spectrum = torch.zeros(CELL, BINS_FFT, dtype=torch.complex64)
            self.squares = torch.view_as_real(self.spectrum)  # [20, 201, 2], the same memory
            self.one_cell = self.columns(self.squares, 1)
        self.log = self.mel.numpy().reshape(CELLS * CELL, bins)
        self.runs: dict[int, Run] = {}

    def fill(self, wave: Wave, at: int, begin: int, end: int, floor: Floor, out: Wave) -> None:
        """Write frames begin … end−1 of the clip into `out` [end − begin, bins]; wave[0] is sample `at` of the clip.

        The wave reaches from the first to the last sample that these frames touch. Where it stops short, at the
        clip's beginning or end, the missing samples are its reflection.
        """
        together = CELL * (CELLS if steady(out.shape[1]) else 1)  # frames
        done = begin
        while done < end:
            until = min(end, done - done % CELL + together)
            row = done % CELL
            floor.block(self.log_power(touched(wave, at, done, until), row, until - done))
            if until - done <= CELL:
                np.multiply(self.log[row : row + until - done], QUARTER, out=out[done - begin : until - begin])
                out[done - begin : until - begin] += ONE  # see floors.scaled
            else:
                log = self.mel_rows[row : row + until - done]
                torch.add(self.one, log, alpha=0.25, out=torch.from_numpy(out[done - begin : until - begin]))
            done = until

    def log_power(self, samples: Wave, row: int, count: int) -> Wave:
        """Return log10 mel power [count, bins] (−∞ for none) of the frames over these samples, from row `row` on."""
        run = self.run(-(-(row + count) // CELL))
        if run.cells == 1:
            for index in range(count):
                np.multiply(samples[HOP * index :][:N_FFT], self.hann, out=self.rows[row + index])
            torch.fft.rfft(run.frames, out=self.spectrum)
            squares, columns = self.squares, self.one_cell
        else:
            overlapping = torch.from_numpy(samples).as_strided((count, N_FFT), (HOP, 1))  # [count, 400]
            torch.mul(overlapping, self.window, out=self.frames[row : row + count])
            squares = torch.view_as_real(torch.fft.rfft(run.frames))  # [20·cells, 201, 2]
            columns = self.columns(squares, run.cells)
        squares.mul_(squares)
        for column, weights, product in zip(columns, run.weights, run.products, strict=True):
            torch.bmm(column, weights, out=product)  # with out=, which autocast does not turn into bfloat16
        torch.cat(run.products, dim=2, out=run.mel).log10_()
        return self.log[row : row + count]

    def run(self, cells: int) -> Run:
        """Return the views for so many cells."""
        if cells not in self.runs:
            with torch.inference_mode(False):
                weights = [group.weights.expand(cells, -1, -1) for group in self.groups]
                products = [product[:cells] for product in self.products]
                self.runs[cells] = Run(cells, self.frames[: cells * CELL], weights, products, self.mel[:cells])
        return self.runs[cells]

    def columns(self, squares: torch.Tensor, cells: int) -> list[torch.Tensor]:
        """Return each filter group's columns of the spectra, as views."""
        strides = (CELL * COLUMNS, COLUMNS, 1)
        return [squares.as_strided((cells, CELL, len(g.weights)), strides, g.column) for g in self.groups]


def touched(wave: Wave, at: int, begin: int, end: int) -> Wave:
    """Return the samples under frames begin … end−1, reflected where the clip begins or ends; often a view."""
    first, last = HOP * begin - PAD - at, HOP * (end - 1) + PAD - at  # in the wave, may lie outside
    inside = wave[max(first, 0) : min(last, len(wave))]
    parts = [inside]
    if first < 0:
        parts.insert(0, wave[-first:0:-1])
    if last > len(wave):
        parts.append(wave[-2 : -2 - (last - len(wave)) : -1])
    # torch warns about memory that it may not write to, although it only reads here: such samples are copied.
    return np.concatenate(parts) if len(parts) > 1 or not inside.flags.writeable else inside


def filter_groups(bins: int) -> list[FilterGroup]:
    """Cut the filter bank in three, each part over its own FFT columns only."""
    groups = []
    for first, last in pairwise(int(share * bins) for share in CUTS):
        weights = mel_filters(bins)[first:last]
        used = np.flatnonzero(weights.any(axis=0))
        low, high = int(used[0]), int(used[-1]) + 1
        groups.append(FilterGroup(2 * low, torch.tensor(np.repeat(weights[:, low:high].T, 2, axis=0))))
    return groups


@cache
def steady(bins: int) -> bool:
    """Try whether a cell has the same bits alone and among any number of others here; once a process, 60 ms."""
    blocks = MelBlocks(bins)
    noise = np.random.default_rng(0).standard_normal(HOP * CELL * CELLS + N_FFT).astype(np.float32)
    alone = [blocks.log_power(noise[HOP * CELL * cell :], 0, CELL).copy() for cell in range(CELLS)]  # [20, bins] each
    return all(
        np.array_equal(blocks.log_power(noise, 0, CELL * cells), np.concatenate(alone[:cells]))
        for cells in range(1, CELLS + 1)
    )


_thread = threading.local()


def mel_blocks(bins: int) -> MelBlocks:
    """Return this thread's working memory for so many bins; every clip and stream of a thread shares it."""
    kept: dict[int, Any] = _thread.__dict__.setdefault("blocks", {})
    if bins not in kept:
        kept[bins] = MelBlocks(bins)
    blocks: MelBlocks = kept[bins]
    return blocks
