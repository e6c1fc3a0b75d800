"""What the parts of one session share."""

from collections.abc import Callable
from dataclasses import dataclass, field

from omni_server.session.conversation import Conversation
from omni_server.session.events import Event, ItemDeleted
from omni_server.session.names import Names
from omni_server.session.settings import SessionSettings
from omni_server.session.setup import Setup
from omni_server.session.telling import Telling
from omni_server.session.transcripts import Transcripts


@dataclass
class Ground:
    """One session's settings, conversation and ways out."""

    setup: Setup
    settings: SessionSettings
    now: Callable[[], float]
    say: Callable[[Event], None]
    drop_audio: Callable[[str], None]  # of a response, what has not left
    conversation: Conversation
    telling: Telling
    transcripts: Transcripts
    engine_rate: int  # Hz
    engine_sees: bool
    names: Names = field(default_factory=Names)

    def make_room(self) -> None:
        """Forget the oldest items, as many as one more needs."""
        while len(self.conversation) >= self.settings.items:
            oldest = self.conversation.first
            self.conversation.remove(oldest.id)
            self.transcripts.forget(oldest.id)
            self.telling.turn = [item for item in self.telling.turn if item is not oldest]
            self.say(ItemDeleted(oldest.id))
