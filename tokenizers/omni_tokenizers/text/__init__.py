"""Text: bytes to ids and back, through byte-level BPE and the published vocabularies."""

from omni_tokenizers.text.counter import Counter
from omni_tokenizers.text.decoder import Decoder
from omni_tokenizers.text.patterns import PATTERNS
from omni_tokenizers.text.special import SpecialTokenInText
from omni_tokenizers.text.stream import TextStream
from omni_tokenizers.text.text import Text

__all__ = ["PATTERNS", "Counter", "Decoder", "SpecialTokenInText", "Text", "TextStream"]
