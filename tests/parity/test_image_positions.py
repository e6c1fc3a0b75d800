"""Position tables against the resizing code inside the published models."""

import numpy as np
import pytest
import torch

from omni_tokenizers.image import resample_positions

GRIDS = [(7, 7), (16, 12), (24, 24), (8, 8), (1, 3), (5, 30)]


def table(rows: int, dim: int = 12) -> torch.Tensor:
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("grid", GRIDS)
def test_preset_vit_is_the_interpolation_of_transformers_vit(grid: tuple[int, int]) -> None:
    from transformers import ViTConfig, ViTModel

    model = ViTModel(
        ViTConfig(image_size=128, hidden_size=12, num_attention_heads=2, num_hidden_layers=1, intermediate_size=8)
    )
    learned = table(65)
    model.embeddings.position_embeddings.data = learned[None]
    rows, columns = grid
    theirs = model.embeddings.interpolate_pos_encoding(torch.zeros(1, rows * columns + 1, 12), rows * 16, columns * 16)
    torch.testing.assert_close(resample_positions(learned, grid, "vit", prefix=1), theirs[0].detach())


@pytest.mark.parametrize("grid", GRIDS)
def test_preset_dinov2_is_the_interpolation_of_transformers_dinov2(grid: tuple[int, int]) -> None:
    from transformers import Dinov2Config, Dinov2Model

    config = Dinov2Config(image_size=112, patch_size=14, hidden_size=12, num_attention_heads=2, num_hidden_layers=1)
    model = Dinov2Model(config)
    learned = table(65)
    model.embeddings.position_embeddings.data = learned[None]
    rows, columns = grid
    theirs = model.embeddings.interpolate_pos_encoding(torch.zeros(1, rows * columns + 1, 12), rows * 14, columns * 14)
    torch.testing.assert_close(resample_positions(learned, grid, "dinov2", prefix=1), theirs[0].detach())


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("prefix", [0, 1, 5])
def test_preset_timm_is_timms_resample_abs_pos_embed(grid: tuple[int, int], prefix: int) -> None:
    from timm.layers import resample_abs_pos_embed

    learned = table(64 + prefix)
    theirs = resample_abs_pos_embed(learned[None], list(grid), [8, 8], num_prefix_tokens=prefix)[0]
    torch.testing.assert_close(resample_positions(learned, grid, "timm", prefix=prefix), theirs)


def test_preset_timm_resizes_from_a_grid_that_is_no_square() -> None:
    from timm.layers import resample_abs_pos_embed

    learned = table(4 * 10)
    theirs = resample_abs_pos_embed(learned[None], [6, 6], [4, 10], num_prefix_tokens=0)[0]
    torch.testing.assert_close(resample_positions(learned, (6, 6), "timm", source=(4, 10)), theirs)


@pytest.mark.parametrize("grid", GRIDS)
def test_preset_siglip2_is_the_resizing_of_transformers_siglip2(grid: tuple[int, int]) -> None:
    from transformers.models.siglip2.modeling_siglip2 import Siglip2VisionEmbeddings

    learned = table(64)
    theirs = Siglip2VisionEmbeddings.resize_positional_embeddings(
        learned.reshape(8, 8, 12), torch.tensor([grid]), max_length=1024
    )[0, : grid[0] * grid[1]]
    torch.testing.assert_close(resample_positions(learned, grid, "siglip2"), theirs)


@pytest.mark.parametrize("grid", [(7, 7), (16, 12), (24, 24), (5, 30)])
def test_preset_dino_samples_where_the_scale_with_the_offset_says(grid: tuple[int, int]) -> None:
    """The code is in no package, so its arithmetic is the oracle: cubic, A = −0.75, at x = (i+½)/scale − ½."""
    learned = table(64).double().numpy()
    image = learned.reshape(8, 8, 12)

    def weights(count: int) -> np.ndarray:
        scale = (count + 0.1) / 8
        matrix = np.zeros((count, 8))
        for i in range(count):
            x = (i + 0.5) / scale - 0.5
            for tap in range(int(np.floor(x)) - 1, int(np.floor(x)) + 3):
                d, a = abs(x - tap), -0.75
                w = (a + 2) * d**3 - (a + 3) * d**2 + 1 if d <= 1 else a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
                matrix[i, min(max(tap, 0), 7)] += w
        return matrix

    expected = np.einsum("ri,cj,ijd->rcd", weights(grid[0]), weights(grid[1]), image).reshape(-1, 12)
    np.testing.assert_allclose(resample_positions(learned, grid, "dino"), expected, atol=1e-5)


def test_the_offset_of_dino_moves_the_result_and_antialiasing_changes_it() -> None:
    learned = table(64)
    small = {name: resample_positions(learned, (5, 5), name) for name in ("vit", "dino", "timm")}
    assert (small["vit"] - small["dino"]).abs().max() > 0.01
    assert (small["vit"] - small["timm"]).abs().max() > 0.01


def test_prefix_rows_stay_and_the_table_given_is_not_changed() -> None:
    learned = table(65)
    before = learned.clone()
    new = resample_positions(learned, (4, 4), "vit", prefix=1)
    torch.testing.assert_close(new[0], learned[0], rtol=0, atol=0)
    torch.testing.assert_close(learned, before, rtol=0, atol=0)


def test_half_precision_is_resampled_in_float32_and_given_back_in_half() -> None:
    learned = table(64).half()
    new = resample_positions(learned, (12, 12), "siglip2")
    assert new.dtype == torch.float16
    torch.testing.assert_close(new, resample_positions(learned.float(), (12, 12), "siglip2").half(), rtol=0, atol=0)


def test_an_array_comes_back_as_an_array_of_the_same_values() -> None:
    learned = table(64)
    ours = resample_positions(learned.numpy(), (5, 9), "timm")
    np.testing.assert_array_equal(ours, resample_positions(learned, (5, 9), "timm").numpy())


@pytest.mark.parametrize("laid_out", [lambda x: x[::-1].copy()[::-1], lambda x: x.astype(">f4"), np.asfortranarray])
def test_an_array_may_lie_in_memory_in_any_way(laid_out) -> None:
    learned = table(16).numpy()
    np.testing.assert_array_equal(resample_positions(laid_out(learned), (5, 7)), resample_positions(learned, (5, 7)))


@pytest.mark.parametrize(
    ("rows", "options", "words"),
    [
        (65, {}, "no square"),
        (64, {"preset": "bert"}, "vit, timm, dino, dinov2, siglip2"),
        (64, {"source": (5, 5)}, "not the 0 \\+ 5·5"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_with_a_way_out(rows: int, options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        resample_positions(table(rows), (4, 4), **options)
