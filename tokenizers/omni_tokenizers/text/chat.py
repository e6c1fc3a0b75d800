"""Chat templates: rendered as transformers renders them, encoded so that a message cannot forge a special token.

A template is code from whoever published the model, so it runs in jinja2's immutable sandbox and sees plain data
only. Before rendering, every special token that stands in a message, a tool or a document is put between two markers
(private-use characters that occur in none of them). After rendering, what is between markers is text; what is not, the
template wrote. The markers are gone before anything is encoded, so a message has the ids of its plain text.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import numpy as np

from omni_tokenizers.optional import need
from omni_tokenizers.text.engine import Engine
from omni_tokenizers.text.special import any_of

PRIVATE_USE = range(0xE000, 0xF900)
PLAIN = (str, int, float, bool)
CONTINUE = "CONTINUE_FINAL_MESSAGE_TAG "


class Chat:
    """The templates of one vocabulary, and the names (`bos_token`, …) that they may use."""

    def __init__(self, templates: Mapping[str, str], roles: Mapping[str, str]) -> None:
        self.templates, self.roles = dict(templates), dict(roles)

    def choose(self, template: str | None, tools: object) -> str:
        """Return the template's source: by name, as given, or the vocabulary's own."""
        if template is not None:
            return self.templates.get(template, template)
        if tools is not None and "tool_use" in self.templates:
            return self.templates["tool_use"]
        if "default" in self.templates:
            return self.templates["default"]
        if self.templates:
            raise ValueError(f"no default among the chat templates: pass template=, one of {sorted(self.templates)}")
        raise ValueError("this vocabulary came without a chat template: pass template=")

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        template: str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = False,
        continue_final_message: bool = False,
        **variables: Any,
    ) -> str:
        """Return the conversation as the template writes it."""
        source = self.choose(template, tools)
        if isinstance(messages, str | Mapping) or not isinstance(messages, Sequence) or not messages:
            raise ValueError("a conversation is a list of at least one message, each with a role and a content")
        chat = [plain(message) for message in messages]
        for message in chat:
            if not isinstance(message, dict):
                raise TypeError(f"a message is a dict with a role and a content, not {type(message).__name__}")
        chat = [_reasoning(message) for message in chat]
        if continue_final_message:
            if add_generation_prompt:
                raise ValueError("continue_final_message and add_generation_prompt ask for opposite things: pass one")
            _tag_last(chat[-1])
        compiled, failure = _compiled(source)
        try:
            text = compiled.render(
                messages=chat,
                tools=plain(tools),
                documents=plain(documents),
                add_generation_prompt=add_generation_prompt,
                **{**self.roles, **plain(variables)},
            )
        except (failure, TypeError) as error:  # TypeError: it adds a list of parts to a str, say
            raise ValueError(f"the chat template failed on this conversation: {error}") from error
        return _up_to_tag(text) if continue_final_message else text

    def encode(self, engine: Engine, messages: Sequence[Mapping[str, Any]], **options: Any) -> list[int]:
        """Return the ids of the rendered conversation; only what the template wrote can be special."""
        source = self.choose(options.get("template"), options.get("tools"))
        names = {*engine.special, *(n for n in engine.added if n in source and not n.isspace())}
        inputs = {key: value for key, value in options.items() if key != "template"}
        opening, closing = _unused((messages, inputs, source))
        guard = Guard(names, opening, closing)
        marked = {key: guard.mark(plain(value)) for key, value in inputs.items()}
        if "template" in options:
            marked["template"] = options["template"]
        rendered = self.render(guard.mark([plain(m) for m in messages]), **marked)
        return guard.encode(engine, rendered)


class Guard:
    """Marks the special tokens of the inputs, and encodes the rendered text by the marks."""

    def __init__(self, names: Collection[str], opening: str, closing: str) -> None:
        self._opening, self._closing, self._names = opening, closing, names
        self._search = any_of(names)
        self._heads = {name[:size] for name in names for size in range(1, len(name))}
        self._tails = {name[size:] for name in names for size in range(1, len(name))}
        self._longest = max(map(len, names), default=1)

    def mark(self, value: Any, *, whole_only: bool = False) -> Any:
        """Return a copy of JSON data with every special token in its strings marked; half ones too, or `whole_only`."""
        if isinstance(value, str) and self._search is not None:
            marked = self._search.sub(lambda found: f"{self._opening}{found.group()}{self._closing}", value)
            if whole_only:
                return marked
            # Half a token at either end could meet its other half in the template: a lone marker keeps them apart.
            if any(value[:size] in self._tails for size in range(1, self._longest)):
                marked = self._closing + marked
            if any(value[-size:] in self._heads for size in range(1, self._longest)):
                marked += self._opening
            return marked
        if isinstance(value, dict):
            # Templates look keys up, and some make a token of the role: '<|' + message.role + '|>'.
            return {
                self.mark(key, whole_only=True): self.mark(item, whole_only=key == "role")
                for key, item in value.items()
            }
        if isinstance(value, list | tuple):
            return type(value)(map(self.mark, value))
        return value

    def encode(self, engine: Engine, rendered: str) -> list[int]:
        """Return the ids: names outside marks are tokens, all else is text without the marks."""
        for marker in (self._opening, self._closing):  # a template may write JSON with escapes
            rendered = rendered.replace(f"\\u{ord(marker):04x}", marker)
        if self._opening not in rendered and self._closing not in rendered:
            return engine.encode(rendered, frozenset(engine.special))
        if engine.kind != "tiktoken":
            return self._by_parts(engine, rendered)
        ids: list[int] = []
        text: list[str] = []
        for part, forged in self._parts(rendered):
            begin = 0
            for found in self._search.finditer(part) if self._search and not forged else ():
                text.append(part[begin : found.start()])
                ids += self._text_ids(engine, "".join(text))
                ids.append({**engine.added, **engine.special}[found.group()])
                text, begin = [], found.end()
            text.append(part[begin:])
        return ids + self._text_ids(engine, "".join(text))

    def _text_ids(self, engine: Engine, text: str) -> list[int]:
        """Encode text in which no control name counts; other added tokens (runs of spaces, say) still do."""
        harmless = any_of(name for name in engine.added if name not in self._names)
        ids: list[int] = []
        begin = 0
        for found in harmless.finditer(text) if harmless else ():
            ids += engine.literal(text[begin : found.start()])
            ids.append(engine.added[found.group()])
            begin = found.end()
        return ids + engine.literal(text[begin:])

    def _by_parts(self, engine: Engine, rendered: str) -> list[int]:
        ids: list[int] = []
        for part, forged in self._parts(rendered):
            ids += engine.literal(part) if forged else engine.encode(part, frozenset(engine.special))
        return ids

    def _parts(self, rendered: str) -> list[tuple[str, bool]]:
        """Return the text between marks in order, each with whether it was a special token in a message."""
        parts: list[tuple[str, bool]] = []
        names = "|".join(map(re.escape, sorted(self._names, key=len, reverse=True)))
        begin = 0
        for found in re.finditer(f"{self._opening}({names}){self._closing}|[{self._opening}{self._closing}]", rendered):
            parts += [(rendered[begin : found.start()], False), (found.group(1) or "", True)]
            begin = found.end()
        return [part for part in [*parts, (rendered[begin:], False)] if part[0]]


def plain(value: Any) -> Any:
    """Return a copy in plain JSON types and tuples; what has no such form, as an image, becomes its type's name.

    >>> plain({"n": np.int64(3), "picture": np.zeros((2, 2))})
    {'n': 3, 'picture': '<ndarray>'}
    """
    if value is None or type(value) in PLAIN:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, np.generic) and type(value.item()) in PLAIN:
        return value.item()
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return (list if isinstance(value, list) else tuple)(map(plain, value))
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if callable(getattr(value, "model_dump", None)) and not isinstance(value, type):  # a pydantic model
        return plain(value.model_dump())
    return f"<{type(value).__name__}>"


def _unused(values: Any) -> tuple[str, str]:
    seen = json.dumps(plain(values), ensure_ascii=False)
    # JSON in a template may spell a marker as an escape, so that spelling has to be free as well.
    free = [chr(code) for code in PRIVATE_USE if chr(code) not in seen and f"\\u{code:04x}" not in seen]
    if len(free) < 2:
        raise ValueError("the conversation holds every private-use character (U+E000 to U+F8FF): remove some of them")
    return free[0], free[1]


def _reasoning(message: dict[str, Any]) -> dict[str, Any]:
    """Give a message's reasoning under the names that templates read it by."""
    keys = ("reasoning_content", "thinking", "reasoning")
    reasoning = next((message[key] for key in keys if message.get(key) is not None), None)
    return message if reasoning is None else {"thinking": reasoning, **message, "reasoning_content": reasoning}


