"""Logs on standard error: for people, or one JSON object a line. Nothing in them is a key."""

import json
import logging
import sys
import time
from typing import Any

from omni_server.settings import Log

PLAIN = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {"message", "asctime", "taskName", "websocket"}


def facts(record: logging.LogRecord) -> dict[str, Any]:
    """What came with a line through `extra=`.

    >>> record = logging.LogRecord("a", logging.INFO, "", 0, "closed", (), None)
    >>> record.session = "sess_1"
    >>> facts(record)
    {'session': 'sess_1'}
    """
    return {name: value for name, value in vars(record).items() if name not in PLAIN}


class ForPeople(logging.Formatter):
    """`12:00:00 info  transport  session closed  session=sess_1 seconds=3.2`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and a traceback where there is one."""
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        known = "  ".join(f"{name}={value}" for name, value in facts(record).items())
        line = f"{clock} {record.levelname.lower():7} {record.getMessage()}" + (f"  {known}" if known else "")
        return line + ("\n" + self.formatException(record.exc_info) if record.exc_info else "")


class ForMachines(logging.Formatter):
    """One JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        said: dict[str, Any] = {
            "time": round(record.created, 6),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **facts(record),
        }
        if record.exc_info:
            said["traceback"] = self.formatException(record.exc_info)
        return json.dumps(said, ensure_ascii=False, default=str)


def set_up(log: Log) -> None:
    """Write what the settings say, and nothing of the libraries below a warning."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(ForMachines() if log.format == "json" else ForPeople())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for ours in ("omni", "omni_server", "omni_tokenizers"):
        logging.getLogger(ours).setLevel(log.level.upper())
    # A handshake that is no websocket, a port scan: not an error of ours.
    logging.getLogger("websockets").setLevel(logging.CRITICAL)
