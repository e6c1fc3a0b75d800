"""Why a conversation cannot begin, or go on: each one sentence with the remedy."""

import json
import socket
import ssl
from contextlib import suppress

from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
    InvalidURI,
    NegotiationError,
)

TOO_LARGE = 1009  # close code of a server that takes no message of this size
TRY_AGAIN = 1013  # close code of a server that has no room
LONGEST_BODY = 300  # characters of what a stranger answered


class Refusal(ConnectionError):
    """The conversation cannot begin, or cannot go on."""


class NoServer(Refusal):
    """Nobody answers at this address, or somebody who does not speak websocket."""


class WrongKey(Refusal):
    """The key opens nothing there."""


class ServerFull(Refusal):
    """There is no room now."""

    def __init__(self, message: str, retry_after: float | None) -> None:
        super().__init__(message)
        self.retry_after = retry_after  # s


class NotTaken(Refusal):
    """The server does not take this: its own words say why."""


class NoAnswer(Refusal):
    """No answer came in time."""


class Lost(Refusal):
    """The connection broke, or the server ended it, and the session cannot be resumed."""


def refusal(error: BaseException, url: str) -> Refusal:
    """What a failed connection means."""
    match error:
        case InvalidStatus():
            return _by_status(error, url)
        case NegotiationError():
            return NoServer(f"{url} speaks websocket, but another protocol on it ({error}): name another address")
        case InvalidURI():
            return NoServer(f"{url} is no address of a server: write http://HOST:PORT or ws://HOST:PORT")
        case TimeoutError():
            return NoServer(f"{url} does not answer: is this the right address, and is the server up?")
        case socket.gaierror():
            return NoServer(f"the name in {url} is unknown ({error.strerror}): check how it is spelt")
        case ssl.SSLCertVerificationError():
            return NoServer(f"the certificate of {url} is not trusted ({error.verify_message}): set SSL_CERT_FILE")
        case ssl.SSLError():
            return NoServer(f"{url} does not speak TLS ({error.reason}): without TLS the address begins with ws://")
        case ConnectionRefusedError():
            return NoServer(f"no server listens at {url}: start one with `omni serve`, or name another address")
        case InvalidMessage() | InvalidHandshake() | EOFError():
            return NoServer(f"whoever answers at {url} speaks no websocket ({error}): is the port right?")
        case ConnectionClosed():
            return closed(error)
        case OSError():
            return NoServer(f"{url} cannot be reached: {error.strerror or error}")
        case _:
            return NoServer(f"{url} cannot be reached: {error}")


def closed(error: ConnectionClosed) -> Refusal:
    """What the end of a connection means."""
    code = error.rcvd.code if error.rcvd is not None else None
    reason = error.rcvd.reason if error.rcvd is not None else ""
    if code == TRY_AGAIN:
        return ServerFull(f"the server is full ({reason}): try again later", None)
    if code == TOO_LARGE:
        return Lost(f"a message was too large for the server ({reason}): connect again, with fewer pictures at once")
    if code is None:
        return Lost("the connection broke without a goodbye: connect again")
    return Lost(f"the server closed the connection ({code}{': ' + reason if reason else ''}): connect again")


def _by_status(error: InvalidStatus, url: str) -> Refusal:
    response = error.response
    status = response.status_code
    text = bytes(response.body or b"").decode("utf-8", "replace")
    message, retry = text.strip()[:LONGEST_BODY], None
    with suppress(ValueError, KeyError, TypeError):
        body = json.loads(text)["error"]
        message = str(body["message"])
        retry = float(body["retry_after"]) if "retry_after" in body else None
    with suppress(ValueError):
        retry = float(response.headers.get("Retry-After", "")) if retry is None else retry
    if status in (401, 403):
        return WrongKey(f"the server at {url} does not let you in ({message}): pass another key with key=… or --key")
    if status in (429, 503):
        when = f": try again in {retry:g} s" if retry is not None else ": try again later"
        said = message.partition(": try again")[0]
        return ServerFull(f"the server at {url} takes nobody now ({said}){when}", retry)
    if status == 404:
        return NoServer(f"the server at {url} answers, but has no such address: is it an omni or OpenAI server?")
    return NotTaken(f"the server at {url} answers {status}: {message or 'without saying why'}")
