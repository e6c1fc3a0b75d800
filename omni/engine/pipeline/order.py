"""The messages of a conversation in the order that strict endpoints and chat templates take."""

from collections.abc import Sequence
from dataclasses import replace

from omni.engine.pipeline.stages import Message


def in_order(messages: Sequence[Message]) -> list[Message]:
    """Each result directly behind its call, no call without a result, and roles that alternate.

    A result whose call nobody knows any more stands where it came, as words of the user.

    >>> from omni.engine.pipeline.stages import Call
    >>> call = Message("assistant", "", calls=(Call("light", "{}", "c1"),))
    >>> told = [Message("user", "Light!"), call, Message("user", "Well?"), Message("tool", "on", call="c1")]
    >>> [message.role for message in in_order(told)]
    ['user', 'assistant', 'tool', 'user']
    >>> [message.text for message in in_order(told[:3])]
    ['Light! Well?']
    >>> [(message.role, message.text) for message in in_order(told[2:])]
    [('user', 'Well? on')]
    """
    results = _results(messages)
    placed = {id(result) for result in results.values()}
    found: list[Message] = []
    for place, given in enumerate(messages):
        message = Message("user", given.text) if given.role == "tool" and id(given) not in placed else given
        calls = tuple(call for call in message.calls if (place, call.call) in results)
        if message.role == "tool" or (message.role == "assistant" and not (message.text or calls)):
            continue
        last = found[-1] if found else None
        if last is not None and message.role == last.role != "system" and not (calls or last.calls):
            text = " ".join(text for text in (last.text, message.text) if text)
            found[-1] = replace(last, text=text, images=last.images + message.images)
        else:
            found += [replace(message, calls=calls), *(results[place, call.call] for call in calls)]
    return found


def _results(messages: Sequence[Message]) -> dict[tuple[int, str], Message]:
    """What came back of each call, by the place of the message that called and the call's id."""
    found: dict[tuple[int, str], Message] = {}
    callers: dict[str, int] = {}  # models give the same id again in a later answer: the latest counts
    for place, message in enumerate(messages):
        callers |= {call.call: place for call in message.calls}
        if message.role == "tool" and message.call in callers:
            found[callers.pop(message.call), message.call] = message
    return found
