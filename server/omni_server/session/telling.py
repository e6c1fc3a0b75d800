"""What the engine is told: in order, and again where the conversation was changed behind its back.

An engine keeps the conversation itself and can only be told more. So the turn that is open can be told anew after a
`Discard`; for a change further back a new session of the engine is opened and everything is told again.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from omni.engine.protocol import (
    SAMPLE_RATE,
    AudioIn,
    Begin,
    Cancel,
    Configure,
    Discard,
    EndOfTurn,
    ImageIn,
    Origin,
    SessionSpec,
    TextIn,
    Unit,
)
from omni_server.session.items import FunctionResult, ImagePart, Item, Message, TextPart

PIECE = SAMPLE_RATE  # samples of earlier audio told at once
FULL_SCALE = 32_768


@dataclass(frozen=True)
class Reopen:
    """Leave this session of the engine and open another."""

    spec: SessionSpec


@dataclass(frozen=True)
class Wait:
    """Tell nothing more before this response is over."""

    response: str


Task = Unit | Reopen | Wait


def units_of(item: Item) -> list[Unit]:
    """An item as the engine is told of it.

    >>> units_of(FunctionResult("i", "call_1", "sunny"))
    [TextIn(text='sunny', role='tool', call='call_1')]
    """
    if isinstance(item, FunctionResult):
        return [TextIn(item.output, "tool", item.call)]
    if not isinstance(item, Message):
        return []  # the engine called it, or cannot be told that it did
    found: list[Unit] = []
    for part in item.parts:
        if isinstance(part, TextPart):
            found.append(TextIn(part.text, item.role))
        elif isinstance(part, ImagePart):
            found += [ImageIn(part.pixels)] if part.pixels is not None else []
        elif part.samples is not None:
            wave = part.samples * np.float32(1 / FULL_SCALE)
            found += [AudioIn(wave[at : at + PIECE]) for at in range(0, len(wave), PIECE)]
        elif part.transcript:
            found.append(TextIn(part.transcript, item.role))
    return found


@dataclass
class Telling:
    """The units that wait for the engine, and what its open turn consists of."""

    spec: SessionSpec | None  # as last told; None where the engine did not take it
    units: deque[Task] = field(default_factory=deque)
    turn: list[Item] = field(default_factory=list)  # committed since the last end of a turn
    loose: Callable[[], NDArray[np.float32]] = lambda: np.empty(0, np.float32)  # audio told and not committed
    stale: bool = False  # the engine remembers another conversation
    begun: Origin | None = None  # prepared, and not yet asked for

    def audio(self, wave: NDArray[np.float32]) -> None:
        """More of the user's speech."""
        if len(wave):
            self.begun = None
            self.units.append(AudioIn(wave))

    def item(self, item: Item) -> None:
        """A new item at the end of the conversation; speech that is not committed yet stays behind it."""
        self.begun = None
        self.turn.append(item)
        loose = self.loose()
        if len(loose):
            self.again(loose)
        else:
            self.units += units_of(item)

    def committed(self, item: Item) -> None:
        """What was told as loose audio is this item."""
        self.turn.append(item)

    def again(self, loose: NDArray[np.float32] | None = None) -> None:
        """Tell the open turn anew, with such loose audio behind it."""
        self.begun = None
        self.units.append(Discard())
        for item in self.turn:
            self.units += units_of(item)
        if loose is not None and len(loose):
            self.units += [AudioIn(loose[at : at + PIECE]) for at in range(0, len(loose), PIECE)]

    def begin(self, origin: Origin, spec: SessionSpec) -> None:
        """Prepare an answer."""
        self._configure(spec)
        self.units.append(Begin(origin))
        self.begun = origin

    def end_turn(self, origin: Origin, spec: SessionSpec, conversation: Iterable[Item]) -> None:
        """Answer. `conversation` is all that was said, in case that the engine has to be told."""
        if self.begun != origin:
            if self.stale:
                self.reopen(spec, conversation)
            else:
                self._configure(spec)
                if len(self.loose()):
                    self.again()
        self.units.append(EndOfTurn(origin))
        begun, self.begun = self.begun, None
        self.turn = []
        if begun != origin and len(loose := self.loose()):
            self.audio(loose)

    def cancel(self, heard: float | None) -> None:
        """Stop answering, or: of the last answer only so much was heard. Either takes back what was prepared."""
        self.begun = None
        self.units.append(Cancel(heard))

    def reopen(self, spec: SessionSpec, conversation: Iterable[Item]) -> None:
        """A new session of the engine that knows this conversation."""
        self.units.append(Reopen(spec))
        self.spec, self.stale, self.begun = spec, False, None
        for item in conversation:
            self.units += units_of(item)

    def holds(self, names: Sequence[str]) -> bool:
        """Whether all of these are of the open turn."""
        held = {item.id for item in self.turn}
        return all(name in held for name in names)

    def not_configured(self) -> list[str]:
        """The engine did not take the settings: nothing is answered with the old ones, and they are told again.

        The responses that waited for them come back.
        """
        self.spec = self.begun = None
        ends = [unit.origin.response for unit in self.units if isinstance(unit, EndOfTurn)]
        kept = [unit for unit in self.units if not isinstance(unit, Begin | EndOfTurn)]
        self.units.clear()
        self.units += kept
        return ends

    def _configure(self, spec: SessionSpec) -> None:
        if spec != self.spec:
            self.units.append(Configure(spec))
            self.spec = spec
