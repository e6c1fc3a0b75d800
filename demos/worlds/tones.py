"""A small spoken language: words of eight phones, each two tones of wandering phase, loudness and length, in noise."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torchaudio.functional import edit_distance

WORDS = [(1, 2, 3), (4, 5), (6, 7, 8), (2, 5, 7), (3, 1), (8, 4, 6)]  # as phones
PHONES = 8
PHONE = 160  # samples of one, more or less


def utterance(seed: int) -> tuple[NDArray[np.float32], list[int]]:
    """Four words, and their phones: each is two tones, as loud and as long as it pleases."""
    draw = np.random.default_rng(seed)
    phones, pieces = [phone for _ in range(4) for phone in WORDS[draw.integers(len(WORDS))]], []
    for phone in phones:
        t = np.arange(int(PHONE * draw.uniform(0.7, 1.3)))
        piece = np.zeros(len(t))
        for loud, pitch in ((1.0, 0.03 + 0.03 * (phone % 3)), (0.7, 0.15 + 0.06 * (phone // 3))):
            # A phase that could be foretold from the frames before would be learned in the place of the phones.
            phase = draw.uniform(0, 6) + np.cumsum(0.15 * draw.standard_normal(len(t)))
            piece += loud * np.sin(2 * np.pi * pitch * t + phase)
        pieces.append(piece * draw.uniform(0.5, 1.5))
    wave = np.concatenate(pieces)
    wave = wave + 0.4 * draw.standard_normal(len(wave))
    return ((wave - wave.mean()) / wave.std()).astype(np.float32), phones


def batch(seeds: range) -> tuple[Tensor, Tensor, list[list[int]]]:
    """Padded samples [utterances, samples], how many of each are real, and the phones."""
    waves, phones = zip(*map(utterance, seeds), strict=True)
    return pad_sequence([torch.from_numpy(w) for w in waves], True), torch.tensor([len(w) for w in waves]), list(phones)


def share_wrong(found: list[list[int]], said: list[list[int]]) -> float:
    """Phones to insert, drop or replace, of all that were said, in percent."""
    return 100 * sum(map(edit_distance, found, said)) / sum(map(len, said))
