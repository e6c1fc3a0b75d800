"""nano's acoustic tokenizer: one clear voice as 25 rows of 12 codes a second, and back, live both ways."""

from omni.nano.codec.codec import NanoCodec

__all__ = ["NanoCodec"]
