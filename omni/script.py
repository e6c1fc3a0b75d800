"""How a conversation is written as one sequence, and what an answer may say next.

    <|system|> Be brief. <|tool|> get_weather(city) <|end|>
    <|user|> ♪♪♪♪♪♪ ▦▦▦▦ how many?  <|speak|> four ♫♫♫♫♫♫♫♫♫ <|end|> of ♫♫♫ <|end|> them ♫♫♫♫♫♫♫ <|end|> <|end|>
    <|user|> ♪♪♪♪ <|call|> …

A turn of the user is text, pictures and sound in the order in which they came. A token that says how to answer closes
it: in text, in text and speech by turns, by writing down what was heard, or by reading out what was written. Training,
engines and evaluation share this file, so that a model is asked exactly what it was taught.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

SYSTEM = "<|system|>"  # instructions and tools follow, then END
TOOL = "<|tool|>"  # inside the system's part: a tool that may be called
USER = "<|user|>"  # the user's turn follows
RESULT = "<|result|>"  # what a tool gave back follows; it stands like a turn of the user
ANSWER = "<|answer|>"  # answer in text
SPEAK = "<|speak|>"  # answer in text and speech by turns
TRANSCRIBE = "<|transcribe|>"  # write down what was heard
READ = "<|read|>"  # read out what was written: the text of the answer is given
CALL = "<|call|>"  # as the first of an answer: a tool is called, its JSON follows
MORE = "<|more|>"  # never in a sequence: the choice of another frame, against END
END = "<|end|>"  # of the text of an answer; of its speech; of the system's part
SPECIALS = (SYSTEM, TOOL, USER, RESULT, ANSWER, SPEAK, TRANSCRIBE, READ, CALL, MORE, END)

How = Literal["answer", "speak", "transcribe", "read"]
OPENS: dict[How, str] = {"answer": ANSWER, "speak": SPEAK, "transcribe": TRANSCRIBE, "read": READ}
Next = Literal["text", "either", "frame", "over"]
Woven = Literal["text", "frame", "stop"]
Calls = Literal["no", "may", "must"]  # whether an answer is a call of a tool
STEPS_A_FRAME = 1.25  # of the model, about: the ids and the ends of words take a step too


@dataclass
class Answering:
    """Where an answer stands: what may come next. One object for every answer, told of all that is said.

    A spoken answer goes word by word, the ids of a word and then what it sounds like, which END closes; so the model
    always knows where in the text it is. After an id comes another one, or a frame; after a frame another one, or END.

    >>> answer = Answering("speak")
    >>> said = []
    >>> while answer.next != "over":
    ...     said.append(answer.next)
    ...     if answer.next == "text":
    ...         answer.say("word" if said.count("text") < 3 else "end")
    ...     elif len(said) % 4:
    ...         answer.frame()
    ...     else:
    ...         answer.stop()
    >>> " ".join(said)
    'text either frame frame text either frame frame text'
    """

    how: How
    next: Next = field(default="text", init=False)
    ids: int = field(default=0, init=False)  # of text that were said, the end not counted
    silent: bool = field(init=False)  # the answer is text alone

    def __post_init__(self) -> None:
        self.silent = self.how in ("answer", "transcribe")

    def say(self, what: Literal["word", "call", "end"]) -> None:
        """An id of text was said: one of a word, the beginning of a call, which is never spoken, or the end."""
        if self.next not in ("text", "either"):
            raise ValueError(f"an id of text is said and {self.next} was next")
        if what == "end":
            self.next = "over"
        else:
            self.ids += 1
            self.silent |= what == "call"
            self.next = "text" if self.silent else "either"

    def frame(self) -> None:
        """A frame of speech was said."""
        if self.next not in ("frame", "either"):
            raise ValueError(f"a frame is said and {self.next} was next")
        self.next = "frame"

    def stop(self) -> None:
        """END was said where a frame was next: the word was said."""
        if self.next != "frame":
            raise ValueError(f"the speech is ended and {self.next} was next")
        self.next = "text"


def weave(how: How, ids: Sequence[int], frames: Sequence[int] = (), *, call: bool = False) -> list[tuple[Woven, int]]:
    """The order of a whole answer of these text ids, with so many frames after each: what each token is, and which.

    The ends are in it: ("text", len(ids)) is the end of the text, "stop" that of a word's speech.

    >>> weave("speak", [7, 8], [0, 2])
    [('text', 0), ('text', 1), ('frame', 0), ('frame', 1), ('stop', 2), ('text', 2)]
    """
    state = Answering(how)
    order: list[tuple[Woven, int]] = []
    said = spoken = 0
    while state.next != "over":
        due = spoken < sum(frames[:said])
        if state.next == "text" or (state.next == "either" and not due):
            order.append(("text", said))
            state.say("end" if said == len(ids) else "call" if call and said == 0 else "word")
            said += 1
        elif due:
            order.append(("frame", spoken))
            state.frame()
            spoken += 1
        else:
            order.append(("stop", spoken))
            state.stop()
    return order


def declared(name: str, parameters: Mapping[str, Any]) -> str:
    """A tool as the system's part names it: its name and the names of its arguments.

    >>> declared("get_weather", {"type": "object", "properties": {"city": {"type": "string"}}})
    'get_weather(city)'
    """
    return f"{name}({', '.join(parameters.get('properties') or {})})"


def called(name: str, arguments: Mapping[str, Any]) -> str:
    """A call as the model writes it after CALL."""
    return json.dumps({"name": name, "arguments": dict(arguments)}, separators=(",", ":"), ensure_ascii=False)


def call_of(text: str) -> tuple[str, str] | None:
    """The name and the arguments (JSON) of a call that was written; None if it is none.

    >>> call_of('{"name":"get_weather","arguments":{"city":"Paris"}}')
    ('get_weather', '{"city":"Paris"}')
    >>> call_of("get the weather") is None
    True
    """
    try:
        call = json.loads(text)
        if not isinstance(call, dict) or not isinstance(call.get("name"), str):
            return None
        arguments = call.get("arguments", {})
        if not isinstance(arguments, dict):
            return None
        written = json.dumps(arguments, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        f"{call['name']}{written}".encode()  # half a surrogate pair cannot be sent
    except (ValueError, RecursionError):
        return None
    return call["name"], written


def system(instructions: str, tools: Iterable[tuple[str, Mapping[str, Any]]]) -> list[tuple[str, str]]:
    """The system's part as (special, text) pairs; nothing at all where there is nothing to say.

    >>> system("Be brief.", [("get_time", {})])
    [('<|system|>', 'Be brief.'), ('<|tool|>', 'get_time()'), ('<|end|>', '')]
    """
    pairs = [(TOOL, declared(name, parameters)) for name, parameters in tools]
    if not instructions and not pairs:
        return []
    return [(SYSTEM, instructions), *pairs, (END, "")]
