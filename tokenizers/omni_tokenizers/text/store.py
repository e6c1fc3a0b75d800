"""Reading a vocabulary of any kind, and writing our own."""

from __future__ import annotations

import binascii
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from omni_tokenizers.text.bytelevel import ByteLevel
from omni_tokenizers.text.chat import Chat
from omni_tokenizers.text.engine import Engine
from omni_tokenizers.text.load_hf import load_hf
from omni_tokenizers.text.load_sentencepiece import Sentencepiece, looks_like_sentencepiece
from omni_tokenizers.text.load_tiktoken import load_tekken, load_tiktoken, looks_like_tiktoken
from omni_tokenizers.text.patterns import PATTERNS

FORMAT = "omni-text"
VERSION = 1
# A folder is searched in this order; a tokenizer.json knows more than the file it was made from.
IN_FOLDER = ("text.json", "tokenizer.json", "tekken.json", "tokenizer.model", "spiece.model")


class Loaded(NamedTuple):
    """What a file holds: the engine, the chat templates by name, and the tokens that have a role (`bos_token`, …)."""

    engine: Engine
    templates: Mapping[str, str]
    roles: Mapping[str, str]


def load(
    source: str | os.PathLike[str] | bytes, pattern: str | None, special: Mapping[str, int] | Sequence[str]
) -> Loaded:
    """Read a vocabulary from a file, its bytes or a folder."""
    if isinstance(source, bytes | bytearray):
        return _read(bytes(source), "these bytes", pattern, special)
    if not isinstance(source, str | os.PathLike):
        raise TypeError(f"a vocabulary is loaded from a path or bytes, not {type(source).__name__}")
    path = Path(source)
    if not path.exists():
        raise ValueError(f"there is no file or folder {path}")
    if path.is_dir():
        return _folder(path, pattern, special)
    return _read(path.read_bytes(), str(path), pattern, special)


def _folder(path: Path, pattern: str | None, special: Mapping[str, int] | Sequence[str]) -> Loaded:
    candidates = [path / name for name in IN_FOLDER] + sorted(path.glob("*.tiktoken"))
    found = next((candidate for candidate in candidates if candidate.is_file()), None)
    if found is None:
        names = ", ".join(sorted(entry.name for entry in path.iterdir())[:10]) or "nothing"
        raise ValueError(f"{path} has no vocabulary ({', '.join(IN_FOLDER)} or *.tiktoken); it has {names}")
    loaded = _read(found.read_bytes(), str(found), pattern, special)
    templates, roles = _beside(path)
    return Loaded(loaded.engine, {**loaded.templates, **templates}, {**loaded.roles, **roles})


def _beside(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Read the chat templates and named tokens that stand in files beside a vocabulary."""
    templates: dict[str, str] = {}
    roles: dict[str, str] = {}
    config = _settings(folder / "tokenizer_config.json")
    for name, value in {**_settings(folder / "special_tokens_map.json"), **config}.items():
        if name.endswith("_token"):
            content = value.get("content") if isinstance(value, dict) else value
            if isinstance(content, str):
                roles[name] = content
    own = config.get("chat_template")
    if isinstance(own, str):
        templates["default"] = own
    elif isinstance(own, list):
        templates |= {entry["name"]: entry["template"] for entry in own}
    if (folder / "chat_template.jinja").is_file():
        templates["default"] = (folder / "chat_template.jinja").read_text(encoding="utf-8")
    for extra in sorted((folder / "additional_chat_templates").glob("*.jinja")):
        templates[extra.stem] = extra.read_text(encoding="utf-8")
    return templates, roles


def _settings(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    content = _json(path.read_bytes(), str(path))
    return content if isinstance(content, dict) else {}


def _json(data: bytes, where: str) -> Any:
    try:
        return json.loads(data)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{where} is not whole JSON: {error}") from None


def _read(data: bytes, where: str, pattern: str | None, special: Mapping[str, int] | Sequence[str]) -> Loaded:
    if not data:
        raise ValueError(f"{where} is empty")
    if looks_like_tiktoken(data):
        if pattern is None:
            raise ValueError(
                f"{where} holds ranks alone, and the same ranks split by another pattern give other ids: pass "
                f"pattern=, one of {', '.join(PATTERNS)} or a regular expression"
            )
        return Loaded(load_tiktoken(data, pattern, special, where), {}, {})
    if pattern is not None or special:
        raise ValueError(
            f"{where} brings its own pattern and special tokens; pattern= and special= are for .tiktoken files"
        )
    if looks_like_sentencepiece(data):
        return Loaded(Sentencepiece(data, where), {}, {})
    if data.lstrip()[:1] == b"{":
        return _content(_json(data, where), where)
    raise ValueError(
        f"{where} is no vocabulary that is known here: it is neither .tiktoken, tokenizer.json, tekken, sentencepiece "
        f"nor our own JSON; it begins with {data[:24]!r}"
    )


def _content(content: Mapping[str, Any], where: str) -> Loaded:
    try:
        if content.get("format") == FORMAT:
            return _own(content, where)
        if "vocab" in content and "config" in content:
            return Loaded(load_tekken(content, where), {}, {})
        return Loaded(load_hf(content, where), {}, {})
    except (KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise ValueError(f"{where}: damaged ({type(error).__name__}: {error})") from error


def _own(content: Mapping[str, Any], where: str) -> Loaded:
    if content.get("version") != VERSION:
        raise ValueError(f"{where} is version {content.get('version')!r} of {FORMAT}; this release reads {VERSION}")
    kind, state = content["engine"], content["state"]
    if kind == "tiktoken":
        engine: Engine = ByteLevel.of(state)
    elif kind == "tokenizers":
        engine = load_hf(state["tokenizer"], where)
    elif kind == "sentencepiece":
        engine = Sentencepiece.of(state)
    else:
        raise ValueError(f"{where}: no engine is called {kind!r}")
    return Loaded(engine, content["templates"], content["roles"])


def save(path: str | os.PathLike[str], engine: Engine, chat: Chat) -> Path:
    """Write one JSON file: whole, or not at all."""
    target = Path(path)
    if target.is_dir():
        target /= "text.json"
    content = {
        "format": FORMAT,
        "version": VERSION,
        "engine": engine.kind,
        "templates": chat.templates,
        "roles": chat.roles,
        "state": engine.state(),
    }
    part = target.with_name(target.name + ".part")
    part.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(target)
    return target
