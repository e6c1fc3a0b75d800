"""The omni model: what it reads, who sees whom, what it says, and what it refuses."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from omni.model.embed import Values
from omni.model.heads import CodeHead
from omni.model.load import load, save
from omni.model.omni import OmniSpec
from omni_tokenizers.sequence import Sequence
from tests.omni.small_omni import BOOKS, SPEC, TEXT, model, sequence

MODEL = model()
PARTS = (("text", 3), ("image", 2), ("audio", 4), ("codec", 3), ("speech", 3), ("text", 2))


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool((a - b).abs().max() <= 1e-5 * b.abs().max())


def changed(before: Sequence, after: Sequence) -> list[int]:
    """The tokens whose hidden state differs between two sequences of one length."""
    with torch.no_grad():
        a, b = MODEL(before).hidden[0], MODEL(after).hidden[0]
    return ((a - b).abs().amax(1) > 1e-6).nonzero()[:, 0].tolist()


def with_payload(given: Sequence, span: int, **arrays: np.ndarray) -> Sequence:
    payloads = list(given.payloads)
    payloads[span] = {**payloads[span], **arrays}
    return replace(given, payloads=tuple(payloads))


@torch.no_grad()
def test_every_token_gets_scores_for_text_and_for_every_book() -> None:
    sent = sequence(*PARTS)
    said = MODEL(sent)
    assert said.text.shape == (1, len(sent), TEXT)
    assert said.codes is not None
    assert [tuple(scores.shape) for scores in said.codes] == [(1, len(sent), size) for size in BOOKS]
    assert said.extra["turn"].shape == (1, len(sent), 1)


@torch.no_grad()
def test_two_sequences_in_a_padded_batch_equal_themselves_alone() -> None:
    short, long = sequence(("image", 1), ("audio", 2), seed=1), sequence(*PARTS, seed=2)
    together = MODEL([short, long])
    assert together.lengths == [len(short), len(long)]
    assert close(together.hidden[0, : len(short)], MODEL(short).hidden[0])
    assert close(together.hidden[1], MODEL(long).hidden[0])
    assert torch.isfinite(together.hidden).all()


@torch.no_grad()
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_sequence_that_brings_its_own_padding_equals_itself_without(side: str) -> None:
    sent = sequence(*PARTS)
    padded = sent.pad(len(sent) + 5, side=side)
    real = slice(5, None) if side == "left" else slice(0, len(sent))
    assert close(MODEL(padded).hidden[0, real], MODEL(sent).hidden[0])


@torch.no_grad()
def test_packed_documents_do_not_see_each_other() -> None:
    documents = [sequence(*PARTS, seed=1), sequence(("text", 4)), sequence(("image", 2), ("text", 1), seed=3)]
    packed = MODEL(Sequence.pack(documents)).hidden[0]
    for document, part in zip(documents, packed.split([len(d) for d in documents]), strict=True):
        assert close(part, MODEL(document).hidden[0])


def test_text_changes_only_what_comes_after_it() -> None:
    sent = sequence(("text", 6))
    ids = sent.ids.copy()
    ids[3] = (ids[3] + 1) % TEXT
    assert changed(sent, replace(sent, ids=ids)) == [3, 4, 5]


def test_the_last_patch_of_an_image_changes_all_of_the_image_and_nothing_before_it() -> None:
    sent = sequence(("text", 2), ("image", 2), ("text", 1))  # tokens 2 … 7 are the image
    values = sent.payloads[1]["values"].copy()
    values[-1] += 1
    assert changed(sent, with_payload(sent, 1, values=values)) == [2, 3, 4, 5, 6, 7, 8]


def test_the_last_mel_frame_of_a_token_changes_no_earlier_token() -> None:
    sent = sequence(("audio", 5))
    values = sent.payloads[0]["values"].copy()
    values[2, 3] += 1
    assert changed(sent, with_payload(sent, 0, values=values)) == [2, 3, 4]


def test_one_code_of_one_book_changes_its_frame() -> None:
    sent = sequence(("codec", 4))
    codes = sent.payloads[0]["codes"].copy()
    codes[2, 1] = (codes[2, 1] + 1) % BOOKS[1]
    assert changed(sent, with_payload(sent, 0, codes=codes)) == [2, 3]


@torch.no_grad()
def test_equal_placeholders_with_other_payloads_are_told_apart_by_the_first_layer() -> None:
    rows = MODEL.batch([sequence(("image", 1), ("speech", 2), seed=s) for s in (1, 2)])
    x = MODEL.vectors(rows)
    assert rows.ids[0].equal(rows.ids[1])
    assert ((x[0] - x[1]).abs().amax(1) > 1e-3).all()


@torch.no_grad()
def test_patches_through_a_linear_layer_are_a_strided_convolution() -> None:
    torch.manual_seed(0)
    linear = Values(3 * 4 * 4).build(8).linear
    image = torch.randn(1, 3, 8, 12)
    patches = F.unfold(image, kernel_size=4, stride=4).transpose(1, 2)  # [1, patches, c·p·p]
    convolved = F.conv2d(image, linear.weight.view(8, 3, 4, 4), linear.bias, stride=4)
    assert torch.allclose(linear(patches), convolved.flatten(2).transpose(1, 2), atol=1e-5)


@torch.no_grad()
def test_three_axes_place_text_as_one_axis_does() -> None:
    sent = sequence(("text", 9))
    three = model(sections=(2, 1, 1))
    three.load_state_dict(MODEL.state_dict())
    assert close(three(sent.in_scheme("mrope")).hidden, MODEL(sent).hidden)
    image = sequence(("image", 2))
    assert not close(three(image.in_scheme("mrope")).hidden, MODEL(image).hidden)


@torch.no_grad()
@pytest.mark.parametrize("how", ["parallel", "depth"])
def test_what_a_code_head_says_greedily_is_likeliest_by_its_own_scores(how: str) -> None:
    torch.manual_seed(1)
    head = CodeHead((7, 5, 6), how=how, width=16, heads=2).build(32).eval()
    x = torch.randn(4, 32)
    said = head.say(x, lambda book, scores: scores.argmax(-1))
    assert said.shape == (4, 3)
    for book, scores in enumerate(head(x, said)):
        assert scores.argmax(-1).equal(said[:, book])


@torch.no_grad()
def test_a_depth_head_scores_a_book_by_the_books_before_it_and_no_other() -> None:
    torch.manual_seed(1)
    head = CodeHead((7, 5, 6), how="depth", width=16, heads=2).build(32).eval()
    x, codes = torch.randn(2, 3, 32), torch.randint(0, 5, (2, 3, 3))
    other = codes.clone()
    other[..., 1] = (other[..., 1] + 1) % 5
    same = [torch.equal(a, b) for a, b in zip(head(x, codes), head(x, other), strict=True)]
    assert same == [True, True, False]


def test_a_depth_head_without_codes_says_what_it_needs() -> None:
    head = CodeHead((7, 5), how="depth", width=16, heads=2).build(32)
    with pytest.raises(ValueError, match="pass codes"):
        head(torch.randn(2, 32))


def test_the_model_learns_to_say_text_and_codes_from_what_it_hears() -> None:
    # Four sounds, each with its own answer: a word and a code. A model that did not hear would be at chance.
    torch.manual_seed(0)
    net = model(seed=3).train()
    sounds = [sequence(("audio", 3), ("codec", 1), seed=s) for s in range(4)]
    words, codes = torch.tensor([1, 2, 3, 4]), torch.tensor([6, 5, 4, 3])
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3)
    for _ in range(40):
        said = net(sounds)
        loss = F.cross_entropy(said.text[:, 2], words) + F.cross_entropy(said.codes[0][:, 2], codes)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    said = net.eval()(sounds)
    assert said.text[:, 2].argmax(-1).equal(words)
    assert said.codes[0][:, 2].argmax(-1).equal(codes)


@pytest.mark.parametrize(
    "changes",
    [{}, {"tied": False, "codes": CodeHead(BOOKS, how="depth", width=16, heads=2)}, {"sections": (2, 1, 1)}],
    ids=["tied", "depth head", "three axes"],
)
@torch.no_grad()
def test_a_saved_model_is_loaded_as_it_was(changes: dict[str, object], tmp_path: Path) -> None:
    net = model(**changes)
    save(net, net.spec.config(), tmp_path)
    checkpoint = load(tmp_path)
    assert checkpoint.kind == "omni"
    assert checkpoint.model.spec == net.spec
    sent = sequence(*PARTS, scheme="mrope" if "sections" in changes else "linear")
    assert torch.equal(checkpoint.model(sent).hidden, net(sent).hidden)


def test_what_a_specification_says_survives_json() -> None:
    import json

    assert OmniSpec.of(json.loads(json.dumps(SPEC.config()))) == SPEC


def test_a_modality_without_an_embedder_is_named() -> None:
    deaf = model(inputs={"image": SPEC.inputs["image"]})
    with pytest.raises(ValueError, match="not built for audio: it takes text, image"):
        deaf(sequence(("audio", 2)))


def test_a_sequence_beyond_the_positions_is_refused() -> None:
    with pytest.raises(ValueError, match="9 tokens, more than the 8 positions"):
        model(longest=8)(sequence(("text", 9)))


def test_ids_and_payloads_of_another_tokenizer_are_refused() -> None:
    sent = sequence(("text", 2))
    with pytest.raises(ValueError, match="ids from 3 to 55 and this model has 0 to 54"):
        MODEL(replace(sent, ids=np.array([3, 55])))
    with pytest.raises(ValueError, match="image comes with 9 numbers a token and this model was built for 12"):
        MODEL(with_payload(sequence(("image", 1)), 0, values=np.zeros((4, 9), np.float32)))
    with pytest.raises(ValueError, match="audio comes with 3 frames a token and this model was built for 4"):
        MODEL(with_payload(sequence(("audio", 2)), 0, values=np.zeros((2, 3, 6), np.float32)))
    with pytest.raises(ValueError, match="audio comes with 5 Mel bins and this model was built for 6"):
        MODEL(with_payload(sequence(("audio", 2)), 0, values=np.zeros((2, 4, 5), np.float32)))
    with pytest.raises(ValueError, match="codec comes with 3 codes a token and this model was built for 2"):
        MODEL(with_payload(sequence(("codec", 2)), 0, codes=np.zeros((2, 3), np.int64)))


def test_positions_of_three_axes_need_a_model_with_sections() -> None:
    with pytest.raises(ValueError, match=r"mrope positions and this model .* one axis: use sequence.in_scheme"):
        MODEL(sequence(("text", 2), scheme="mrope"))


def test_codes_beyond_a_book_are_refused_instead_of_read_from_the_next_one() -> None:
    for code in ([7, 0], [0, 5], [-1, 0]):
        with pytest.raises(ValueError, match=r"codec has codes from .* and the books of this model have 7, 5 entries"):
            MODEL(with_payload(sequence(("codec", 1)), 0, codes=np.array([code])))


def test_nothing_to_read_is_said() -> None:
    with pytest.raises(ValueError, match="at least one token: all its sequences are empty"):
        MODEL(sequence())


@pytest.mark.parametrize("change", [{"ids": None}, {"codes": {"size": 3}}])
def test_a_specification_of_another_version_is_refused(change: dict[str, object]) -> None:
    config = {name: value for name, value in {**SPEC.config(), **change}.items() if value is not None}
    with pytest.raises(ValueError, match="described otherwise than this version reads it"):
        OmniSpec.of(config)
