"""`--record DIR`: every session as it went over the wire, one file each, so that it can be played again.

DIR/20261121-043000-sess_….jsonl begins with a line about the session; then each message is a line:
{"t": seconds, "from": "client" or "server", "text": …} or {…, "bytes": base64}. Writing happens in a thread, line by
line; when the disk is slower than the sessions, or full, what is not written is counted in the last line, and no
session waits.
"""

import asyncio
import base64
import json
import logging
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from omni.engine.clock import Clock
from omni_server.transport.connection import Message

WAITING = 20_000  # lines that may wait for the disk
PATIENCE_S = 10.0  # with a disk that does not answer, at the end
PRIVATE = 0o700  # what people said is for the owner alone
log = logging.getLogger(__name__)


@dataclass
class Recording:
    """One session."""

    path: Path
    _begin: float
    _now: Callable[[], float]
    _lines: "queue.Queue[tuple[Recording, str | None]]"
    lost: int = 0
    _file: TextIO | None = field(default=None, repr=False)

    def client(self, message: Message) -> None:
        """A message came."""
        self._add("client", message)

    def server(self, message: Message) -> None:
        """A message goes."""
        self._add("server", message)

    def close(self) -> None:
        """Nothing more comes."""
        self._put(json.dumps({"t": self._at(), "end": True, "lost": self.lost}))
        self._put(None)

    def _add(self, side: str, message: Message) -> None:
        content = {"text": message} if isinstance(message, str) else {"bytes": base64.b64encode(message).decode()}
        self._put(json.dumps({"t": self._at(), "from": side, **content}, ensure_ascii=False))

    def _at(self) -> float:
        return round(self._now() - self._begin, 6)

    def _put(self, line: str | None) -> None:
        try:
            self._lines.put_nowait((self, line))
        except queue.Full:
            self.lost += 1

    def write(self, line: str | None) -> None:
        """In the thread: a line, or the end."""
        if line is None:
            if self._file is not None:
                self._file.close()
                self._file = None
            return
        if self._file is None:
            self._file = self.path.open("a", encoding="utf-8", errors="replace", buffering=1)
        self._file.write(line + "\n")


class Recorder:
    """The folder, and the thread that writes into it."""

    def __init__(self, folder: Path, waiting: int = WAITING, patience_s: float = PATIENCE_S) -> None:
        self._folder = folder
        self._patience_s = patience_s
        self._lines: queue.Queue[tuple[Recording, str | None] | None] = queue.Queue(waiting)
        self._thread = threading.Thread(target=self._write, name="recorder", daemon=True)
        self._thread.start()

    @classmethod
    def into(cls, folder: str) -> "Recorder":
        """Keep sessions in this folder; it is made when it is not there."""
        path = Path(folder)
        path.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
        return cls(path)

    def begin(self, session: str, *, dialect: str, model: str, clock: Clock) -> Recording:
        """A session begins."""
        stamp = time.strftime("%Y%m%d-%H%M%S")
        path = self._folder / f"{stamp}-{re.sub(r'[^A-Za-z0-9_-]', '', session)}.jsonl"
        recording = Recording(path, clock.now(), clock.now, self._lines)  # type: ignore[arg-type]  # None ends the thread
        about = {"session": session, "dialect": dialect, "model": model, "began": round(time.time(), 3), "version": 1}
        recording._put(json.dumps(about))
        return recording

    async def close(self) -> None:
        """Write what waits, and end the thread; what the disk does not take in time is given up."""
        await asyncio.to_thread(self._finish)

    def _finish(self) -> None:
        until = time.monotonic() + self._patience_s
        with suppress(queue.Full):
            self._lines.put(None, timeout=self._patience_s)
        self._thread.join(max(0.0, until - time.monotonic()))
        if self._thread.is_alive():
            log.error("the disk takes no more: what waited is not recorded", extra={"file": str(self._folder)})

    def _write(self) -> None:
        while (found := self._lines.get()) is not None:
            recording, line = found
            try:
                recording.write(line)
            except Exception as error:  # whatever it is, the other sessions are recorded
                if not recording.lost:
                    log.error("a session cannot be recorded: %s", error, extra={"file": str(recording.path)})
                recording.lost += 1


def replay(path: str | Path) -> Iterator[tuple[float, str, Message]]:
    """The messages of a recording: when, from whom, and what. A last line that is still being written is left out."""
    with Path(path).open(encoding="utf-8") as file:
        for line in file:
            if not line.endswith("\n"):
                return
            said: dict[str, Any] = json.loads(line)
            if "from" in said:
                message = said["text"] if "text" in said else base64.b64decode(said["bytes"])
                yield said["t"], said["from"], message
