"""A recorded session, read back: who said what and when; and the same said once more to a server."""

import asyncio
import json
from collections.abc import Container, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np
from numpy.typing import NDArray

from omni_server.client import events
from omni_server.client.link import Socket, address
from omni_server.client.wire import BadMessage, Message, Wire
from omni_server.client.wire_omni import OmniV1
from omni_server.client.wire_realtime import Realtime
from omni_server.compare.recorded_sound import Heard, Spoken
from omni_server.record.recorder import replay
from omni_tokenizers.audio.resampler import resample

PAUSE = 0.2  # s: a shorter gap is the network's, not the speaker's
LISTENS = 20.0  # s that answers may take after the last message
OURS = ("truncate", "played", "show", "forget", "ping")  # of omni.v1: name things that only that session had
THEIRS = ("conversation.item.truncate", "conversation.item.retrieve", "conversation.item.delete")
Wave = NDArray[np.float32]


@dataclass
class Side:
    """What one side said, in pieces of sound, each with the second at which it went over the wire.

    A piece that is None is where everything stopped that was still to be heard.
    """

    pieces: list[tuple[float, Wave | None]] = field(default_factory=list)
    rate: int = 0  # Hz, of its first piece

    def add(self, second: float, wave: Wave, rate: int) -> None:
        """Another piece."""
        if len(wave):
            self.rate = self.rate or rate
            self.pieces.append((second, resample(wave, rate, self.rate)))

    def mixed(self) -> Wave:
        """All of it on one line: a piece follows the one before it, unless there was a pause in between."""
        end = 0  # samples
        placed: list[tuple[int, Wave]] = []
        for second, wave in self.pieces:
            due = round(second * self.rate)
            if wave is None:
                placed = [(at, heard[: due - at]) for at, heard in placed if at < due]
                end = min(end, due)
                continue
            end = due if due - end > PAUSE * self.rate else end
            placed.append((end, wave))
            end += len(wave)
        line = np.zeros(end, np.float32)
        for at, wave in placed:
            line[at : at + len(wave)] = wave
        return line


@dataclass
class Told:
    """One answer of a session."""

    id: str
    started: float  # s since the session began
    text: str = ""
    question: str | None = None
    first_sound: float | None = None  # s since the session began
    status: str = "in_progress"
    total_ms: float | None = None  # of the server's waterfall


@dataclass
class Session:
    """A recorded session."""

    path: Path
    dialect: str
    about: dict[str, Any]
    messages: list[tuple[float, str, Message]]
    answers: list[Told] = field(default_factory=list)
    user: Side = field(default_factory=Side)
    assistant: Side = field(default_factory=Side)

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return self.messages[-1][0] if self.messages else 0.0


def sessions(paths: Sequence[str | Path]) -> tuple[list[Session], list[str]]:
    """Every recorded session in these folders and files, and what is wrong with others; raises ValueError for none."""
    files: list[Path] = []
    for path in map(Path, paths):
        if not path.exists():
            raise ValueError(f"no file or folder at {path}: `omni serve --record DIR` makes one")
        files += sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    if not files:
        raise ValueError(
            f"{', '.join(map(str, paths))} holds no recorded session: `omni serve --record DIR` makes them"
        )
    found: list[Session] = []
    wrong: list[str] = []
    for file in files:
        try:
            found.append(read(file))
        except ValueError as no:
            wrong.append(str(no))
    if not found:
        raise ValueError(wrong[0])
    return found, wrong


def read(path: Path) -> Session:
    """One session."""
    try:
        with path.open(encoding="utf-8") as file:
            about = json.loads(file.readline())
        dialect = str(about["dialect"])
        messages = list(replay(path))
    except (ValueError, KeyError, TypeError) as wrong:
        raise ValueError(f"{path} is no recorded session ({wrong}): `omni serve --record DIR` makes them") from None
    session = Session(path, dialect, about, messages)
    wire, heard, spoken = wire_of(dialect, path), Heard(dialect), Spoken()
    for second, side, message in messages:
        if side == "client":
            for wave, rate in heard.pieces(message):
                session.user.add(second, wave, rate)
            continue
        session.assistant.add(second, *spoken.piece(message))
        with suppress(BadMessage):
            for event in wire.read(message):
                note(session.answers, event, second)
                match event:
                    case events.SpeechStarted() | events.AnswerDone(status="cancelled"):
                        session.assistant.pieces.append((second, None))
                    case _:
                        pass
    return session


def wire_of(dialect: str, path: Path) -> Wire:
    """The wire of a recording."""
    if dialect not in ("omni.v1", "realtime"):
        raise ValueError(f"{path} was recorded over {dialect!r}: omni.v1 and realtime can be read")
    return OmniV1() if dialect == "omni.v1" else Realtime()


