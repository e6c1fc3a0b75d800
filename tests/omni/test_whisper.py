"""Whisper's own shape: cached steps, padded batches, and what it refuses."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omni.model.families.whisper import stack
from omni.model.whisper import Whisper, WhisperSpec
from tests.parity.published import assert_same_numbers, randomise

BINS, PLACES, TOKENS, VOCABULARY = 80, 24, 20, 61


def whisper() -> Whisper:
    encoder, decoder = stack(32, 4, 48, 2, cross=False), stack(32, 4, 48, 2, cross=True)
    model = Whisper(WhisperSpec(BINS, VOCABULARY, encoder, decoder, PLACES, TOKENS))
    randomise(model)
    return model.eval()


MODEL = whisper()
MEL = torch.randn(3, 2 * PLACES, BINS, generator=torch.Generator().manual_seed(1))
IDS = torch.randint(0, VOCABULARY, (3, TOKENS), generator=torch.Generator().manual_seed(2))


@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=3).filter(any), min_size=1, max_size=5))
def test_any_chunks_of_tokens_with_a_cache_give_the_logits_of_all_at_once(chunks: list[list[int]]) -> None:
    """Three rows of one batch go on by different numbers of tokens at every step."""
    with torch.inference_mode():
        memory = MODEL.encoder(MEL)
        whole = MODEL.decoder(IDS, memory)
        seen, cache, held = MODEL.decoder.stack.remember(memory), MODEL.cache(3), [0, 0, 0]
        for counts in chunks:
            counts = [min(count, TOKENS - done) for count, done in zip(counts, held, strict=True)]
            if not any(counts):
                break
            new = torch.zeros(3, max(counts), dtype=torch.long)
            for row, (count, done) in enumerate(zip(counts, held, strict=True)):
                new[row, :count] = IDS[row, done : done + count]
            logits = MODEL.decoder(new, seen, step=cache.step([0, 1, 2], counts))
            for row, (count, done) in enumerate(zip(counts, held, strict=True)):
                if count:
                    assert_same_numbers(logits[row, :count], whole[row, done : done + count])
                held[row] += count


def test_logits_at_chosen_places_are_those_of_all_places() -> None:
    with torch.inference_mode():
        memory = MODEL.encoder(MEL)
        assert_same_numbers(MODEL.decoder(IDS, memory, at=(3, -1)), MODEL.decoder(IDS, memory)[:, [3, -1]])


@pytest.mark.parametrize("length", [31, 32, 1])
def test_a_short_clip_in_a_padded_batch_equals_itself_alone(length: int) -> None:
    lengths = torch.tensor([2 * PLACES, length, 7])
    with torch.inference_mode():
        together, alone = MODEL(MEL, IDS, lengths), MODEL(MEL[1:2, :length], IDS[1:2])
        heard = MODEL.encoder(MEL, lengths)[1:2, : (length + 1) // 2]
        assert_same_numbers(heard, MODEL.encoder(MEL[1:2, :length]))
    assert_same_numbers(together[1:2], alone)


def test_a_later_token_never_changes_an_earlier_logit_but_a_later_sound_does() -> None:
    with torch.inference_mode():
        before = MODEL(MEL, IDS)
        changed = IDS.clone()
        changed[:, 9] = (changed[:, 9] + 1) % VOCABULARY
        assert torch.equal(MODEL(MEL, changed)[:, :9], before[:, :9])
        louder = MEL.clone()
        louder[:, -1] += 1
        assert not torch.allclose(MODEL(louder, IDS)[:, 0], before[:, 0])


def test_audio_longer_than_the_window_is_refused_with_both_lengths() -> None:
    with pytest.raises(ValueError, match=r"49 log-Mel frames.*for 48"):
        MODEL.encoder(torch.zeros(1, 49, BINS))


def test_more_tokens_than_positions_are_refused_with_both_numbers() -> None:
    with pytest.raises(ValueError, match=r"21 tokens.*20 positions"):
        MODEL(MEL[:1], torch.zeros(1, 21, dtype=torch.long))


def test_a_stack_without_cross_attention_cannot_remember() -> None:
    with pytest.raises(ValueError, match="no cross-attention"):
        MODEL.encoder.stack.remember(torch.zeros(1, 4, 32))
