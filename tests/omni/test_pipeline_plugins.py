"""The plug-ins with real parts: small random checkpoints and espeak-ng."""

import asyncio
import json
import shutil
import time
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jinja2 import TemplateError
from torch.nn.functional import one_hot
from transformers import (
    Gemma3Config,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    PreTrainedTokenizerFast,
    VitsConfig,
    VitsModel,
    VitsTokenizer,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizer,
)  # fmt: skip
from transformers.modeling_outputs import CausalLMOutputWithPast

from omni.engine.answering import StageFailed
from omni.engine.pipeline.causal import UNBOUNDED, CausalModel, StreamedText, context_of
from omni.engine.pipeline.espeak import Espeak
from omni.engine.pipeline.pipeline import pipeline
from omni.engine.pipeline.stages import Call, Message, Samples, Stopped
from omni.engine.pipeline.template import templated
from omni.engine.pipeline.tool_text import ToolText
from omni.engine.pipeline.vits import Vits
from omni.engine.pipeline.whisper import Whisper, windows
from omni.engine.protocol import (
    AudioOut,
    Done,
    SessionSpec,
    TextDelta,
    Transcript,
)
from omni.sampling import Sampling
from tests.omni.talking import all_of, ask, origin, run, text_of, until_end
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())
TEMPLATE = (
    "{% if tools %}[{{ tools[0].function.name }}]{% endif %}"
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def byte_level(extra: list[str]) -> dict[str, int]:
    return {piece: i for i, piece in enumerate([*extra, *BYTES])}


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    tokenizer = Tokenizer(models.BPE(byte_level(["<end>"]), []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", chat_template=TEMPLATE)
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=257, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=160, eos_token_id=0, bos_token_id=None,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whisper")
    vocabulary = byte_level(["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>"])
    tokenizer = WhisperTokenizer(vocab=vocabulary, merges=[])
    WhisperProcessor(WhisperFeatureExtractor(feature_size=80), tokenizer).save_pretrained(folder)
    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=261, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_target_positions=64,
        pad_token_id=0, bos_token_id=0, eos_token_id=0, decoder_start_token_id=1, suppress_tokens=None,
        begin_suppress_tokens=None,
    )  # fmt: skip
    WhisperForConditionalGeneration(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def vits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vits")
    letters = folder / "letters.json"
    letters.write_text(
        json.dumps({piece: i for i, piece in enumerate(["<pad>", "<unk>", *" abcdefghijklmnopqrstuvwxyz"])})
    )
    VitsTokenizer(str(letters), phonemize=False, pad_token="<pad>", unk_token="<unk>").save_pretrained(folder)
    torch.manual_seed(0)
    config = VitsConfig(
        vocab_size=29, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, ffn_dim=16, flow_size=16,
        spectrogram_bins=9, upsample_initial_channel=16, upsample_rates=[8, 8], upsample_kernel_sizes=[16, 16],
        resblock_kernel_sizes=[3], resblock_dilation_sizes=[[1, 3, 5]], prior_encoder_num_flows=2,
        prior_encoder_num_wavenet_layers=1, posterior_encoder_num_wavenet_layers=1, duration_predictor_num_flows=2,
        duration_predictor_filter_channels=16, depth_separable_num_layers=1,
    )  # fmt: skip
    VitsModel(config).save_pretrained(folder)
    return folder


# A causal language model


def test_a_causal_model_streams_what_generate_gives(llama: Path) -> None:
    async def main() -> None:
        model = CausalModel(str(llama))
        messages = [Message("system", "Be brief."), Message("user", "Hello, wörld!")]
        pieces = await all_of(model, *messages)
        ids = torch.tensor([model.prompt(messages, (), 24)])
        assert model._tokenizer.decode(ids[0]) == "<system>Be brief.\n<user>Hello, wörld!\n<assistant>"
        theirs = model._model.generate(ids, max_new_tokens=24, do_sample=False)[0, ids.shape[1] :]
        ended = 0 in theirs
        assert text_of(pieces) == model._tokenizer.decode(theirs, skip_special_tokens=True)
        assert (Stopped() in pieces) is not ended
        assert len(pieces) > 3
        await model.close()

    run(main())


def test_a_seed_draws_the_same_answer_and_another_seed_another(llama: Path) -> None:
    async def main() -> None:
        model = CausalModel(str(llama))
        hello = Message("user", "Hello")
        texts = [text_of(await all_of(model, hello, how=Sampling(1.0, top_k=50, seed=seed))) for seed in (1, 1, 2)]
        assert texts[0] == texts[1] != texts[2]
        await model.close()

    run(main())


def test_the_oldest_turns_go_when_the_context_is_full_and_a_turn_that_never_fits_is_an_error(llama: Path) -> None:
    async def main() -> None:
        model = CausalModel(str(llama))
        system = Message("system", "Be brief.")
        talk = [Message(role, f"{i} {'x' * 20}") for i in range(9) for role in ("user", "assistant")]  # type: ignore[arg-type]
        text = model._tokenizer.decode(model.prompt([system, *talk[:-1]], (), 16))
        assert text.startswith("<system>Be brief.\n<user>")
        assert text.endswith("<user>8 xxxxxxxxxxxxxxxxxxxx\n<assistant>")
        assert len(text) <= 160 - 16
        with pytest.raises(StageFailed, match="160"):
            await all_of(model, system, Message("user", "y" * 200))
        await model.close()

    run(main())


def test_a_limit_beyond_the_context_leaves_half_of_it_to_the_answer(llama: Path) -> None:
    async def main() -> None:
        model = CausalModel(str(llama))
        model._ends = set()
        pieces = await all_of(model, Message("user", "Hello"), longest=4096)
        assert Stopped() in pieces
        with pytest.raises(StageFailed, match="80 are kept for the answer"):
            await all_of(model, Message("user", "y" * 100), longest=4096)
        await model.close()

    run(main())


def test_a_cancelled_answer_stops_the_model(llama: Path) -> None:
    async def main() -> None:
        model = CausalModel(str(llama))
        steps = []
        forward = model._model.forward
        model._model.forward = lambda **given: (steps.append(1), time.sleep(0.02), forward(**given))[-1]
        model._ends = set()
        pieces = model.answer([Message("user", "Hi")], (), Sampling(), 100, must_call=False)
        async for _ in pieces:
            break
        await pieces.aclose()
        await asyncio.sleep(0.1)
        so_far = len(steps)
        await asyncio.sleep(0.2)
        assert len(steps) == so_far < 20
        await model.close()

    run(main())


def test_letters_of_several_ids_leave_whole(llama: Path) -> None:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(llama)
    text = "naïve 🎈 日本"
    ids = tokenizer.encode(text)
    stream = StreamedText(tokenizer)
    pieces = [stream.push(token) for token in ids]
    assert "".join(pieces) + stream.finish() == text
    assert "�" not in "".join(pieces)


def test_a_model_without_a_chat_template_is_refused(llama: Path, tmp_path: Path) -> None:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(llama)
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="no chat template"):
        CausalModel(str(tmp_path))


REFUSES = "{{ raise_exception('System role not supported') }}"
ALTERNATES = (  # as Gemma's and Mistral's: what the system says, then the user and the assistant in turn
    "{% if messages[0].role == 'system' %}SYSTEM{% set messages = messages[1:] %}{% endif %}"
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('alternate!') }}"
    "{% endif %}<{{ m.role }}>{{ m.content }}{% endfor %}<model>"
)
GEMMA = ALTERNATES.replace("SYSTEM", REFUSES)
MISTRAL = ALTERNATES.replace("SYSTEM", "[{{ messages[0].content }}]")
BRIEF, HELLO, YES = Message("system", "Be brief."), Message("user", "Hello"), Message("assistant", "Yes?")


