"""What the server, not the client, decides about sessions."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Interruption:
    """When the user's voice stops an answer. Separately for an answer that is heard and one still being thought of."""

    speech_ms: int = 0  # ms of the user's voice before an answer that is heard is interrupted
    speech_words: int = 0  # and so many words, where the engine writes down what it hears
    thought_ms: int = 0  # ms of voice before an answer that nobody has heard yet is interrupted
    thought_words: int = 0


@dataclass(frozen=True)
class SessionSettings:
    """Limits and habits of every session."""

    interruption: Interruption = field(default_factory=Interruption)
    thinking_ms: int = 800  # an answer without output for so long is announced as being thought of
    speculate_ms: int = 200  # of silence after which an answer is prepared although the turn may go on; 0: never
    longest_answer: int = 4096  # tokens
    longest_turn_s: float = 600.0  # s of audio of one turn
    kept_audio_s: float = 120.0  # s of the user's audio that are kept, of the newest turns
    items: int = 2_000  # of one conversation
    asides: int = 4  # responses outside the conversation at a time
    outbox_events: int = 256  # that wait for the wire before the engine has to wait
    outbox_bytes: int = 2 << 20
    max_pixels: int = 16_000_000  # of one picture, checked before it is decoded
    content_bytes: int = 128 << 20  # of all texts and pictures of one conversation