def _tag_last(message: dict[str, Any]) -> None:
    content = message.get("content")
    if isinstance(content, list | tuple):
        block = next((b for b in reversed(content) if isinstance(b, dict) and "text" in b), None)
        if block is None:
            raise ValueError("continue_final_message: the final message has no text to continue")
        block["text"] += CONTINUE
    elif isinstance(content, str):
        message["content"] = content + CONTINUE
    else:
        raise ValueError("continue_final_message: the final message has no content to continue")


def _up_to_tag(text: str) -> str:
    at = text.rfind(CONTINUE.strip())
    if at < 0:
        raise ValueError("continue_final_message: the template does not write out the final message")
    kept = text[:at]
    return kept if text[at : at + len(CONTINUE)] == CONTINUE else kept.rstrip()


@lru_cache(maxsize=64)
def _compiled(source: str) -> tuple[Any, type[Exception]]:
    jinja2 = need("jinja2", extra="model", use="a chat template")
    sandbox = need("jinja2.sandbox", extra="model", use="a chat template")
    extensions = need("jinja2.ext", extra="model", use="a chat template")

    class Generation(extensions.Extension):  # type: ignore[misc, name-defined]
        """`{% generation %}` marks what the assistant said, for training; here its body is simply written."""

        tags = frozenset({"generation"})

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(["name:endgeneration"], drop_needle=True)

    class Namespace(jinja2.utils.Namespace):  # type: ignore[misc, name-defined]
        """A namespace that stores no underscored names, which lead out of the sandbox."""

        def __setitem__(self, name: str, value: Any) -> None:
            if name.startswith("_"):
                raise jinja2.exceptions.SecurityError(f"a chat template may not store {name!r}")
            super().__setitem__(name, value)

    def raise_exception(message: str) -> None:
        raise ValueError(f"the chat template refuses this conversation: {message}")

    def tojson(
        value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
    ) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    environment = sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, extensions.loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals |= {
        "raise_exception": raise_exception,
        "strftime_now": lambda form: datetime.now().strftime(form),
        "namespace": Namespace,
    }
    try:
        return environment.from_string(source), jinja2.exceptions.TemplateError
    except jinja2.exceptions.TemplateSyntaxError as error:
        raise ValueError(f"the chat template does not compile, line {error.lineno}: {error.message}") from None
