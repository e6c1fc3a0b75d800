"""One session on the wire: what its client sends goes in, what it says goes out, over one connection after another."""

import asyncio
import json
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, runtime_checkable

from omni.engine.clock import Clock
from omni.engine.protocol import Closed
from omni_server.dialects.dialect import Dialect
from omni_server.limits.pace import Pace
from omni_server.session.commands import AppendAudio, Command, seconds_of_sound
from omni_server.session.events import Ended, Event, Problem, ResponseCreated, ResponseDone
from omni_server.session.session import Session
from omni_server.transport.connection import Connection, Message, Rest, SlowReader
from omni_server.transport.journal import Journal, Lost
from omni_server.transport.parking import Parking, Slip

NORMAL, GOING_AWAY, POLICY, INTERNAL, TRY_AGAIN, TOO_SLOW = 1000, 1001, 1008, 1011, 1013, 4008
FAULTS = frozenset({"error", "internal_error"})  # why a session ended, where the server is to blame
LEFT_ON_PURPOSE = frozenset({1000, 1001})  # close codes after which nobody comes back
log = logging.getLogger(__name__)


class Witness(Protocol):
    """Who sees what goes over the wire and what happens: the recorder, the metrics."""

    def client(self, message: Message) -> None:
        """A message came."""
        ...

    def server(self, message: Message) -> None:
        """A message goes."""
        ...


@runtime_checkable
class Answering(Protocol):
    """A dialect that answers some frames itself, such as a ping, but none with sound."""

    def answers(self) -> list[Message]:
        """Its answers to what was read last."""
        ...


