"""`/v1/inspect`: what the views are told, against the library and against arithmetic; and what is refused."""

import asyncio
import base64
import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image
from websockets.asyncio.client import connect

from omni.engine.echo import EchoEngine
from omni_server.dialects.omni_v1.fields import BadField, Fields
from omni_server.dialects.wires import wires
from omni_server.inspect.answers import answered
from omni_server.inspect.inspector import MOST_WAITING, PATH, Inspector
from omni_server.inspect.painter import PATCH, SIDE, paint, painter
from omni_server.server import Server
from omni_server.settings import Settings
from omni_tokenizers.audio.spans import span_mask
from tests.server.loud_is_speech import LoudIsSpeech

RATE = 16_000  # Hz


def picture(width: int = 64, height: int = 48) -> str:
    data = io.BytesIO()
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(data, "PNG")
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()


def sound(seconds: float, rate: int = RATE) -> dict[str, Any]:
    wave = (9_000 * np.sin(np.arange(round(seconds * rate)) * 0.05)).astype("<i2")
    return {"audio": base64.b64encode(wave.tobytes()).decode(), "rate": rate}


def ask(**question: Any) -> dict[str, Any]:
    return answered(Fields(question), {})


def test_tokens_and_pairs_are_what_counting_by_hand_gives() -> None:
    found = ask(ask="tokens", parts=[{"image": picture()}, {"text": "abc"}], patch=16)
    image = next(span for span in found["spans"] if span["modality"] == "image")
    text = next(span for span in found["spans"] if span["modality"] == "text")
    patches = 4 * 3
    assert (image["rows"], image["columns"], image["tokens"]) == (3, 4, patches)
    assert "".join(text["pieces"]) == "abc"
    assert found["counts"] == {"text": text["tokens"], "image": patches}
    tokens = patches + text["tokens"]
    assert found["tokens"] == tokens
    both_ways = patches * (patches - 1) // 2 if image["attention"] == "bidirectional" else 0
    assert found["pairs"] == sum(range(1, tokens + 1)) + both_ways
    assert [cost["patch"] for cost in found["costs"]] == [32, 16, 14, 8]


