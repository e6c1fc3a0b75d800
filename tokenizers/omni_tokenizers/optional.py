"""Optional packages, imported where they are used, with one clear sentence when they are missing or broken."""

from importlib import import_module
from types import ModuleType


class MissingPackage(ImportError):
    """An optional package is not installed, or is installed and does not import."""


def remedy(extra: str = "") -> str:
    """How what an extra brings is installed: from a checkout, in versions that work together.

    >>> remedy("model")
    'pip install -c constraints.txt -e ".[model]", in a checkout of Omni'
    """
    return f'pip install -c constraints.txt -e ".{f"[{extra}]" if extra else ""}", in a checkout of Omni'


def need(name: str, *, extra: str, use: str) -> ModuleType:
    """Import the optional package `name`, or say what to install.

    >>> need("json", extra="model", use="reading settings").loads("1")
    1
    >>> need("no_such_package", extra="model", use="reading mp4")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    omni_tokenizers.optional.MissingPackage: reading mp4 needs the package no_such_package, which is not installed: ...
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as missing:
        if missing.name != name.partition(".")[0]:
            raise MissingPackage(
                f"{use} needs the package {name}, which needs {missing.name}, which is not installed: {remedy(extra)}"
            ) from missing
        raise MissingPackage(f"{use} needs the package {name}, which is not installed: {remedy(extra)}") from None
    except (ImportError, OSError, RuntimeError) as broken:
        # A torchaudio built for another CUDA than torch's raises OSError or RuntimeError here, not ImportError.
        raise MissingPackage(
            f"{use} needs the package {name}, which is installed but does not import "
            f"({str(broken).splitlines()[0] if str(broken) else type(broken).__name__}): "
            f"reinstall a matching set with {remedy(extra)}"
        ) from broken
