"""Plug-ins by name, as a person types them: `kind:what?option=value`.

speech_to_text("whisper:/models/whisper-base?language=en")
text_model("openai:http://localhost:8000/v1?model=qwen3")
text_to_speech("espeak:en-us+f2")
"""

from collections.abc import Callable
from importlib import import_module
from inspect import signature
from typing import Any, Literal, cast
from urllib.parse import parse_qsl

from omni.engine.pipeline.stages import SpeechToText, TextModel, TextToSpeech

Stage = Literal["stt", "llm", "tts"]
Maker = Callable[..., Any]

# The module is imported when the plug-in is asked for: torch and transformers only where they are used.
PLUGINS: dict[Stage, dict[str, Maker | str]] = {
    "stt": {
        "nano": "omni.engine.pipeline.nano:NanoEars",
        "whisper": "omni.engine.pipeline.whisper:Whisper",
        "scripted": "omni.engine.pipeline.scripted:ScriptedEars",
    },
    "llm": {
        "nano": "omni.engine.pipeline.nano:NanoWords",
        "hf": "omni.engine.pipeline.causal:CausalModel",
        "openai": "omni.engine.pipeline.chat:ChatEndpoint",
        "scripted": "omni.engine.pipeline.scripted:ScriptedModel",
    },
    "tts": {
        "nano": "omni.engine.pipeline.nano:NanoVoice",
        "vits": "omni.engine.pipeline.vits:Vits",
        "espeak": "omni.engine.pipeline.espeak:Espeak",
        "scripted": "omni.engine.pipeline.scripted:ScriptedVoice",
    },
}


def register(stage: Stage, name: str, maker: Maker) -> None:
    """Add a plug-in: `maker(what, **options)` is called with the part behind the colon, and options as strings."""
    if name in PLUGINS[stage]:
        raise ValueError(f"--{stage} {name}: there is a plug-in of this name already")
    PLUGINS[stage][name] = maker


def parse(text: str) -> tuple[str, str, dict[str, str]]:
    """The name, what follows it, and the options.

    >>> parse("openai:http://localhost:8000/v1?model=qwen3")
    ('openai', 'http://localhost:8000/v1', {'model': 'qwen3'})
    >>> parse("espeak:en-us+f2")
    ('espeak', 'en-us+f2', {})
    """
    head, _, query = text.partition("?")
    name, _, what = head.partition(":")
    try:
        options = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        raise ValueError(f"{text}: options are written as name=value, with & between them") from None
    return name, what, dict(options)


def known(stage: Stage, text: str) -> Maker | str:
    """What makes the plug-in that is asked for; raises ValueError where there is none of this name."""
    name = parse(text)[0]
    maker = PLUGINS[stage].get(name)
    if maker is None:
        raise ValueError(f"--{stage} {text}: there is no {name!r}; there are {', '.join(sorted(PLUGINS[stage]))}")
    return maker


def make(stage: Stage, text: str) -> Any:
    """The plug-in of this name."""
    maker = known(stage, text)
    _, what, options = parse(text)
    if isinstance(maker, str):
        module, _, attribute = maker.partition(":")
        maker = cast(Maker, getattr(import_module(module), attribute))
    _, *takes = signature(maker).parameters.values()
    named = {p.name: p.default is p.empty for p in takes if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
    anything = any(p.kind is p.VAR_KEYWORD for p in takes)
    for option in options:
        if option not in named and not anything:
            raise ValueError(f"--{stage} {text}: there is no option {option!r}; there are {', '.join(named) or 'none'}")
    for option, has_to_be in named.items():
        if has_to_be and option not in options:
            raise ValueError(f"--{stage} {text}: write {'&' if options else '?'}{option}=… behind it")
    try:
        return maker(what, **options)
    except ValueError as error:
        raise ValueError(f"--{stage} {text}: {error}") from error


def speech_to_text(text: str) -> SpeechToText:
    """`--stt`."""
    return cast(SpeechToText, make("stt", text))


def text_model(text: str) -> TextModel:
    """`--llm`."""
    return cast(TextModel, make("llm", text))


def text_to_speech(text: str) -> TextToSpeech:
    """`--tts`."""
    return cast(TextToSpeech, make("tts", text))
