"""Transcripts with the time of every word."""

import asyncio
import json
from pathlib import Path

import numpy as np
import torch
from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

from omni.engine.pipeline.pipeline import PipelineEngine
from omni.engine.pipeline.scripted import ScriptedEars, ScriptedModel, ScriptedVoice
from omni_server.session.settings import SessionSettings
from omni_server.session.word_times import CtcWords
from tests.server.realtime_talk import silence, talk, tone
from tests.virtual_time import run

LETTERS = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ'"]


def small_ctc(folder: Path) -> Path:
    """A random checkpoint in the published layout."""
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        vocab_size=len(LETTERS), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
        conv_dim=(16, 16, 24), conv_kernel=(10, 3, 2), conv_stride=(5, 2, 2), num_feat_extract_layers=3,
        num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=4, pad_token_id=0,
    )  # fmt: skip
    Wav2Vec2ForCTC(config).save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({letter: number for number, letter in enumerate(LETTERS)}))
    return folder


def test_every_word_has_its_place_in_order_and_inside_the_sound(tmp_path: Path) -> None:
    finder = CtcWords(small_ctc(tmp_path))
    samples = (np.random.default_rng(0).normal(0, 3000, 16_000)).astype(np.int16)
    found = asyncio.run(finder.find(samples, "Two and two, 3 it's!"))
    finder.close()
    assert [word.text for word in found] == ["Two", "and", "two,", "it's!"]  # a digit has no letters here
    times = [time for word in found for time in (word.start, word.end)]
    assert times == sorted(times)
    assert 0 <= times[0] < times[-1] <= 1.0


def test_words_that_are_too_many_for_the_sound_have_no_place(tmp_path: Path) -> None:
    finder = CtcWords(small_ctc(tmp_path))
    assert asyncio.run(finder.find(np.zeros(400, np.int16), "many more words than fit")) == ()
    finder.close()


def test_a_transcription_session_says_when_each_word_was_spoken(tmp_path: Path) -> None:
    async def main() -> None:
        finder = CtcWords(small_ctc(tmp_path))
        engine = PipelineEngine(ScriptedEars("two and two"), ScriptedModel(), ScriptedVoice())
        async with talk(engine, query={"intent": "transcription"}, word_times=finder) as t:
            await t.say(tone(0.6))
            await t.say(silence(0.8))
            done = await t.until("conversation.item.input_audio_transcription.completed")
        finder.close()
        assert done["transcript"] == "two and two"
        assert [word["word"] for word in done["words"]] == ["two", "and", "two"]
        assert all(0 <= word["start"] < word["end"] <= done["usage"]["seconds"] for word in done["words"])

    run(main())


def test_speech_that_is_not_kept_whole_has_no_times(tmp_path: Path) -> None:
    async def main() -> None:
        finder = CtcWords(small_ctc(tmp_path))
        engine = PipelineEngine(ScriptedEars("two and two"), ScriptedModel(), ScriptedVoice())
        short = SessionSettings(kept_audio_s=1.0)
        async with talk(engine, query={"intent": "transcription"}, word_times=finder, settings=short) as t:
            await t.say(tone(0.6))
            await t.say(silence(0.8))
            done = await t.until("conversation.item.input_audio_transcription.completed")
        finder.close()
        assert done["transcript"] == "two and two"
        assert "words" not in done

    run(main())
