"""One sequence of everything: text ids, patches, Mel frames, speech features, acoustic codes and plug-ins."""

from omni_tokenizers.sequence.audio_tokens import AudioTokens, audio_tokens, qwen_audio_tokens
from omni_tokenizers.sequence.codec_tokens import CodecTokens
from omni_tokenizers.sequence.image_tokens import ImageTokens
from omni_tokenizers.sequence.interleave import interleave
from omni_tokenizers.sequence.live import LiveSequence
from omni_tokenizers.sequence.masks import attention_mask, document_bounds, mask_arrays, torch_attention_mask
from omni_tokenizers.sequence.modality import Encoded, Modality
from omni_tokenizers.sequence.omni import Omni
from omni_tokenizers.sequence.pack import concatenate, join, pack, pack_into, pad_together, unpack
from omni_tokenizers.sequence.parts import Audio, Codes, Film, Frames, Ids, Image, Special, Speech, Tagged, TextPart
from omni_tokenizers.sequence.positions import (
    SECTIONS,
    RopeSections,
    axis_of_frequency,
    linear,
    mrope,
    positions,
    tmrope,
)
from omni_tokenizers.sequence.registry import PluginError, register
from omni_tokenizers.sequence.sequence import Sequence, Truncated
from omni_tokenizers.sequence.span import Span
from omni_tokenizers.sequence.speech_tokens import SpeechTokens
from omni_tokenizers.sequence.text_tokens import TextTokens

__all__ = [
    "SECTIONS",
    "Audio",
    "AudioTokens",
    "CodecTokens",
    "Codes",
    "Encoded",
    "Film",
    "Frames",
    "Ids",
    "Image",
    "ImageTokens",
    "LiveSequence",
    "Modality",
    "Omni",
    "PluginError",
    "RopeSections",
    "Sequence",
    "Span",
    "Special",
    "Speech",
    "SpeechTokens",
    "Tagged",
    "TextPart",
    "TextTokens",
    "Truncated",
    "attention_mask",
    "audio_tokens",
    "axis_of_frequency",
    "concatenate",
    "document_bounds",
    "interleave",
    "join",
    "linear",
    "mask_arrays",
    "mrope",
    "pack",
    "pack_into",
    "pad_together",
    "positions",
    "qwen_audio_tokens",
    "register",
    "tmrope",
    "torch_attention_mask",
    "unpack",
]