def test_smaller_patches_cost_more_tokens_and_many_more_pairs() -> None:
    costs = ask(ask="tokens", parts=[{"image": picture(224, 224)}], patch=8)["costs"]
    assert [cost["tokens"] for cost in costs] == [(224 // patch) ** 2 for patch in (32, 16, 14, 8)]
    pairs = [cost["pairs"] for cost in costs]
    assert pairs == sorted(pairs)


def test_an_empty_sequence_costs_nothing() -> None:
    found = ask(ask="tokens", parts=[], patch=16)
    assert (found["tokens"], found["pairs"], found["spans"]) == (0, 0, [])


def test_attention_of_a_token_sums_to_one_and_text_never_looks_ahead() -> None:
    found = ask(ask="attention", text="Where?", image=picture(), layer=1, head=0)
    tokens = found["tokens"]
    weights = np.frombuffer(base64.b64decode(found["weights"]), "<u2").reshape(tokens, tokens) / found["full"]
    np.testing.assert_allclose(weights.sum(1), 1, atol=tokens / found["full"])
    text = next(span for span in found["spans"] if span["modality"] == "text")
    for at in range(text["start"], text["start"] + text["tokens"]):
        assert not weights[at, at + 1 :].any()


def test_the_mean_of_all_heads_is_their_mean() -> None:
    seen: dict[str, Any] = {}

    def weights(head: int) -> np.ndarray[Any, Any]:
        found = answered(Fields({"ask": "attention", "text": "Where?", "layer": 0, "head": head}), seen)
        return np.frombuffer(base64.b64decode(found["weights"]), "<u2").astype(float)

    heads = answered(Fields({"ask": "attention", "text": "Where?"}), seen)["heads"]
    np.testing.assert_allclose(weights(-1), np.mean([weights(head) for head in range(heads)], axis=0), atol=1)


def test_the_painter_beats_the_plain_colour_on_pictures_it_never_saw() -> None:
    found = [ask(ask="masked", seed=seed) for seed in range(12)]
    assert np.mean([one["error"] for one in found]) < 0.5 * np.mean([one["plain"] for one in found])
    assert {one["hidden"] for one in found} == {48}


def test_what_is_seen_of_a_picture_stays_as_it_is() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    painting = paint(pixels, seed=3)
    grid = SIDE // PATCH
    seen = ~painting.hidden.reshape(grid, grid).repeat(PATCH, 0).repeat(PATCH, 1)
    assert np.abs(painting.painted.astype(int) - pixels)[seen].max() <= 1
    assert np.array_equal(paint(pixels, seed=3).painted, painting.painted)
    assert painter()[1]


def test_hidden_spans_are_those_that_training_would_hide() -> None:
    found = ask(ask="spans", seed=5, **sound(2.0))
    frames = (2 * RATE - 400) // 320 + 1
    assert found["frames"] == frames
    mask = np.zeros(frames, bool)
    for begin, end in found["stretches"]:
        mask[begin:end] = True
    assert np.array_equal(mask, span_mask(frames, 5))
    assert ask(ask="spans", **sound(0.013, 192_000))["frames"] == 0


@pytest.mark.parametrize(
    ("question", "path"),
    [
        ({"ask": "everything"}, "ask"),
        ({"ask": "tokens", "patch": 15}, "patch"),
        ({"ask": "tokens", "parts": [{}]}, "parts.0"),
        ({"ask": "tokens", "parts": [{"text": "a" * 20_001}]}, "parts.0.text"),
        ({"ask": "tokens", "parts": [{"image": "http://example.org/a.png"}]}, "parts.0.image"),
        ({"ask": "tokens", "parts": [{"image": "data:image/png;base64,QUJD"}]}, "parts.0.image"),
        ({"ask": "tokens", "parts": [{"image": "data:image/png;base64,?"}]}, "parts.0.image"),
        ({"ask": "tokens", "parts": [{"text": "a"}] * 17}, "parts"),
        ({"ask": "attention", "text": ""}, "text"),
        ({"ask": "attention", "text": "a" * 2_000}, "text"),
        ({"ask": "attention", "text": "a", "layer": 200}, "layer"),
        ({"ask": "attention", "text": "a", "head": 200}, "head"),
        ({"ask": "masked", "seed": -1}, "seed"),
        ({"ask": "spans", **sound(30.1)}, "audio"),
        ({"ask": "spans", **sound(0.0)}, "audio"),
        ({"ask": "tokens", "parts": [{"text": "a"}, sound(0.01)]}, "parts.1.audio"),
        ({"ask": "spans", "audio": "AAA=", "rate": 100}, "rate"),
        ({"ask": "spans", "audio": "AA==", "rate": RATE}, "audio"),
    ],
)
def test_what_cannot_be_answered_is_refused_by_the_name_of_the_field(question: dict[str, Any], path: str) -> None:
    with pytest.raises(BadField) as refused:
        ask(**question)
    assert refused.value.path == path
    assert len(str(refused.value)) < 300


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded() -> None:
    data = io.BytesIO()
    Image.new("1", (6_000, 6_000)).save(data, "PNG")
    url = "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()
    with pytest.raises(BadField, match="pixels"):
        ask(ask="masked", image=url)


async def test_over_the_socket_every_question_gets_the_answer_of_its_number() -> None:
    server = Server(Settings(port=0), EchoEngine(), wires(3600.0), LoudIsSpeech(), also={PATH: Inspector()})
    await server.start()
    try:
        async with connect(f"ws://127.0.0.1:{server.port}{PATH}") as socket:
            questions = [
                '{"id": 1, "ask": "tokens", "parts": [{"text": "hi"}]}',
                "no json",
                "[]",
                '{"id": 2, "ask": "?"}',
            ]
            for question in questions:
                await socket.send(question)
            async with asyncio.timeout(60):
                answers = [json.loads(await socket.recv()) for _ in questions]
        assert [one["id"] for one in answers] == [1, None, None, 2]
        assert "".join(answers[0]["answer"]["spans"][0]["pieces"]) == "hi"
        assert [one["error"]["code"] for one in answers[1:]] == ["bad_json", "bad_json", "bad_field"]
    finally:
        await server.close()


async def test_too_many_questions_at_once_are_told_to_come_again() -> None:
    inspector = Inspector()
    question = json.dumps({"ask": "tokens", "parts": [{"text": "hi"}]})
    async with inspector._turn:  # nothing is answered meanwhile
        waiting = [asyncio.create_task(inspector._answer(question, {})) for _ in range(MOST_WAITING)]
        await asyncio.sleep(0)
        refused = await inspector._answer(question, {})
    assert refused["error"]["code"] == "busy"
    assert all("answer" in one for one in await asyncio.gather(*waiting))
