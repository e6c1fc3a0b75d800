"""The printable stand-ins that GPT-2's files use for bytes."""

from collections.abc import Mapping


def _stand_ins() -> dict[int, str]:
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {byte: chr(byte) for byte in printable}
    others = (byte for byte in range(256) if byte not in table)
    return table | {byte: chr(256 + index) for index, byte in enumerate(others)}


STAND_IN: Mapping[int, str] = _stand_ins()
BYTE: Mapping[str, int] = {character: byte for byte, character in STAND_IN.items()}


def to_bytes(token: str) -> bytes:
    """Return the bytes that a token of a GPT-2 style file stands for.

    >>> to_bytes("Ġhello")
    b' hello'
    """
    try:
        return bytes([BYTE[character] for character in token])
    except KeyError as error:
        raise ValueError(f"{token!r} has {error.args[0]!r}, which stands for no byte") from None


def to_text(token: bytes) -> str:
    """Return the stand-ins of these bytes.

    >>> to_text(b" hello")
    'Ġhello'
    """
    return "".join([STAND_IN[byte] for byte in token])
