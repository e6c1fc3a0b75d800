"""The ear of the native engine hears what the stem hears, in whatever pieces and company a sound comes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omni.engine.native.ear import Ear
from omni.model.kernels import FEW
from omni.model.stem import State, Stem

WIDTH, WORDS, LONGEST = 12, 7, 100  # tokens of a sound
STEMS = {
    "words": Stem(bins=6, hidden=16, blocks=2, kernel=3, spread=24, words=WORDS),
    "one block": Stem(bins=6, hidden=16, blocks=1, kernel=5, spread=8, words=WORDS),
    "sound alone": Stem(bins=6, hidden=16, strides=(1, 2)),
    "words of the convolutions": Stem(bins=5, hidden=8, words=WORDS),
}


@pytest.mark.parametrize("name", STEMS)
@settings(max_examples=30, deadline=None)
@given(st.data())
def test_any_pieces_of_several_sounds_give_what_the_stem_gives_at_once(name: str, data: st.DataObject) -> None:
    torch.manual_seed(0)
    stem, table = STEMS[name].build(WIDTH), torch.randn(WORDS + 2, WIDTH)
    ear = Ear(stem)
    sounds = torch.randn(3, LONGEST, stem.spec.frames, stem.spec.bins)
    states: list[State] = [[], [], []]
    heard: list[list[torch.Tensor]] = [[], [], []]
    at = [0, 0, 0]
    for _ in range(data.draw(st.integers(1, 6))):
        counts = data.draw(st.lists(st.sampled_from([0, 1, 1, 2, 3, FEW // 2]), min_size=3, max_size=3))
        who = [n for n in data.draw(st.permutations(range(3))) if at[n] + counts[n] <= LONGEST]
        pieces = [sounds[n, at[n] : at[n] + counts[n]] for n in who]
        with torch.inference_mode():
            made, after = ear(pieces, [states[n] for n in who], table)
        for n, tokens, state in zip(who, made, after, strict=True):
            heard[n].append(tokens)
            states[n] = state
            at[n] += counts[n]
    with torch.no_grad():
        want, _ = stem(list(sounds), None, table)
    for n, parts in enumerate(heard):
        if at[n]:
            torch.testing.assert_close(
                torch.cat(parts), want[n][: at[n]], rtol=0, atol=2e-6 * float(want[n].abs().max())
            )


def test_a_state_is_not_changed_by_what_comes_after_it() -> None:
    torch.manual_seed(0)
    stem, table = STEMS["words"].build(WIDTH), torch.randn(WORDS + 2, WIDTH)
    ear, sound = Ear(stem), torch.randn(8, 4, 6)
    with torch.inference_mode():
        (_,), (kept,) = ear([sound[:4]], [[]], table)
        (first,), _ = ear([sound[4:]], [kept], table)
        (again,), _ = ear([sound[4:]], [kept], table)
    assert torch.equal(first, again)


def test_a_poisoned_sound_stays_alone_with_it() -> None:
    torch.manual_seed(0)
    stem, table = STEMS["words"].build(WIDTH), torch.randn(WORDS + 2, WIDTH)
    sounds = torch.randn(3, 2, 4, 6)
    sounds[1, 0, 2, 3] = float("nan")
    with torch.inference_mode():
        made, _ = Ear(stem)(list(sounds), [[], [], []], table)
    assert [bool(tokens.isfinite().all()) for tokens in made] == [True, False, True]