class Talk:
    """The session and its wire, for as long as it lives; at most one connection at a time."""

    def __init__(
        self,
        session: Session,
        dialect: Dialect,
        clock: Clock,
        pace: Pace,
        *,
        journal: Journal | None = None,
        witness: Witness | None = None,
        ended: Callable[["Talk"], None] = lambda _talk: None,
        answered: Callable[[ResponseDone], None] = lambda _done: None,
    ) -> None:
        self.name = session.name
        self.session = session
        self.dialect = dialect
        self.journal = journal
        self.slip: Slip[Talk] | None = None
        self.parking: Parking[Talk] | None = None
        self.received = 0  # messages of the client that were taken, each to be done whatever becomes of its connection
        self.answering = 0  # responses that are open
        self.draining = False
        self.why = "client"  # it ended
        self.begun = clock.now()
        self._clock = clock
        self._pace = pace
        self._witness = witness
        self._ended = ended
        self._answered = answered
        self._owed = 0.0  # s to wait before more sound is taken
        self._link: Connection | None = None
        self._newest: Connection | None = None  # the last that there was: no other one is read
        self._linked = asyncio.Event()
        self._readers: set[asyncio.Task[None]] = set()
        self._reading = asyncio.Lock()
        self._over = False
        self._held_up = False  # an event waits for a client that reads slowly
        session.straight(self)
        self._writer = asyncio.create_task(self._write(), name=f"writer of {session.name}")
        self._closing: asyncio.Task[None] | None = None
        self._answering = dialect if isinstance(dialect, Answering) else None

    # One connection

    async def carry(self, connection: Connection, received: int | None = None, token: str = "") -> None:
        """Talk over this connection until it is gone; a client that resumes with `token` has `received` messages."""
        if self._over:  # since it was let in
            return
        if received is not None and self.journal is not None:
            try:
                self._again(connection, received, token)
            except Lost as lost:  # since it was let in; the session goes on waiting
                await connection.close(POLICY, str(lost)[:100])
                return
        if self.slip is not None and self.parking is not None:
            self.parking.unpark(self.slip)
        if self._link is not None:  # the client comes back before its old connection was missed
            self._link.cut_off()
        self._link = self._newest = connection
        self._linked.set()
        reader = asyncio.create_task(self._read(connection), name=f"reader of {self.name}")
        self._readers.add(reader)
        reader.add_done_callback(self._readers.discard)
        gone = asyncio.create_task(connection.wait_closed(), name=f"connection of {self.name}")
        try:
            await asyncio.wait({reader, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            if self._link is connection:
                self._link = None
                self._linked.clear()
                self._lost(connection)

    def _again(self, connection: Connection, received: int, used: str) -> None:
        assert self.slip is not None
        assert self.journal is not None
        lacking = self.journal.after(received)  # raises Lost before anything was sent
        token = self.slip.rotate(used)
        connection.put(control("transport.resumed", token=token, received=self.received))
        for message in lacking:
            connection.put(message)

    async def _read(self, connection: Connection) -> None:
        """Do what comes over this connection, also what waits when it is lost, until the client comes over another."""
        try:
            async with self._reading:  # what was taken from the connection before is done first
                connection.prompt = partial(self._prompt, connection)
                while (message := await connection.next_or_rest()) is not None and not self._over:
                    if isinstance(message, list):
                        await self._do(message)
                    elif self._newest is connection:
                        await self._do(self._take(message))
                    else:
                        return  # it does not count, so the client sends it again
        except Closed:
            return
        except Exception:
            log.exception("a message could not be handled", extra={"session": self.name})
            self.end("error")

    def _take(self, message: Message) -> list[Command]:
        """What a message wants. It counts from here on: a client that comes back meanwhile must not send it again."""
        if self._witness is not None:
            self._witness.client(message)
        commands: list[Command] = self.dialect.read(message)
        self.received += 1
        if self.slip is not None:
            self.slip.confirm()  # whoever speaks here has read the token that came first
        return commands

    async def _do(self, commands: list[Command]) -> None:
        for command in commands:
            if self._owed:
                owed, self._owed = self._owed, 0.0
                await self._clock.sleep(owed)
            self._spend(command)
            await self.session.handle(command)
        if self._answer() and self._link is not None and self._link.overfull:  # who asks and does not read
            await self._wait_for_reader(self._link)

    def _prompt(self, connection: Connection, message: Message) -> Message | Rest | None:
        """Sound that nothing waits before goes all the way at once: three rounds of the event loop less for a frame."""
        if self._owed or self._over or self._link is not connection or not self.session.prompt:
            return message
        try:
            commands = self._take(message)
            if len(commands) != 1 or type(commands[0]) is not AppendAudio:
                return commands
            self._spend(commands[0])
            self.session.handle_now(commands[0])
        except Exception:
            log.exception("a message could not be taken", extra={"session": self.name})
            self.end("error")
        return None

    def _spend(self, command: Command) -> None:
        if seconds := seconds_of_sound(command):
            self._owed = self._pace.take(seconds, self._clock.now)

    def _answer(self) -> bool:
        """Send what the dialect itself has to say to a message that is done; whether that was anything."""
        answers = self._answering.answers() if self._answering is not None else []
        for answer in answers:
            self._send(answer)
        return bool(answers)

    def _lost(self, connection: Connection) -> None:
        code = connection.protocol.close_rcvd
        on_purpose = code is not None and code.code in LEFT_ON_PURPOSE
        if self._over or on_purpose or self.slip is None or self.journal is None or self.parking is None:
            self.end()
            return
        if self.draining:  # nobody is let in to come back
            self.end("restarting")
            return
        self.journal.park()
        if self.parking.park(self.slip, lambda: self.end("nobody came back")):
            log.info("connection lost, the session waits", extra={"session": self.name})
        else:
            self.end("no place to wait")

    # What the session says

    async def _write(self) -> None:
        try:
            async for event in self.session.events():
                for message in self.dialect.write(event):
                    self._send(message)
                link = self._link
                if link is not None:
                    if link.clogged:
                        self._held_up = True
                        await self._wait_for_reader(link)
                        self._held_up = False
                elif self.journal is not None:
                    self._held_up = True
                    while self._link is None and self.journal.full:
                        await self._linked.wait()
                    self._held_up = False
                match event:
                    case ResponseCreated():
                        self.answering += 1
                    case ResponseDone():
                        self.answering -= 1
                        self._answered(event)
                        if self.draining and not self.answering:
                            self.leave("restarting")
                    case Ended(code=code):
                        self.why = code
        except Exception:
            log.exception("a session's events could not be written", extra={"session": self.name})
            self.why = "error"
        self.end()

    def ready(self) -> bool:
        """Whether sound may go past the queue of events."""
        link = self._link
        return link is not None and not self._held_up and not link.paused and not link.transport.is_closing()

    def take(self, event: Event) -> None:
        """Sound, past the queue."""
        for message in self.dialect.write(event):
            self._send(message)

    def _send(self, message: Message) -> None:
        if self._witness is not None:
            self._witness.server(message)
        if self.journal is not None:
            self.journal.add(message)
        if self._link is not None:
            self._link.put(message)

    async def _wait_for_reader(self, link: Connection) -> None:
        try:
            await link.unclog()
        except SlowReader as slow:
            log.warning("a client does not read: %s", slow, extra={"session": self.name})
            self.why = "slow reader"
            link.cut_off()
        except ConnectionError:
            pass  # the reading side sees it too

    # The end

    def leave(self, why: str) -> None:
        """End it in good order: the client is told that the server goes away."""
        self.end(why, GOING_AWAY)

    def say(self, problem: Problem) -> None:
        """Tell the client what the session itself does not know."""
        for message in self.dialect.write(problem):
            self._send(message)

    def end(self, why: str | None = None, code: int = NORMAL) -> None:
        """It is over; ending twice is ending once."""
        if self._over:
            return
        self._over = True
        self.why = why or self.why
        self._closing = asyncio.create_task(self._end(code), name=f"end of {self.name}")

    async def _end(self, code: int) -> None:
        if self.slip is not None and self.parking is not None:
            self.parking.forget(self.slip)
        link = self._link
        try:
            if link is not None and not link.cut:
                closing = asyncio.create_task(link.close(INTERNAL if self.why in FAULTS else code, self.why[:100]))
            else:
                closing = None
            readers = set(self._readers)
            for reader in readers:
                reader.cancel()  # what waits is for nobody
            await self.session.close()
            if self._writer is not asyncio.current_task():
                self._writer.cancel()
                await asyncio.wait({self._writer, *readers})
            if closing is not None:
                await asyncio.wait({closing})
        except Exception:
            log.exception("a session did not close", extra={"session": self.name})
        finally:
            self._ended(self)

    async def gone(self) -> None:
        """Wait until it is over and holds nothing any more."""
        while self._closing is None:
            await asyncio.wait({self._writer})
            await asyncio.sleep(0)
        await asyncio.shield(self._closing)


def control(kind: str, **about: Any) -> str:
    """A message of the transport itself, which only clients get that asked to be able to resume."""
    return json.dumps({"type": kind, **about})
