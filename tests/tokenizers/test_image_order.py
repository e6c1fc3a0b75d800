"""Patch orders: each has an inverse, and each can be turned into each other."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_tokenizers.image import (
    ORDERS,
    Order,
    convert,
    grid_positions,
    linear_weight,
    merge,
    patchify,
    pool,
    raster,
    unpatchify,
)

orders = st.builds(Order, channels_first=st.booleans(), frames=st.integers(1, 3), merge=st.integers(1, 3))


@settings(max_examples=100, deadline=None)
@given(orders, st.integers(1, 3), st.integers(1, 3), st.integers(1, 5), st.sampled_from([1, 3, 4]), st.booleans())
def test_unpatchify_is_the_inverse_of_patchify(
    order: Order, down: int, across: int, size: int, channels: int, tensors: bool
) -> None:
    grid = (down * order.merge, across * order.merge)
    pixels = np.random.default_rng(0).random((grid[0] * size, grid[1] * size, channels))
    source = torch.from_numpy(pixels) if tensors else pixels
    values = patchify(source, size, order)
    assert tuple(values.shape) == (grid[0] * grid[1], order.width(size, channels))
    np.testing.assert_array_equal(np.asarray(unpatchify(values, grid, size, order)), pixels)
    np.testing.assert_array_equal(np.asarray(values), patchify(pixels, size, order))


@settings(max_examples=60, deadline=None)
@given(orders, orders, st.integers(1, 2), st.integers(1, 2))
def test_converting_between_two_orders_equals_patching_in_the_other(a: Order, b: Order, down: int, across: int) -> None:
    grid = (down * 6, across * 6)
    pixels = np.random.default_rng(0).random((grid[0] * 2, grid[1] * 2, 3))
    np.testing.assert_array_equal(convert(patchify(pixels, 2, a), grid, 2, a, b), patchify(pixels, 2, b))


@settings(max_examples=60, deadline=None)
@given(orders, st.integers(1, 3), st.integers(1, 3))
def test_positions_name_the_patch_that_lies_there(order: Order, down: int, across: int) -> None:
    grid = (down * order.merge, across * order.merge)
    rows, columns = np.indices(grid)
    pixels = np.stack([rows, columns, rows], -1)  # one pixel a patch, which says where it is
    values = patchify(pixels, 1, order)
    where = grid_positions(grid, order)
    channels = values.reshape(len(values), 3, -1)[:, :, 0] if order.channels_first else values[:, :3]
    np.testing.assert_array_equal(channels[:, :2], where)
    np.testing.assert_array_equal(where[raster(grid, order)], grid_positions(grid))


def test_positions_are_shared_and_therefore_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        grid_positions((2, 2))[0] = 1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: patchify(np.zeros((30, 32, 3)), 16), "32×30 .* multiples of 16"),
        (lambda: patchify(np.zeros((16, 48, 3)), 16, ORDERS["qwen"]), "multiples of 32"),
        (lambda: unpatchify(np.zeros((5, 768)), (2, 2), 16), "not the 2×2 grid"),
        (lambda: unpatchify(np.zeros((4, 700)), (2, 2), 16), "16×16 pixels"),
        (lambda: grid_positions((3, 2), Order(merge=2)), "no whole blocks of 2×2"),
        (lambda: linear_weight(np.zeros((8, 3, 14, 14)), ORDERS["qwen"]), "2 frames"),
        (lambda: merge(np.zeros((6, 1)), (2, 3)), "no whole blocks"),
        (lambda: merge(np.zeros((5, 1)), (2, 3)), "has 6 rows"),
        (lambda: merge(np.zeros((36, 1)), (6, 6), 3, ORDERS["qwen"]), "blocks of 2×2"),
        (lambda: pool(np.zeros((4, 1)), (2, 2), kind="median"), "mean, max"),
    ],
)
def test_what_does_not_fit_is_refused(call, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()


def test_nothing_changes_its_argument() -> None:
    pixels = np.random.default_rng(0).random((8, 8, 3))
    before = pixels.copy()
    for order in ORDERS.values():
        values = patchify(pixels, 2, order)
        values[:] = 0
        unpatchify(values, (4, 4), 2, order)[:] = 1
    np.testing.assert_array_equal(pixels, before)
