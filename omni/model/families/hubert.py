"""HuBERT: wav2vec 2.0's encoder under another name."""

from omni.model.families import wav2vec2
from omni.model.load import Config
from omni.model.weights import Names

IGNORED = wav2vec2.IGNORED
OPTIONAL = wav2vec2.OPTIONAL
build = wav2vec2.build
tokenizers = wav2vec2.tokenizers


def names(config: Config) -> Names:
    """Pairs (theirs, ours)."""
    return wav2vec2.names(config, "hubert")
