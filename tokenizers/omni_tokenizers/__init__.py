"""Text, images and sound to tokens and back, and one sequence of them all.

Names are imported when first used, so `import omni_tokenizers` is instant and loads neither torch nor numpy.

>>> import omni_tokenizers
>>> omni_tokenizers.LogMel(bins=80).count(16_000)
100
"""

from importlib import import_module
from typing import TYPE_CHECKING

from omni_tokenizers.version import __version__

if TYPE_CHECKING:
    from omni_tokenizers.audio import (
        Codec,
        LogMel,
        Resampler,
        Wav2Vec,
        load_codec,
        read_audio,
    )
    from omni_tokenizers.image import (
        Patches,
        PatchGrid,
        image_size,
        read_image,
    )
    from omni_tokenizers.sequence import (
        Audio,
        Codes,
        Encoded,
        Film,
        Frames,
        Ids,
        Image,
        Modality,
        Omni,
        PluginError,
        Sequence,
        Span,
        Special,
        Speech,
        Tagged,
        concatenate,
        interleave,
        join,
        pack,
        pack_into,
        pad_together,
        register,
        unpack,
    )
    from omni_tokenizers.text import (
        Text,
    )
    from omni_tokenizers.tokenizer import (
        CannotStream,
        Stream,
        Tokenizer,
    )

HOMES = {
    "Audio": "omni_tokenizers.sequence",
    "CannotStream": "omni_tokenizers.tokenizer",
    "Codec": "omni_tokenizers.audio",
    "Codes": "omni_tokenizers.sequence",
    "Encoded": "omni_tokenizers.sequence",
    "Film": "omni_tokenizers.sequence",
    "Frames": "omni_tokenizers.sequence",
    "Ids": "omni_tokenizers.sequence",
    "Image": "omni_tokenizers.sequence",
    "LogMel": "omni_tokenizers.audio",
    "Modality": "omni_tokenizers.sequence",
    "Omni": "omni_tokenizers.sequence",
    "PatchGrid": "omni_tokenizers.image",
    "Patches": "omni_tokenizers.image",
    "PluginError": "omni_tokenizers.sequence",
    "Resampler": "omni_tokenizers.audio",
    "Sequence": "omni_tokenizers.sequence",
    "Span": "omni_tokenizers.sequence",
    "Special": "omni_tokenizers.sequence",
    "Speech": "omni_tokenizers.sequence",
    "Stream": "omni_tokenizers.tokenizer",
    "Tagged": "omni_tokenizers.sequence",
    "Text": "omni_tokenizers.text",
    "Tokenizer": "omni_tokenizers.tokenizer",
    "Wav2Vec": "omni_tokenizers.audio",
    "concatenate": "omni_tokenizers.sequence",
    "image_size": "omni_tokenizers.image",
    "interleave": "omni_tokenizers.sequence",
    "join": "omni_tokenizers.sequence",
    "load_codec": "omni_tokenizers.audio",
    "pack": "omni_tokenizers.sequence",
    "pack_into": "omni_tokenizers.sequence",
    "pad_together": "omni_tokenizers.sequence",
    "read_audio": "omni_tokenizers.audio",
    "read_image": "omni_tokenizers.image",
    "register": "omni_tokenizers.sequence",
    "unpack": "omni_tokenizers.sequence",
}

__all__ = [
    "Audio",
    "CannotStream",
    "Codec",
    "Codes",
    "Encoded",
    "Film",
    "Frames",
    "Ids",
    "Image",
    "LogMel",
    "Modality",
    "Omni",
    "PatchGrid",
    "Patches",
    "PluginError",
    "Resampler",
    "Sequence",
    "Span",
    "Special",
    "Speech",
    "Stream",
    "Tagged",
    "Text",
    "Tokenizer",
    "Wav2Vec",
    "__version__",
    "concatenate",
    "image_size",
    "interleave",
    "join",
    "load_codec",
    "pack",
    "pack_into",
    "pad_together",
    "read_audio",
    "read_image",
    "register",
    "unpack",
]


def __getattr__(name: str) -> object:
    if name not in HOMES:
        raise AttributeError(f"module 'omni_tokenizers' has no attribute {name!r}; it has {', '.join(sorted(HOMES))}")
    value = getattr(import_module(HOMES[name]), name)
    globals()[name] = value  # the next look-up does not come here
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