@pytest.mark.parametrize(
    ("template", "messages", "expected"),
    [
        (GEMMA, [BRIEF, HELLO], "<user>Be brief. Hello<model>"),
        (GEMMA, [BRIEF, YES, HELLO], "<user>Be brief.<assistant>Yes?<user>Hello<model>"),
        (GEMMA, [YES, HELLO], "<user><assistant>Yes?<user>Hello<model>"),
        (GEMMA, [], "<user><model>"),
        (MISTRAL, [BRIEF, HELLO], "[Be brief.]<user>Hello<model>"),
        (
            MISTRAL,
            [BRIEF, HELLO, YES, BRIEF, HELLO],
            "[Be brief.]<user>Hello<assistant>Yes?<user>Be brief. Hello<model>",
        ),
        (MISTRAL, [BRIEF, YES, HELLO], "<user>Be brief.<assistant>Yes?<user>Hello<model>"),
        ("{{ raise_exception('not today') }}", [HELLO], None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_strict_template_is_told_the_conversation_as_it_takes_it(
    llama: Path, template: str, messages: list[Message], expected: str | None
) -> None:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(llama)
    tokenizer.chat_template = template
    if expected is None:
        with pytest.raises(TemplateError, match="not today"):
            templated(tokenizer, messages, ())
    else:
        assert tokenizer.decode(templated(tokenizer, messages, ())) == expected


def test_a_model_that_can_be_told_not_to_think_aloud_is_told_so(llama: Path) -> None:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(llama)
    tokenizer.chat_template = "<model>{% if enable_thinking is false %}<think></think>{% endif %}"
    assert tokenizer.decode(templated(tokenizer, [HELLO], ())) == "<model><think></think>"


def test_a_model_that_is_asked_with_an_open_thought_says_what_follows_it(llama: Path) -> None:
    async def main() -> None:
        model = CausalModel(str(llama))
        model._tokenizer.chat_template = TEMPLATE + "<think>\n"
        said = iter(model._tokenizer.encode("Hm.</think>\nFour.<end>"))
        model._model.forward = lambda **_: CausalLMOutputWithPast(
            logits=one_hot(torch.tensor([[next(said)]]), 257).float()
        )
        assert text_of(await all_of(model, HELLO)) == "Four."
        await model.close()

    run(main())


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_calls_are_taken_out_of_streamed_text(size: int) -> None:
    call = '<tool_call>\n{"name": "light", "arguments": {"on": true}}\n</tool_call>'
    text = f"So <b>: {call} or <tool_call>{{no}}</tool_call> <tool"
    parser, found = ToolText(), []
    for at in range(0, len(text), size):
        found += parser.push(text[at : at + size])
    found += parser.finish()
    calls = [piece for piece in found if isinstance(piece, Call)]
    assert [(c.name, c.arguments) for c in calls] == [("light", '{"on":true}')]
    assert "".join(p for p in found if isinstance(p, str)) == "So <b>:  or <tool_call>{no}</tool_call> <tool"


@pytest.mark.parametrize(
    "arguments",
    ['"on"', "[1]", "null", '{"x": NaN}', '"[1]"', '"{\\"x\\": NaN}"', "[" * 100_000, '"' + "[" * 100_000 + '"'],
)
def test_a_call_whose_arguments_are_no_object_stays_text(arguments: str) -> None:
    text = f'<tool_call>{{"name": "light", "arguments": {arguments}}}</tool_call>'
    assert ToolText().push(text) == [text]


def test_arguments_that_are_written_as_text_are_read_once() -> None:
    call = ToolText().push('<tool_call>{"name": "light", "arguments": "{\\"on\\": true}"}</tool_call>')[0]
    assert isinstance(call, Call)
    assert call.arguments == '{"on":true}'


def test_the_context_of_a_model_that_sees_is_that_of_its_text_part() -> None:
    assert context_of(Gemma3Config(text_config={"max_position_embeddings": 4096})) == 4096
    assert context_of(MambaConfig()) == UNBOUNDED


# Numbers


def test_models_in_half_precision_run_in_float32_on_a_cpu(
    llama: Path, whisper: Path, vits: Path, tmp_path: Path
) -> None:
    for kind, folder in ((CausalModel, llama), (Whisper, whisper), (Vits, vits)):
        half = shutil.copytree(folder, tmp_path / folder.name)
        kind(str(folder))._model.half().save_pretrained(half)
        assert kind(str(half))._model.dtype == torch.float32
    assert CausalModel(str(tmp_path / llama.name), dtype="auto")._model.dtype == torch.float16


# Whisper


def test_whisper_writes_down_a_turn_as_its_own_generate_does_and_a_turn_may_go_on(whisper: Path) -> None:
    async def main() -> None:
        model = Whisper(str(whisper), longest=12)
        samples = np.random.default_rng(0).normal(0, 0.1, 24_000).astype(np.float32)
        hearing = model.listen()
        await hearing.push(samples[:8000])
        first = await hearing.finish()
        await hearing.push(samples[8000:])
        features = model._processor(samples, sampling_rate=16_000, return_tensors="pt")
        theirs = model._model.generate(**features, max_new_tokens=12)
        assert (
            await hearing.finish() == model._processor.batch_decode(theirs, skip_special_tokens=True)[0].strip() != ""
        )
        assert isinstance(first, str)
        assert await model.listen().finish() == ""
        await model.close()

    run(main())


def test_whisper_shows_partial_transcripts_when_asked_to_and_never_blocks_the_loop(whisper: Path) -> None:
    async def main() -> None:
        model = Whisper(str(whisper), longest=8, partials=0.1)
        hearing = model.listen()
        partials: list[str] = []
        ran_on = False
        for _ in range(60):
            text = await hearing.push(np.full(1600, 0.01, np.float32))
            ran_on = ran_on or (hearing._partial is not None and not hearing._partial.done())
            partials += [text] if text is not None else []
            await asyncio.sleep(0.01)
        assert partials
        assert ran_on, "a push waited for the model"
        hearing.drop()
        await model.close()

    run(main())


ENGLISH = {"is_multilingual": False, "no_timestamps_token_id": 260}
MANY = ENGLISH | {"is_multilingual": True, "lang_to_id": {"<|en|>": 2, "<|de|>": 5}, "task_to_id": {"transcribe": 3}}


@pytest.mark.parametrize(
    ("about", "language", "options"),
    [
        (ENGLISH, "en", {}),
        (ENGLISH, "English", {}),
        (ENGLISH, "de", None),
        (MANY, "de", {"language": "de", "task": "transcribe"}),
        (MANY, "xx", None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_language_is_told_to_models_of_several_and_one_that_is_not_known_is_refused_at_once(
    whisper: Path, tmp_path: Path, about: dict[str, Any], language: str, options: dict[str, str] | None
) -> None:
    folder = shutil.copytree(whisper, tmp_path / "whisper")
    generation = folder / "generation_config.json"
    published = json.loads(generation.read_text())
    del published["_from_model_config"]
    generation.write_text(json.dumps(published | about))

    async def main() -> None:
        if options is None:
            with pytest.raises(ValueError, match=rf"language is {language!r}; this model knows en"):
                Whisper(str(folder), language=language)
        else:
            model = Whisper(str(folder), language=language, longest=8)
            assert model._options == {"max_new_tokens": 8, **options}
            assert isinstance(await model.transcribe(np.full(16_000, 0.01, np.float32)), str)
            await model.close()

    run(main())


@pytest.mark.parametrize("longest", ["0", "61"])
def test_a_transcript_longer_than_the_model_can_write_is_refused_at_the_start(whisper: Path, longest: str) -> None:
    with pytest.raises(ValueError, match=rf"longest is {longest}: this model writes 1 to 60 tokens of a window"):
        Whisper(str(whisper), longest=longest)


def test_long_speech_is_cut_where_it_is_quietest() -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 16_000 * 65).astype(np.float32)
    for second in (27.5, 54.0):
        samples[round(second * 16_000) : round((second + 0.2) * 16_000)] = 0
    parts = windows(samples)
    assert np.array_equal(np.concatenate(parts), samples)
    assert [len(part) / 16_000 for part in parts[:2]] == pytest.approx([27.55, 26.5], abs=0.15)


# Voices


def test_a_vits_voice_speaks_what_the_model_makes(vits: Path) -> None:
    async def main() -> None:
        voice = Vits(str(vits))
        torch.manual_seed(3)
        async with aclosing(voice.speak("hello there")) as sound:
            pieces = [piece async for piece in sound]
        assert {len(piece) for piece in pieces[:-1]} <= {round(0.04 * voice.rate)}
        torch.manual_seed(3)
        with torch.inference_mode():
            theirs = voice._model(**voice._tokenizer("hello there", return_tensors="pt")).waveform[0].numpy()
        assert np.array_equal(np.concatenate(pieces), theirs)
        assert pieces[0].dtype == np.float32
        await voice.close()

    run(main())


def test_a_speaker_that_a_voice_does_not_have_is_refused_at_the_start(vits: Path) -> None:
    with pytest.raises(ValueError, match="speaker is 7; this voice has 1: 0 to 0"):
        Vits(str(vits), speaker="7")


async def first_of(voice: Espeak, text: str) -> list[Samples]:
    async with aclosing(voice.speak(text)) as sound:
        return [piece async for piece in sound]


def test_espeak_speaks_and_the_loop_goes_on_meanwhile() -> None:
    pytest.importorskip("espeakng_loader")

    async def main() -> None:
        voice = Espeak("en-us+f2", words_per_minute="180")
        ticks, speaking = 0, asyncio.create_task(first_of(voice, "This is a rather long sentence. " * 40))
        while not speaking.done():
            await asyncio.sleep(0.001)
            ticks += 1
        pieces = await speaking
        assert ticks > 5
        assert sum(map(len, pieces)) / voice.rate > 40
        with pytest.raises(ValueError, match="espeak-ng has no voice 'xx-none"):
            Espeak("xx-none")

    run(main())


# All of it


def test_three_real_plug_ins_by_name_make_a_pipeline_that_talks(whisper: Path, llama: Path, vits: Path) -> None:
    async def main() -> None:
        engine = pipeline(f"whisper:{whisper}?longest=8", f"hf:{llama}", f"vits:{vits}")
        session = await engine.open(SessionSpec(longest=12))
        await ask(session, origin(1), 1.0)
        events = await until_end(session, origin(1))
        assert any(isinstance(e, Transcript) and e.final and e.text for e in events)
        assert any(isinstance(e, TextDelta) for e in events)
        assert isinstance(events[-1], Done)
        text = "".join(e.text for e in events if isinstance(e, TextDelta))
        assert any(isinstance(e, AudioOut) for e in events) == any(c.isalpha() and c.isascii() for c in text)
        await engine.close()

    run(main())
