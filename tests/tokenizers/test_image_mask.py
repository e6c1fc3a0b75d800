"""Masks depend on the seed of the example alone, and restore what they shuffled."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_tokenizers.image import mask_from_noise, masked_loss, patch_targets, random_mask


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 300), st.floats(0, 0.99), st.integers(0, 2**63))
def test_a_draw_keeps_the_published_share_and_at_least_one(length: int, ratio: float, seed: int) -> None:
    drawn = random_mask(length, ratio, seed=seed)
    assert len(drawn.keep) == max(1, int(length * (1 - ratio)))
    assert (~drawn.mask).sum() == len(drawn.keep)
    assert set(drawn.keep.tolist()) == set(np.flatnonzero(~drawn.mask).tolist())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 1000)), min_size=1, max_size=8), st.randoms())
def test_a_mask_depends_on_its_example_and_not_on_the_batch(examples: list[tuple[int, int]], random) -> None:
    alone = {example: random_mask(example[0], 0.75, seed=example[1]).keep.tolist() for example in examples}
    shuffled = examples + [(random.randint(1, 60), random.randint(0, 1000)) for _ in range(3)]
    random.shuffle(shuffled)
    np.random.seed(random.randint(0, 9999))
    together = {example: random_mask(example[0], 0.75, seed=example[1]).keep.tolist() for example in shuffled}
    assert all(together[example] == alone[example] for example in examples)


def test_different_seeds_hide_different_patches_evenly() -> None:
    hidden = np.mean([random_mask(64, 0.75, seed=[7, image]).mask for image in range(2000)], axis=0)
    assert abs(hidden - 0.75).max() < 0.05


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 100), st.floats(0, 0.95), st.integers(0, 99), st.booleans())
def test_full_puts_every_row_back_in_its_place(length: int, ratio: float, seed: int, tensors: bool) -> None:
    drawn = random_mask(length, ratio, seed=seed)
    values = np.random.default_rng(0).random((length, 3))
    given_values = torch.from_numpy(values) if tensors else values
    token = torch.full((3,), -1.0, dtype=torch.float64) if tensors else np.full(3, -1.0)
    full = np.asarray(drawn.full(drawn.visible(given_values), token))
    np.testing.assert_array_equal(full[~drawn.mask], values[~drawn.mask])
    assert (full[drawn.mask] == -1).all()


def test_ten_patches_at_nine_tenths_keep_one() -> None:
    assert len(random_mask(10, 0.9, seed=0).keep) == 1


def test_equal_noise_is_broken_by_place() -> None:
    assert mask_from_noise(np.zeros(8), 0.5).keep.tolist() == [0, 1, 2, 3]


def test_targets_have_no_mean_and_unit_variance_and_flat_patches_are_zero() -> None:
    values = np.random.default_rng(0).random((5, 48))
    values[0] = 0.3
    targets = patch_targets(values)
    assert not targets[0].any()
    np.testing.assert_allclose(targets[1:].mean(1), 0, atol=1e-12)
    np.testing.assert_allclose(targets[1:].var(1, ddof=1), 1, rtol=1e-4)


@pytest.mark.parametrize("library", [np.asarray, torch.tensor])
@pytest.mark.parametrize("kind", [bool, int, float])
def test_a_mask_of_ones_and_zeros_is_a_mask_and_no_list_of_places(library, kind) -> None:
    predicted = library([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [5.0, 5.0]])
    mask = library([kind(hidden) for hidden in (0, 0, 1, 1)])
    assert float(masked_loss(predicted, predicted * 0, mask)) == (9 + 25) / 2


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: random_mask(0, seed=0), "length=0"),
        (lambda: random_mask(4, 1.0, seed=0), "below 1"),
        (lambda: mask_from_noise(np.zeros((2, 2))), "one number for each patch"),
        (lambda: random_mask(4, seed=0).visible(np.zeros((5, 1))), "drawn for 4"),
        (lambda: random_mask(4, seed=0).full(np.zeros((2, 1)), np.zeros(1)), "keeps 1"),
        (lambda: masked_loss(np.zeros((2, 3)), np.zeros((2, 3)), np.zeros(2, bool)), "no patch is hidden"),
        (lambda: masked_loss(np.zeros((2, 3)), np.zeros((2, 3)), np.ones(3, bool)), "there are"),
        (lambda: masked_loss(np.zeros((2, 3)), np.zeros((1, 3)), np.ones(1, bool)), "target"),
        (lambda: patch_targets(np.zeros((2, 1))), "no variance"),
    ],
)
def test_what_cannot_be_masked_is_refused(call, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()
