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


@dataclass(frozen=True)
class Script:
    """How text and speech take turns in a spoken answer.

    Word by word, the model says the ids of a word and then what it sounds like, which END closes; so it always knows
    where in the text it is. Or by runs that have a length: text leads, and END closes all of the speech.
    """

    text: int = 0  # ids in a run of text; 0: word by word
    frames: int = 0  # frames in a run of speech, while there is text to come

    def __post_init__(self) -> None:
        if min(self.text, self.frames) < 0 or (self.text > 0) != (self.frames > 0):
            raise ValueError(
                f"runs of {self.text} ids and {self.frames} frames cannot be: both are 0, word by word, or neither"
            )

    @property
    def by_words(self) -> bool:
        """Whether speech stands behind the word that it says."""
        return not self.text

    @property
    def steps(self) -> float:
        """Steps of the model for each frame of speech; word by word about one more for every four frames."""
        return 1 + (0.25 if self.by_words else self.text / self.frames)


@dataclass
class Answering:
    """Where an answer stands: what may come next. One object for every answer, told of all that is said.

    >>> answer = Answering(Script(), "speak")
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

    script: Script
    how: How
    next: Next = field(init=False)
    text_over: bool = field(init=False)
    frames_over: bool = field(init=False)
    ids: int = field(default=0, init=False)  # of text that were said, the end not counted
    run: int = field(default=0, init=False)  # tokens of the kind that was said last

    def __post_init__(self) -> None:
        self.text_over = self.how == "read" and not self.script.by_words
        self.frames_over = self.how in ("answer", "transcribe")
        self.next = "frame" if self.text_over else "text"

    def say(self, what: Literal["word", "call", "end"]) -> None:
        """An id of text was said: one of a word, the beginning of a call, or the end of the text."""
        if self.next not in ("text", "either"):
            raise ValueError(f"an id of text is said and {self.next} was next")
        if what == "call":
            self.frames_over = True  # a call is never spoken
        if what == "end":
            self.text_over = True
            if self.ids == 0 or self.script.by_words:
                self.frames_over = True  # nothing to say, or all of it was said
        else:
            self.ids += 1
        self._go_on("text")

    def frame(self) -> None:
        """A frame of speech was said."""
        if self.next not in ("frame", "either"):
            raise ValueError(f"a frame is said and {self.next} was next")
        self._go_on("frame")

    def stop(self) -> None:
        """END was said where a frame was next: there is no more speech, of this word or of all."""
        if self.next != "frame":
            raise ValueError(f"the speech is ended and {self.next} was next")
        self.frames_over = not self.script.by_words
        self._go_on("stop")

    def _go_on(self, said: Woven) -> None:
        self.run += 1
        if self.text_over or self.frames_over:
            following: Next = "over" if self.text_over and self.frames_over else "frame" if self.text_over else "text"
        elif self.script.by_words:
            following = "either" if said == "text" else "frame" if said == "frame" else "text"
        elif self.run < (self.script.text if said == "text" else self.script.frames):
            following = self.next
        else:
            following = "frame" if said == "text" else "text"
        if following != self.next:
            self.next, self.run = following, 0


def weave(
    script: Script, how: How, ids: Sequence[int], frames: Sequence[int] = (), *, call: bool = False
) -> list[tuple[Woven, int]]:
    """The order of a whole answer of these text ids, with so many frames for each: what each token is, and which.

    The ends are in it: ("text", len(ids)) is the end of the text, "stop" one of speech.

    >>> weave(Script(), "speak", [7, 8, 9], [0, 2, 1])[:6]
    [('text', 0), ('text', 1), ('frame', 0), ('frame', 1), ('stop', 2), ('text', 2)]
    >>> weave(Script(text=2, frames=2), "speak", [7, 8, 9], [2, 1, 0])  # what counts here is how many there are in all
    [('text', 0), ('text', 1), ('frame', 0), ('frame', 1), ('text', 2), ('text', 3), ('frame', 2), ('stop', 3)]
    """
    state = Answering(script, how)
    order: list[tuple[Woven, int]] = []
    said = spoken = 0
    while state.next != "over":
        due = spoken < sum(frames[:said] if script.by_words else frames)
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
