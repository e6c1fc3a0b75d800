"""A bundle as the plug-ins of a pipeline says what it says natively."""

from collections.abc import Callable
from contextlib import aclosing

import numpy as np
import pytest

from omni.bundle import Bundle
from omni.engine.answering import StageFailed
from omni.engine.pipeline import nano as plugins
from omni.engine.pipeline.nano import NanoEars, NanoVoice, NanoWords
from omni.engine.pipeline.registry import make
from omni.engine.pipeline.saying import Word, say
from omni.engine.pipeline.stages import Call, Message, Stopped
from omni.engine.protocol import Tool
from omni.sampling import GREEDY
from omni.train.writing import Writing
from omni_tokenizers.sequence import Ids
from tests.omni.bundles import random_bundle
from tests.omni.planted import planted

Use = Callable[[Bundle], None]
TOOL = Tool("get_time", "", {"type": "object", "properties": {"zone": {"type": "string"}}})


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Use:
    return lambda bundle: monkeypatch.setattr(plugins, "bundle_at", lambda _source: bundle)


async def answer(
    words: NanoWords,
    messages: list[Message],
    *,
    tools: tuple[Tool, ...] = (),
    longest: int = 50,
    must_call: bool = False,
) -> list[object]:
    async with aclosing(words.answer(messages, tools, GREEDY, longest, must_call=must_call)) as pieces:
        found = [piece async for piece in pieces]
    await words.close()
    return found


async def test_what_was_said_is_written_down_when_the_turn_is_over(use: Use) -> None:
    use(planted(heard="hi"))
    ears = make("stt", "nano")
    assert isinstance(ears, NanoEars)
    hearing = ears.listen()
    assert await hearing.push(np.zeros(8000, np.float32)) is None
    assert await hearing.finish() == "hi"
    await hearing.push(np.zeros(800, np.float32))
    assert await hearing.finish() == "hi"
    assert await ears.listen().finish() == ""
    await ears.close()


async def test_a_turn_that_fills_most_of_the_context_is_written_down_too(use: Use) -> None:
    use(planted(heard="hi", longest=128))  # 25 tokens of sound a second
    ears = NanoEars()
    assert await ears.transcribe(np.zeros(4 * 16_000, np.float32)) == "hi"
    with pytest.raises(StageFailed, match="the model reads 128"):
        await ears.transcribe(np.zeros(6 * 16_000, np.float32))
    await ears.close()


async def test_a_question_is_answered_in_pieces(use: Use) -> None:
    use(planted("four"))
    assert "".join(map(str, await answer(NanoWords(), [Message("user", "2+2?")]))) == "four"


async def test_an_answer_that_reaches_its_limit_says_so(use: Use) -> None:
    use(planted("four"))
    found = await answer(NanoWords(), [Message("user", "2+2?")], longest=2)
    assert found[-1] == Stopped()
    assert "".join(map(str, found[:-1])) == "fo"


async def test_a_call_that_is_written_is_a_call(use: Use, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = planted()
    use(bundle)
    ids = [bundle.special["<|call|>"], *bundle.text.encode('{"name":"get_time","arguments":{}}')]
    monkeypatch.setattr(plugins, "say", lambda *_, **__: iter([Word(i) for i in ids]))
    found = await answer(NanoWords(), [Message("user", "when?")], tools=(TOOL,))
    assert found == [Call("get_time", "{}", "call_1")]
    monkeypatch.setattr(plugins, "say", lambda *_, **__: iter([Word(i) for i in ids[:-1]]))
    with pytest.raises(ValueError, match="wrote no call"):
        await answer(NanoWords(), [Message("user", "when?")], tools=(TOOL,))


def test_a_call_may_begin_an_answer_only_where_tools_are_declared() -> None:
    bundle = planted("four", call="{}")
    question = [Ids((bundle.special["<|user|>"], *bundle.text.encode("when?")))]
    called = [w for w in say(bundle, question, "answer", longest=9, calls="may") if isinstance(w, Word)]
    assert [w.id for w in called] == [bundle.special["<|call|>"], *bundle.text.encode("{}")]
    plain = [w for w in say(bundle, question, "answer", longest=9) if isinstance(w, Word)]
    assert bundle.special["<|call|>"] not in [w.id for w in plain]


async def test_a_call_that_has_to_be_begins_the_answer_whatever_is_likelier(use: Use) -> None:
    use(planted("four"))
    assert await answer(NanoWords(), [Message("user", "when?")], tools=(TOOL,)) == list("four")
    with pytest.raises(ValueError, match="wrote no call"):  # these weights know nothing of calls
        await answer(NanoWords(), [Message("user", "when?")], tools=(TOOL,), must_call=True)


async def test_a_conversation_that_is_too_long_is_refused_with_its_length(use: Use) -> None:
    use(planted("four", longest=64))
    with pytest.raises(StageFailed, match=r"tokens long and .* reads 64"):
        await answer(NanoWords(), [Message("user", "x" * 60)])


async def test_the_oldest_turns_go_when_the_context_is_full_and_the_systems_words_stay(use: Use) -> None:
    bundle = planted("four", longest=128)
    use(bundle)
    roles = ("user", "assistant") * 9
    talk = [Message(role, f"{i} {'x' * 10}") for i, role in enumerate(roles[:-1])]  # type: ignore[arg-type]
    messages = [Message("system", "Be brief."), *talk]
    kept = bundle.tokens.encode(NanoWords().prompt(messages, (), 20)).ids.tolist()
    text = bundle.text.decode([number for number in kept if number < 256])
    assert text.startswith("Be brief.")
    assert text.endswith("14 xxxxxxxxxx15 xxxxxxxxxx16 xxxxxxxxxx")
    assert kept[len("Be brief.") + 2] == bundle.special["<|user|>"], "never half a turn"
    assert 128 - 20 - 30 < len(kept) < 128 - 20, "one more turn, of 30, does not fit"
    assert await answer(NanoWords(), messages, longest=20) == list("four")


def test_the_conversation_is_written_as_training_wrote_it(use: Use) -> None:
    bundle = random_bundle()
    use(bundle)
    said = [
        Message("system", "Be brief."),
        Message("user", "Time?"),
        Message("assistant", "", calls=(Call("get_time", "{}", "1"),)),
        Message("tool", "10:30", call="1"),
        Message("assistant", "Half past ten."),
        Message("user", "Thanks."),
    ]
    writing = Writing(bundle.tokens, 2)
    writing.system("Be brief.", ["get_time(zone)"])
    writing.special("<|user|>")
    writing.say("Time?")
    writing.answer("answer", '{"name":"get_time","arguments":{}}', call=True)
    writing.special("<|result|>")
    writing.say("10:30")
    writing.answer("answer", "Half past ten.")
    writing.special("<|user|>")
    writing.say("Thanks.")
    ours = bundle.tokens.encode(NanoWords().parts(said, (TOOL,)))
    assert ours.ids.tolist() == writing.example().sequence.ids.tolist()


async def test_a_clause_is_read_out_with_all_that_the_codec_held_back(use: Use) -> None:
    bundle = planted("four", frames=8)
    use(bundle)
    voice = NanoVoice()
    async with aclosing(voice.speak("four")) as pieces:
        sound = np.concatenate([piece async for piece in pieces])
    assert len(sound) % 640 == 0
    assert len(sound) > 0
    await voice.close()


def test_a_bundle_without_a_codec_is_no_voice(use: Use) -> None:
    use(random_bundle(speaks=False))
    with pytest.raises(ValueError, match="no voice"):
        NanoVoice()
