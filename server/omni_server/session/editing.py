"""Changes of a conversation by the client: items added, shown, cut and taken out, and the engine told of it."""

from dataclasses import dataclass

from omni_server.session import commands, events
from omni_server.session.answers import Answers
from omni_server.session.conversation import FRONT
from omni_server.session.events import Problem
from omni_server.session.ground import Ground
from omni_server.session.items import Message, SpeechPart, content_bytes, still
from omni_server.session.listening import Listening
from omni_server.session.pictures import has_pictures
from omni_server.session.speaking import shorten

NO_EYES = "this model has no eyes: send text and audio, or choose an engine that takes pictures"


@dataclass
class Editing:
    """What a client does to items."""

    ground: Ground
    answers: Answers
    listening: Listening

    @property
    def room(self) -> int:
        """Bytes of texts and pictures that the conversation may still take."""
        return self.ground.settings.content_bytes - sum(map(content_bytes, self.ground.conversation))

    def add(self, command: commands.AddItem) -> None:
        """Put an item into the conversation."""
        ground, item = self.ground, command.item
        conversation, after = ground.conversation, command.after
        if not item.id:
            item.id = ground.names.new("item")
        refusal = self.why_not(command)
        if refusal is not None:
            return ground.say(refusal)
        if content_bytes(item) > self.room:
            text = f"the conversation would hold more than {ground.settings.content_bytes:,} bytes: delete items first"
            return self.problem("conversation_full", text, "item", command.ref)
        telling = ground.telling
        if after is None or after == conversation.last:
            previous = conversation.add(item)
            telling.item(item)
        else:
            previous = conversation.add(item, after)
            if after and telling.holds([after]):
                telling.turn.insert(1 + [told.id for told in telling.turn].index(after), item)
                telling.again(self.listening.loose)
            else:
                telling.stale = True
        ground.say(events.ItemAdded(still(item), previous))
        ground.say(events.ItemDone(still(item), previous))
        return None

    def why_not(self, command: commands.AddItem) -> Problem | None:
        """Why this item cannot be put in, whatever its pictures are."""
        conversation, settings = self.ground.conversation, self.ground.settings
        item, after, ref = command.item, command.after, command.ref
        if item.id in conversation:
            text = f"Error adding item: an item with ID '{item.id}' already exists in the conversation."
            return Problem("item_create_duplicate_item_id", text, "item.id", ref=ref)
        if after not in (None, FRONT) and after not in conversation:
            text = f"Error adding item: the previous item with id '{after}' does not exist."
            return Problem("item_create_invalid_previous_item_id", text, "previous_item_id", ref=ref)
        if has_pictures(item) and not self.ground.engine_sees:
            return Problem("image_input_not_supported", NO_EYES, "item.content", ref=ref)
        if len(conversation) >= settings.items:
            text = f"the conversation has {len(conversation)} items, as many as it may: delete some first"
            return Problem("conversation_full", text, "item", ref=ref)
        return None

    def truncate(self, command: commands.TruncateItem) -> None:
        """Of a spoken answer only so much was heard."""
        ground, answers = self.ground, self.answers
        item = ground.conversation.find(command.item)
        if item is None:
            return self._unknown("truncate", command.item, command.ref)
        part = item.parts[command.part] if isinstance(item, Message) and command.part < len(item.parts) else None
        if not isinstance(item, Message) or item.role != "assistant" or not isinstance(part, SpeechPart):
            text = (
                f"Only spoken parts of the assistant's messages can be truncated; part {command.part} of this is not."
            )
            return self.problem("invalid_value", text, "content_index", command.ref)
        wanted = command.audio_end_ms / 1000
        playback = answers.playback(item)
        sent = playback.sent if playback is not None else part.seconds
        heard = min(wanted, sent)
        if answers.active is not None and answers.active.owns(item):
            answers.active.truncated[item.id] = wanted
        elif playback is not None:
            answers.cut(playback, heard)
        elif heard < part.seconds:
            part.transcript, part.seconds = shorten(part.transcript or "", part.seconds, heard), heard
            ground.telling.stale = True
        ground.say(events.ItemTruncated(item.id, command.part, round(heard * 1000)))
        return None

    def delete(self, name: str, ref: str | None) -> None:
        """Take an item out."""
        ground = self.ground
        if name not in ground.conversation:
            return self._unknown("delete", name, ref)
        item = ground.conversation.remove(name)
        ground.transcripts.forget(name)
        if ground.telling.holds([name]):
            ground.telling.turn.remove(item)
            ground.telling.again(self.listening.loose)
        else:
            ground.telling.stale = True
        ground.say(events.ItemDeleted(name))
        return None

    def retrieve(self, name: str, ref: str | None) -> None:
        """Show an item."""
        item = self.ground.conversation.find(name)
        if item is None:
            self._unknown("retrieve", name, ref)
        else:
            self.ground.say(events.ItemRetrieved(still(item)))

    def problem(self, code: str, message: str, param: str | None = None, ref: str | None = None) -> None:
        """Say that something of the client's could not be done."""
        self.ground.say(Problem(code, message, param, ref=ref))

    def _unknown(self, what: str, name: str, ref: str | None) -> None:
        text = f"Error: the item with id '{name}' does not exist."
        self.problem(f"item_{what}_invalid_item_id", text, "item_id", ref)
