"""CTC: the loss, the searches and the alignment, each against an oracle that counts paths or is torchaudio's."""

import json
from itertools import groupby, product
from pathlib import Path

import numpy as np
import pytest
import torch
from torchaudio.functional import forced_align

from omni.model.characters import Characters
from omni.model.losses.ctc import ctc_loss
from omni.speech.ctc_search import align, greedy, prefix_search


def some_log_probability(frames: int, letters: int, seed: int) -> torch.Tensor:
    return (2 * torch.randn(frames, letters, generator=torch.Generator().manual_seed(seed))).log_softmax(-1)


def texts_of(log_probability: torch.Tensor) -> dict[tuple[int, ...], float]:
    """The probability of every text, all its paths counted one by one."""
    frames, letters = log_probability.shape
    found: dict[tuple[int, ...], float] = {}
    for path in product(range(letters), repeat=frames):
        text = tuple(k for k, _ in groupby(path) if k != 0)
        chance = float(log_probability[torch.arange(frames), list(path)].sum().exp())
        found[text] = found.get(text, 0.0) + chance
    return found


@pytest.mark.parametrize("seed", range(4))
def test_a_wide_prefix_search_finds_the_probability_of_every_text(seed: int) -> None:
    log_probability = some_log_probability(5, 3, seed)
    want = texts_of(log_probability)
    found = prefix_search(log_probability, beams=1000, least=-np.inf)
    assert {one.ids: np.exp(one.score) for one in found} == pytest.approx(want, rel=1e-4)
    assert found[0].ids == max(want, key=want.__getitem__)


def test_the_likeliest_text_is_not_always_the_text_of_the_likeliest_path() -> None:
    chances = torch.tensor([[0.6, 0.4], [0.6, 0.4]]).log()
    assert greedy(chances[None]) == [[]]  # 0.36 for two blanks
    assert prefix_search(chances)[0].ids == (1,)  # 0.64 for the three paths that spell it


def test_what_is_favoured_wins_where_sounds_are_alike() -> None:
    chances = torch.tensor([[0.02, 0.49, 0.49]]).log()
    assert prefix_search(chances, favour=lambda prefix: 1.0 if prefix[-1] == 2 else 0.0)[0].ids == (2,)
    assert prefix_search(chances, favour=lambda prefix: 1.0 if prefix[-1] == 1 else 0.0)[0].ids == (1,)


def test_greedy_reads_no_further_than_an_utterance_is_long() -> None:
    logits = torch.eye(3)[torch.tensor([[1, 0, 1, 2], [2, 2, 1, 1]])]
    assert greedy(logits, [3, 2]) == [[1, 1], [2]]


@pytest.mark.parametrize(("frames", "ids"), [(30, [3, 1, 1, 4]), (9, [2, 2, 2, 2, 2]), (12, [5]), (6, [])])
def test_alignment_is_torchaudios(frames: int, ids: list[int]) -> None:
    log_probability = some_log_probability(frames, 6, seed=frames)
    spans = align(log_probability, ids)
    path = torch.zeros(frames, dtype=torch.long)
    for one in spans:
        path[one.start : one.end] = one.id
    if ids:
        want, scores = forced_align(log_probability[None], torch.tensor([ids]), blank=0)
        assert path.tolist() == want[0].tolist()
        for one in spans:
            assert one.score == pytest.approx(scores[0, one.start : one.end].mean().item(), abs=1e-5)
    assert [one.id for one in spans] == ids


def test_a_text_too_long_for_its_audio_cannot_be_aligned() -> None:
    with pytest.raises(ValueError, match=r"3 ids need 5 frames.*there are 4"):
        align(some_log_probability(4, 3, 0), [1, 1, 1])


def test_loss_is_minus_the_log_of_all_paths_that_spell_the_labels() -> None:
    log_probability = some_log_probability(5, 3, seed=9)
    want = texts_of(log_probability)
    for text in [(1,), (1, 2), (2, 2), (1, 2, 1)]:
        loss = ctc_loss(log_probability[None], torch.tensor([5]), torch.tensor([text]))
        assert loss.item() == pytest.approx(-np.log(want[text]), rel=1e-5)


def test_labels_that_do_not_fit_are_an_error_or_no_weight() -> None:
    logits, labels = torch.zeros(2, 4, 3), torch.tensor([[1, 1, 1], [1, 2, -100]])
    lengths = torch.tensor([4, 4])
    with pytest.raises(ValueError, match="utterance 0 has 4 frames and its labels need 5"):
        ctc_loss(logits, lengths, labels)
    losses = ctc_loss(logits, lengths, labels, reduction="none", skip_impossible=True)
    assert losses[0] == 0
    assert losses[1] > 0


@pytest.mark.parametrize("wrong", [0, 3])
def test_a_label_that_is_the_blank_or_beyond_the_vocabulary_is_an_error(wrong: int) -> None:
    with pytest.raises(ValueError, match="below 3 and never blank"):
        ctc_loss(torch.zeros(1, 4, 3), torch.tensor([4]), torch.tensor([[1, wrong]]))


def test_characters_are_read_from_a_published_folder(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text(json.dumps({"<pad>": 0, "|": 1, "E": 2, "H": 3, "L": 4, "O": 5}))
    letters = Characters.load(tmp_path)
    assert letters.encode("hello  hello") == [3, 2, 4, 4, 5, 1, 3, 2, 4, 4, 5]
    assert letters.decode([3, 3, 2, 4, 0, 4, 5, 5, 1, 1, 5, 0]) == "HELLO O"
    with pytest.raises(ValueError, match=r"'w' in 'world'.*EHLO"):
        letters.encode("world")
