"""`--record DIR`: every session as it went over the wire, one file each, so that it can be played again.

DIR/20261121-043000-sess_….jsonl begins with a line about the session; then each message is a line:
{"t": seconds, "from": "client" or "server", "text": …} or {…, "bytes": base64}. Writing happens in a thread, line by
line; when the disk is slower than the sessions, or full, what is not written is counted in the last line, and no
session waits.
"""

import asyncio
import base64
import errno
import json
import logging
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from omni.engine.clock import Clock
from omni_server.transport.connection import Message

WAITING = 64 << 20  # characters of lines that may wait for the disk
PATIENCE_S = 10.0  # with a disk that does not answer, at the end
PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600  # what people said is for the owner alone
log = logging.getLogger(__name__)


class Lines:
    """What waits for the disk: lines up to so many characters; the end of a recording (None) always has its place."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._queue: SimpleQueue[tuple[Recording, str | None] | None] = SimpleQueue()
        self._came = 0  # characters; the event loop counts
        self._went = 0  # characters; the thread counts

    def put(self, recording: "Recording", line: str | None) -> bool:
        """Whether there was room."""
        size = len(line or "")
        if size and self._came - self._went + size > self._most:
            return False
        self._came += size
        self._queue.put((recording, line))
        return True

    def end(self) -> None:
        """Nothing more comes."""
        self._queue.put(None)

    def __iter__(self) -> Iterator[tuple["Recording", str | None]]:
        """In the thread: each as it comes, until the end."""
        while (found := self._queue.get()) is not None:
            self._went += len(found[1] or "")
            yield found


@dataclass
class Recording:
    """One session."""

    path: Path
    _head: str
    _begin: float
    _now: Callable[[], float]
    _lines: Lines
    lost: int = 0
    _ended: float = 0.0
    _file: FileIO | None = field(default=None, repr=False)
    _whole: int = 0  # bytes of lines in it

    def client(self, message: Message) -> None:
        """A message came."""
        self._add("client", message)

    def server(self, message: Message) -> None:
        """A message goes."""
        self._add("server", message)

    def close(self) -> None:
        """Nothing more comes."""
        self._ended = self._at()
        self._lines.put(self, None)

    def _add(self, side: str, message: Message) -> None:
        content = {"text": message} if isinstance(message, str) else {"bytes": base64.b64encode(message).decode()}
        self._put(json.dumps({"t": self._at(), "from": side, **content}, ensure_ascii=False))

    def _at(self) -> float:
        return round(self._now() - self._begin, 6)

    def _put(self, line: str) -> None:
        if not self._lines.put(self, line):
            self.lost += 1

    def write(self, line: str | None) -> None:
        """In the thread: a line, or the end."""
        if self._file is None:
            self.path.touch(PRIVATE_FILE)
            self._file = self.path.open("ab", buffering=0)
        if line is None:
            line = json.dumps({"t": self._ended, "end": True, "lost": self.lost})
            with self._file:
                self._append(self._file, line)
        else:
            self._append(self._file, line)

    def _append(self, file: FileIO, line: str) -> None:
        """All of it or nothing: half a line, as a full disk takes it, would spoil the next one."""
        if not self._whole:
            line = f"{self._head}\n{line}"
        data = (line + "\n").encode(errors="replace")
        if file.write(data) < len(data):
            file.truncate(self._whole)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._whole += len(data)


class Recorder:
    """The folder, and the thread that writes into it."""

    def __init__(self, folder: Path, waiting: int = WAITING, patience_s: float = PATIENCE_S) -> None:
        self._folder = folder
        self._patience_s = patience_s
        self._lines = Lines(waiting)
        self._thread = threading.Thread(target=self._write, name="recorder", daemon=True)
        self._thread.start()

    @classmethod
    def into(cls, name: str) -> "Recorder":
        """Keep sessions in this folder."""
        return cls(folder(name))

    def begin(self, session: str, *, dialect: str, model: str, clock: Clock) -> Recording:
        """A session begins."""
        stamp = time.strftime("%Y%m%d-%H%M%S")
        path = self._folder / f"{stamp}-{re.sub(r'[^A-Za-z0-9_-]', '', session)}.jsonl"
        about = {"session": session, "dialect": dialect, "model": model, "began": round(time.time(), 3), "version": 1}
        return Recording(path, json.dumps(about), clock.now(), clock.now, self._lines)

    async def close(self) -> None:
        """Write what waits, and end the thread; what the disk does not take in time is given up."""
        await asyncio.to_thread(self._finish)

    def _finish(self) -> None:
        self._lines.end()
        self._thread.join(self._patience_s)
        if self._thread.is_alive():
            log.error("the disk takes no more: what waited is not recorded", extra={"file": str(self._folder)})

    def _write(self) -> None:
        for recording, line in self._lines:
            try:
                recording.write(line)
            except Exception as error:  # whatever it is, the other sessions are recorded
                if not recording.lost:
                    log.error("a session cannot be recorded: %s", error, extra={"file": str(recording.path)})
                recording.lost += 1


def folder(name: str) -> Path:
    """Where sessions are kept; it is made when it is not there. Raises OSError where nothing can be written."""
    path = Path(name)
    try:
        path.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError as wrong:
        raise OSError(f"record is {name}: sessions cannot be kept there: {wrong.strerror}") from None


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
