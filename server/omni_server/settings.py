"""What can be set: one tree. A leaf has the same name as a flag, in the environment and in the TOML file.

limits.message_bytes   --limits-message-bytes   OMNI_LIMITS_MESSAGE_BYTES   [limits] message_bytes = …
"""

from dataclasses import dataclass, field
from typing import Literal

from omni_server.dialects.dialect import WireLimits
from omni_server.session.settings import SessionSettings

ENGINES = ("echo", "echo-live", "pipeline", "native")
LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Tls:
    """Encrypted connections, where both files are named."""

    certificate: str | None = None
    key: str | None = None


@dataclass(frozen=True)
class Keys:
    """Who may come in. Keys themselves stand in the file, or in the environment variable OMNI_API_KEYS."""

    file: str | None = None
    none: bool = False


@dataclass(frozen=True)
class Limits:
    """How much one client may take."""

    message_bytes: int = 21 << 20  # 15 MiB of audio in base64 and some JSON around it
    connections: int = 1024
    per_key: int = 256
    per_address: int = 256
    session_s: float = 3600.0
    audio_burst_s: float = 600.0
    audio_speed: float = 30.0
    origins: tuple[str, ...] = ()


@dataclass(frozen=True)
class Socket:
    """How a connection is kept, and how it ends."""

    heartbeat_s: float = 20.0
    heartbeat_patience_s: float = 20.0
    open_s: float = 10.0
    close_s: float = 5.0
    drain_s: float = 30.0
    send_bytes: int = 256 << 10
    slow_reader_s: float = 20.0
    receive_bytes: int = 1 << 20


@dataclass(frozen=True)
class Resume:
    """A session outlives its connection for a while, for clients that ask for it."""

    grace_s: float = 30.0
    journal_bytes: int = 4 << 20
    parked: int = 64


@dataclass(frozen=True)
class Log:
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


@dataclass(frozen=True)
class Settings:
    """Everything."""

    engine: tuple[str, ...] = ("echo",)
    model: str = "nano"
    stt: str | None = None
    llm: str | None = None
    tts: str | None = None
    sessions: int = 16
    worker: bool = True
    host: str = "127.0.0.1"
    port: int = 8000
    record: str | None = None
    web: str | None = None
    word_times: str | None = None
    tls: Tls = field(default_factory=Tls)
    keys: Keys = field(default_factory=Keys)
    limits: Limits = field(default_factory=Limits)
    socket: Socket = field(default_factory=Socket)
    resume: Resume = field(default_factory=Resume)
    session: SessionSettings = field(default_factory=SessionSettings)
    wire: WireLimits = field(default_factory=WireLimits)
    log: Log = field(default_factory=Log)


# One line each, for the help, the manual and `--check`.
ABOUT = {
    "engine": "what answers, one or more: echo says a turn back, echo-live every sound at once, pipeline is --stt "
    "--llm --tts, native is one omni model; a client chooses by its model, and gets the first otherwise",
    "model": "native: name or folder of the omni model",
    "stt": "pipeline: speech to text, KIND:WHAT?OPTION=VALUE (docs/engine.md)",
    "llm": "pipeline: the text model",
    "tts": "pipeline: text to speech",
    "sessions": "conversations that an engine holds at once; one more is told to come back later",
    "worker": "run each engine in a process of its own",
    "host": "address to listen on; beyond loopback only with keys, or with --keys-none",
    "port": "port to listen on; 0 for any that is free",
    "record": "folder that sessions are kept in, for replay",
    "web": "folder of the web page instead of the one that comes along",
    "word_times": "name or folder of a CTC model (wav2vec 2.0, HuBERT, WavLM): transcripts then bring each word's time",
    "tls.certificate": "PEM file of the certificate chain: turns TLS on",
    "tls.key": "PEM file of its private key",
    "keys.file": "file with one key a line: KEY, or NAME KEY; # begins a comment",
    "keys.none": "let anybody in, also from beyond loopback",
    "limits.message_bytes": "bytes of one message of a client",
    "limits.connections": "connections at once",
    "limits.per_key": "connections at once with one key",
    "limits.per_address": "connections at once from one address",
    "limits.session_s": "seconds that a session may last",
    "limits.audio_burst_s": "seconds of audio that may come as fast as it likes",
    "limits.audio_speed": "times real time that audio may come at after that; faster audio waits in the network",
    "limits.origins": "web origins besides the server's own that browsers may come from; * for all",
    "socket.heartbeat_s": "seconds between pings",
    "socket.heartbeat_patience_s": "seconds to wait for a pong before a connection is taken for dead",
    "socket.open_s": "seconds for the opening handshake",
    "socket.close_s": "seconds for the closing handshake",
    "socket.drain_s": "seconds that answers may go on after SIGTERM",
    "socket.send_bytes": "bytes that may wait in a socket; then the answer waits in the engine",
    "socket.slow_reader_s": "seconds without any progress after which a client that does not read is cut off",
    "socket.receive_bytes": "bytes of messages that may wait to be handled; then the network waits",
    "resume.grace_s": "seconds that a session waits for its client to come back; 0 turns resuming off",
    "resume.journal_bytes": "bytes of sent messages that are kept to be sent again",
    "resume.parked": "sessions that wait for their client at once",
    "session.interruption.speech_ms": "ms of voice before an answer that is heard is interrupted",
    "session.interruption.speech_words": "words before an answer that is heard is interrupted, where words are known",
    "session.interruption.thought_ms": "ms of voice before an answer that nobody has heard yet is given up",
    "session.interruption.thought_words": "words before an answer that nobody has heard yet is given up",
    "session.thinking_ms": "ms without output after which an answer is announced as being thought of",
    "session.speculate_ms": "ms of silence after which an answer is prepared although the turn may go on; 0 never",
    "session.longest_answer": "tokens of an answer",
    "session.longest_turn_s": "seconds of audio of one turn",
    "session.kept_audio_s": "seconds of the user's audio that a session keeps, of the newest turns",
    "session.items": "items of one conversation",
    "session.asides": "responses outside the conversation at a time",
    "session.outbox_events": "events that may wait for the wire; then the engine waits; at twice, the client",
    "session.outbox_bytes": "bytes of events that may wait for the wire; then the engine waits; at twice, the client",
    "session.max_pixels": "pixels of one picture, checked before it is decoded",
    "session.content_bytes": "bytes of all texts and pictures of one conversation",
    "wire.text": "characters of one text, of instructions, of a tool's result",
    "wire.tools": "functions of one session",
    "wire.tool": "characters of the JSON schema of one function",
    "wire.images": "pictures of one item",
    "wire.image_bytes": "bytes of one picture as it comes",
    "wire.audio_rate": "Hz, the highest rate of audio",
    "log.level": "the least that is logged",
    "log.format": "text for people, json for machines",
}
