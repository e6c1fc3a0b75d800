"""What comes before the stack: sound with the words that were heard in it, and pictures seen as a whole."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from omni.model.batch import Run
from omni.model.embed import Picture, of_dict
from omni.model.stem import CausalStem, Stem
from omni_tokenizers.sequence import Span

STEM = Stem(bins=6, hidden=16, blocks=2, kernel=3, spread=24, words=7)
TABLE = torch.randn(9, 12, generator=torch.Generator().manual_seed(5))  # two rows more than there are words


def stem(spec: Stem = STEM) -> CausalStem:
    torch.manual_seed(0)
    return CausalStem(spec, 12).eval()


def sound(tokens: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(tokens, 4, 6, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_a_word_that_is_heard_for_sure_adds_its_vector_and_nothing_adds_none() -> None:
    hears = stem()
    assert hears.words is not None
    hears.words.weight.zero_()
    deaf = stem(Stem(bins=6, hidden=16))
    deaf.load_state_dict({name: t for name, t in hears.state_dict().items() if name in deaf.state_dict()})
    [plain], _ = deaf([sound(5)])
    for word, added in ((3, TABLE[3]), (7, torch.zeros(12))):  # the last score says that no word ends here
        hears.words.bias.copy_(F.one_hot(torch.tensor(word), 8) * 1000.0)
        [found], _ = hears([sound(5)], table=TABLE)
        torch.testing.assert_close(found, plain + added)


@torch.no_grad()
def test_a_doubtful_word_adds_the_mean_of_what_it_may_be() -> None:
    hears = stem()
    assert hears.words is not None
    hears.words.weight.zero_()
    hears.words.bias.copy_(torch.tensor([0.2, 0.5, 0, 0, 0, 0, 0, 0.3]).log())
    [found], _ = hears([sound(3)], table=TABLE)
    hears.words.bias.copy_(F.one_hot(torch.tensor(7), 8) * 1000.0)
    [plain], _ = hears([sound(3)], table=TABLE)
    torch.testing.assert_close(found - plain, (0.2 * TABLE[0] + 0.5 * TABLE[1]).expand(3, 12))


@torch.no_grad()
def test_no_token_knows_of_later_sound() -> None:
    hears = stem()
    [whole], _ = hears([sound(9)], table=TABLE)
    other = sound(9)
    other[6:] += 1
    [changed], _ = hears([other], table=TABLE)
    assert torch.equal(whole[:6], changed[:6])
    assert not torch.allclose(whole[6], changed[6])


@torch.no_grad()
def test_sounds_that_go_on_beside_each_other_equal_the_whole_ones() -> None:
    hears = stem()
    long, short = sound(11, 1), sound(6, 2)
    [whole_long], _ = hears([long], table=TABLE)
    [whole_short], _ = hears([short], table=TABLE)
    first, states = hears([long[:2], short[:5]], table=TABLE)
    second, _ = hears([long[2:], short[5:]], states, table=TABLE)
    torch.testing.assert_close(torch.cat([first[0], second[0]]), whole_long)
    torch.testing.assert_close(torch.cat([first[1], second[1]]), whole_short)


def test_words_need_the_table_of_their_vectors() -> None:
    with pytest.raises(ValueError, match=r"writes down words: pass table=\[ids, width\]"):
        stem()([sound(2)])
    with pytest.raises(ValueError, match="2 blocks hear words, and this stem has none"):
        stem(Stem(blocks=2))


def shown(pixels: np.ndarray, patch: int, order: list[int] | None = None) -> Run:
    """A picture [height, width, 3] as a span of patches, in any order."""
    rows, columns = pixels.shape[0] // patch, pixels.shape[1] // patch
    patches = pixels.reshape(rows, patch, columns, patch, 3).swapaxes(1, 2).reshape(rows * columns, -1)
    places = np.array([(r, c) for r in range(rows) for c in range(columns)])
    chosen = order or list(range(rows * columns))
    arrays = {"values": torch.from_numpy(patches[chosen]), "places": torch.from_numpy(places[chosen])}
    span = Span("image", 0, rows * columns, attention="bidirectional", whole=True, grids=((1, rows, columns),))
    return Run(0, span, arrays)


def picture(height: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((height, width, 3)).astype(np.float32)


def eye() -> torch.nn.Module:
    torch.manual_seed(1)
    return Picture(patch=4, side=3, channels=(5,), spread=8).build(12).eval()


@torch.no_grad()
def test_patches_are_put_together_where_they_belong() -> None:
    pixels, order = picture(8, 12, 0), [4, 0, 5, 3, 1, 2]
    one, two = (eye()([shown(pixels, 4, chosen)], [[]], TABLE)[0][0] for chosen in (None, order))
    torch.testing.assert_close(two, one[order])


@torch.no_grad()
def test_convolutions_see_the_picture_and_not_the_patches() -> None:
    sees, pixels = eye(), picture(8, 12, 0)
    [tokens], _ = sees([shown(pixels, 4)], [[]], TABLE)
    x = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    for convolution in sees.convolutions:  # type: ignore[union-attr]
        x = F.gelu(convolution(x))
    around = sees.around(sees.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)  # type: ignore[operator]
    features = sees.after(x.permute(0, 2, 3, 1) + sees.out(F.gelu(sees.into(around))))[0]  # type: ignore[operator]
    places = shown(pixels, 4).arrays["places"]
    there = sees.rows(places[:, 0]) + sees.columns(places[:, 1])  # type: ignore[operator]
    whole = there + sees.across(features).flatten(0, 1)  # type: ignore[operator]
    torch.testing.assert_close(tokens, whole / whole.pow(2).mean(1, keepdim=True).sqrt())


@torch.no_grad()
def test_a_picture_is_never_louder_than_what_the_stack_can_work_on() -> None:
    sees, run = eye(), shown(picture(8, 8, 0), 4)
    [before], _ = sees([run], [[]], TABLE)
    for part in ("across.weight", "across.bias", "rows.weight", "columns.weight"):
        sees.get_parameter(part).mul_(250)
    [after], _ = sees([run], [[]], TABLE)
    torch.testing.assert_close(after, before)
    torch.testing.assert_close(after.pow(2).mean(1), torch.ones(4))


@torch.no_grad()
def test_pictures_of_several_shapes_equal_themselves_alone() -> None:
    runs = [shown(picture(*size, seed), 4) for seed, size in enumerate([(8, 8), (4, 12), (8, 8), (16, 8)])]
    together, _ = eye()(runs, [[]] * 4, TABLE)
    for run, tokens in zip(runs, together, strict=True):
        torch.testing.assert_close(tokens, eye()([run], [[]], TABLE)[0][0])


def test_channels_have_to_fit_the_patch_and_tokens_the_grid() -> None:
    with pytest.raises(ValueError, match=r"patches of 16 pixels need log2\(16\) convolutions and channels has 1"):
        Picture(patch=16, channels=(8,)).build(12)
    run = shown(picture(8, 8, 0), 4, [0, 1, 3])
    with pytest.raises(ValueError, match="2 × 2 patches comes with 3 tokens: encode it without class tokens"):
        eye()([Run(0, Span("image", 0, 3, whole=True), run.arrays)], [[]], TABLE)


def test_an_input_of_another_version_is_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"kind 'picture' is described otherwise .*: use the version that made"):
        of_dict({"kind": "picture", "size": 768, "side": 8, "hidden": 512})
    with pytest.raises(ValueError, match=r"kind 'mel' is described otherwise .*'stem'"):
        of_dict({"kind": "mel"})