def note(answers: list[Told], event: events.Event, second: float) -> None:
    """Keep what an event says about an answer."""
    match event:
        case events.AnswerStarted(answer=name):
            answers.append(Told(name, second))
        case events.Heard(text=text, final=True) if answers:
            answers[-1].question = text
        case events.Words(answer=name, text=text):
            for one in _named(answers, name):
                one.text += text
        case events.Sound(answer=name):
            for one in _named(answers, name):
                one.first_sound = second if one.first_sound is None else one.first_sound
        case events.AnswerDone(answer=name):
            for one in _named(answers, name):
                one.status = event.status
                one.total_ms = None if event.latency is None else float(event.latency["total_ms"])
        case _:
            pass


async def again(session: Session, url: str, key: str | None) -> list[Told]:
    """Say to a server what the client said then, at the same pace; its answers. Raises `Refusal`.

    The engine that answered then answers again, where the server has it and `url` names no other one.
    """
    wire = wire_of(session.dialect, session.path)
    model = dict(parse_qsl(urlsplit(url).query)).get("model") or session.about.get("model")
    link = Socket(address(url, wire, model), wire, key=key, resumable=False, patience=15.0)
    await link.open()
    loop = asyncio.get_running_loop()
    begin = loop.time()
    answers: list[Told] = []
    own = named(session.messages)

    async def listen() -> None:
        while (message := await link.receive()) is not None:
            if isinstance(message, str | bytes):
                with suppress(BadMessage):
                    for event in wire.read(message):
                        note(answers, event, loop.time() - begin)

    listening = asyncio.ensure_future(listen())
    try:
        for second, side, message in session.messages:
            if side == "client" and (repeated := said_again(message, own)) is not None:
                await asyncio.sleep(max(0.0, begin + second - loop.time()))
                await link.send(repeated)
        wanted = sum(one.status != "cancelled" for one in session.answers)
        async with asyncio.timeout(LISTENS):
            while sum(one.status not in ("in_progress", "cancelled") for one in answers) < wanted:
                if listening.done():
                    await listening
                    break
                await asyncio.wait({listening}, timeout=0.05)
    except TimeoutError:
        pass  # fewer answers than then: the caller shows which
    finally:
        await link.close()
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    return answers


def _named(answers: list[Told], name: str) -> Iterator[Told]:
    return (one for one in answers if one.id == name)


def named(messages: Sequence[tuple[float, str, Message]]) -> set[str]:
    """The ids that a client gave to items of its own; another session knows them too."""
    found = set()
    for _, side, message in messages:
        if side == "client" and isinstance(message, str):
            with suppress(ValueError, KeyError, TypeError):
                said = json.loads(message)
                found.add(str(said["item"]["id"] if said["type"] == "conversation.item.create" else said["id"]))
    return found


def said_again(message: Message, own: Container[str] = ()) -> Message | None:
    """What a client sent, for another session: without what only the first one had; None if nothing is left.

    `own` are the ids that the client itself gave to items.
    """
    if isinstance(message, bytes):
        return message
    try:
        said = json.loads(message)
        kind = said.get("type")
    except (ValueError, AttributeError):
        return message
    if kind in (*OURS, *THEIRS):
        return None
    match kind:
        case "response.cancel" | "cancel":  # whatever is being answered now
            return json.dumps({"type": kind})
        case "respond":
            return _answered_again(message, said, said, "context", own)
        case "response.create":
            return _answered_again(message, said, said.get("response"), "input", own)
        case "say":
            place = "after"
        case "conversation.item.create":
            place = "previous_item_id"
        case _:
            return message
    behind = said.get(place)
    if not isinstance(behind, str) or behind == "root" or behind in own:
        return message
    return json.dumps({name: value for name, value in said.items() if name != place}, ensure_ascii=False)


def _answered_again(message: Message, said: Any, wish: Any, place: str, own: Container[str]) -> Message:
    """A wish for an answer, without the items in its own input that only the first session had."""
    given = wish.get(place) if isinstance(wish, dict) else None
    if not isinstance(given, list):
        return message
    kept = [one for one in given if (name := _referred(one)) is None or name in own]
    if len(kept) == len(given):
        return message
    wish[place] = kept
    return json.dumps(said, ensure_ascii=False)


def _referred(one: Any) -> str | None:
    """The item that an entry of an answer's own input refers to."""
    if not isinstance(one, dict):
        return None
    name = one.get("id") if one.get("type") == "item_reference" else one.get("item")
    return name if isinstance(name, str) else None
