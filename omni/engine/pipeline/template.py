"""A conversation through a published chat template: told as it is, or as a stricter template takes it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from jinja2 import TemplateError

from omni.engine.pipeline.chat import as_chat, as_function
from omni.engine.pipeline.order import in_order
from omni.engine.pipeline.stages import Message
from omni.engine.protocol import Tool


def templated(tokenizer: Any, messages: Sequence[Message], tools: Sequence[Tool]) -> list[int]:
    """Ids of the conversation, up to where the answer begins. Raises the template's own error if it takes none."""
    refused: TemplateError | None = None
    for told in tellings(messages):
        try:
            return list(
                tokenizer.apply_chat_template(
                    [as_chat(message, parsed=True) for message in told],
                    tools=[as_function(tool) for tool in tools] or None,
                    add_generation_prompt=True,
                    return_dict=False,
                    enable_thinking=False,  # nobody wants to hear it; templates that know of none do not look
                )
            )
        except TemplateError as error:
            refused = refused or error
    assert refused is not None
    raise refused


def tellings(messages: Sequence[Message]) -> Iterator[list[Message]]:
    """The conversation in the ways that templates take it: some know the system's words only at the beginning, or not
    at all (Gemma), and some want the user to speak first (Mistral, Gemma, Llama 2).

    >>> greeted = [Message("system", "Be brief."), Message("assistant", "Yes?"), Message("user", "Four?")]
    >>> [[message.role for message in told] for told in tellings(greeted)][2]
    ['user', 'assistant', 'user']
    """
    opening = 1 if messages and messages[0].role == "system" else 0
    by_the_user = [_of_user(message) for message in messages]
    ways = (
        list(messages),
        in_order([*messages[:opening], *by_the_user[opening:]]),
        in_order(by_the_user),
        in_order([Message("user", ""), *by_the_user]),
    )
    yield from (told for told in ways if told)


def _of_user(message: Message) -> Message:
    return replace(message, role="user") if message.role == "system" else message
