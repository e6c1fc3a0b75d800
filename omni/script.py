"""How a conversation is written as one sequence, and what an answer may say next.

    <|system|> Be brief. <|tool|> get_weather(city) <|end|>
    <|user|> ♪♪♪♪♪♪ ▦▦▦▦ how many?  <|speak|> four words of text, sixteen frames of speech, … <|end|> frames … <|end|>
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
READ = "<|read|>"  # say what was written, in speech alone
CALL = "<|call|>"  # as the first of an answer: a tool is called, its JSON follows
MORE = "<|more|>"  # never in a sequence: the choice of another frame, against END
END = "<|end|>"  # of the text of an answer; of its speech; of the system's part
SPECIALS = (SYSTEM, TOOL, USER, RESULT, ANSWER, SPEAK, TRANSCRIBE, READ, CALL, MORE, END)

How = Literal["answer", "speak", "transcribe", "read"]
OPENS: dict[How, str] = {"answer": ANSWER, "speak": SPEAK, "transcribe": TRANSCRIBE, "read": READ}
Next = Literal["text", "frame", "over"]
Calls = Literal["no", "may", "must"]  # whether an answer is a call of a tool


@dataclass(frozen=True)
class Script:
    """How text and speech take turns in a spoken answer. Text leads, since a word is longer to hear than to read."""

    text: int = 4  # ids in a run of text
    frames: int = 16  # frames in a run of speech, while there is text to come


@dataclass
class Answering:
    """Where an answer stands: what may come next. One object for every answer, told of all that is said.

    >>> answer = Answering(Script(text=1, frames=2), "speak")
    >>> said = []
    >>> while answer.next != "over":
    ...     said.append(answer.next)
    ...     if answer.next == "text":
    ...         answer.say("word" if said.count("text") < 3 else "end")
    ...     else:
    ...         answer.frame() if said.count("frame") < 6 else answer.stop()
    >>> " ".join(said)
    'text frame frame text frame frame text frame frame'
    """

    script: Script
    how: How
    next: Next = field(init=False)
    text_over: bool = field(init=False)
    frames_over: bool = field(init=False)
    ids: int = field(default=0, init=False)  # of text that were said, the end not counted
    run: int = field(default=0, init=False)  # ids or frames in the run that goes on

    def __post_init__(self) -> None:
        self.text_over = self.how == "read"
        self.frames_over = self.how in ("answer", "transcribe")
        self.next = "frame" if self.text_over else "text"

    def say(self, what: Literal["word", "call", "end"]) -> None:
        """An id of text was said: one of a word, the beginning of a call, or the end of the text."""
        if self.next != "text":
            raise ValueError(f"an id of text is said and {self.next} was next")
        if what == "call":
            self.frames_over = True  # a call is never spoken
        if what == "end":
            self.text_over = True
            if self.ids == 0:
                self.frames_over = True  # nothing to say
        else:
            self.ids += 1
            self.run += 1
        self._go_on()

    def frame(self) -> None:
        """A frame of speech was said."""
        if self.next != "frame":
            raise ValueError(f"a frame is said and {self.next} was next")
        self.run += 1
        self._go_on()

    def stop(self) -> None:
        """END was said where a frame was next: there is no more speech."""
        if self.next != "frame":
            raise ValueError(f"the speech is ended and {self.next} was next")
        self.frames_over = True
        self._go_on()

    def _go_on(self) -> None:
        before = self.next
        if self.text_over and self.frames_over:
            self.next = "over"
        elif self.text_over or self.frames_over:
            self.next = "frame" if self.text_over else "text"
        elif self.run >= (self.script.text if before == "text" else self.script.frames):
            self.next = "frame" if before == "text" else "text"
        if self.next != before:
            self.run = 0


def weave(script: Script, how: How, ids: Sequence[int], frames: int, *, call: bool = False) -> list[tuple[Next, int]]:
    """The order of a whole answer of these text ids and so many frames: what each token is, and which of its kind.

    The ends are in it: ("text", len(ids)) is the end of the text, ("frame", frames) that of the speech.

    >>> weave(Script(text=2, frames=2), "speak", [7, 8, 9], 3)
    [('text', 0), ('text', 1), ('frame', 0), ('frame', 1), ('text', 2), ('text', 3), ('frame', 2), ('frame', 3)]
    """
    state = Answering(script, how)
    order: list[tuple[Next, int]] = []
    said = spoken = 0
    while state.next != "over":
        if state.next == "text":
            order.append(("text", said))
            state.say("end" if said == len(ids) else "call" if call and said == 0 else "word")
            said += 1
        else:
            order.append(("frame", spoken))
            if spoken == frames:
                state.stop()
            else:
                state.frame()
            spoken += 1
    return order


def declared(name: str, parameters: Mapping[str, Any]) -> str:
    """A tool as the system's part names it: its name and the names of its arguments.

    >>> declared("get_weather", {"type": "object", "properties": {"city": {"type": "string"}}})
    'get_weather(city)'
    """
    return f"{name}({', '.join(parameters.get('properties', {}))})"


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
    except ValueError:
        return None
    if not isinstance(call, dict) or not isinstance(call.get("name"), str):
        return None
    arguments = call.get("arguments", {})
    if not isinstance(arguments, dict):
        return None
    return call["name"], json.dumps(arguments, separators=(",", ":"), ensure_ascii=False)


def system(instructions: str, tools: Iterable[tuple[str, Mapping[str, Any]]]) -> list[tuple[str, str]]:
    """The system's part as (special, text) pairs; nothing at all where there is nothing to say.

    >>> system("Be brief.", [("get_time", {})])
    [('<|system|>', 'Be brief.'), ('<|tool|>', 'get_time()'), ('<|end|>', '')]
    """
    pairs = [(TOOL, declared(name, parameters)) for name, parameters in tools]
    if not instructions and not pairs:
        return []
    return [(SYSTEM, instructions), *pairs, (END, "")]
