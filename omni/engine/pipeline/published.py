"""What the plug-ins of published models share: where a model is, and the numbers that it runs in."""

from pathlib import Path


def place_of(source: str) -> str:
    """A folder, or a name on the hub, as a person writes it.

    >>> place_of("openai/whisper-base")
    'openai/whisper-base'
    >>> place_of("/models/nothing")
    Traceback (most recent call last):
    ValueError: /models/nothing is not a folder
    """
    if not source:
        raise ValueError("which model? Write a folder, or a name on the hub, behind the colon")
    if source[0] not in "/.~":
        return source
    folder = Path(source).expanduser()
    if not folder.is_dir():
        raise ValueError(f"{source} is not a folder")
    return str(folder)


def usual_dtype(device: str) -> str:
    """float32 on a CPU, elsewhere as published: most CPUs have no half precision, and a product of matrices in it took
    fifteen times as long as in float32 (float16) or twenty times (bfloat16).
    """
    return "float32" if device == "cpu" else "auto"
