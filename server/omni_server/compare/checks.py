"""What a machine has, and a conversation of seconds with a server that says back what it hears."""

import os
import platform
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import numpy as np

import omni
from omni_server.client.recording import Recording, Wave
from omni_server.compare.machine import processor
from omni_server.compare.questions import BUNDLED
from omni_tokenizers.optional import remedy

OLDEST = (3, 11)
SPOKEN = "arithmetic-1.flac"
PATIENCE = 30.0  # s for the server to start
NEEDED = (
    ("websockets", "server"),
    ("prometheus-client", "server"),
    ("onnxruntime", "server"),
    ("silero-vad", "server"),
    ("torch", "model"),
    ("torchaudio", "model"),
    ("numba", "model"),
    ("soxr", ""),
    ("soundfile", ""),
    ("numpy", ""),
)
USEFUL = (("uvloop", "server", "the server's event loop is slower without it"),
          ("av", "server", "for Opus"),
          ("transformers", "model", "for pipelines of published models"),
          ("espeakng-loader", "train", "for training nano, and as a voice"),
          ("openai", "demos", "for the demo with a stock client"),
          ("sounddevice", "demos", "for omni talk --mic"))  # fmt: skip
MODULES = {"prometheus-client": "prometheus_client", "silero-vad": "silero_vad", "espeakng-loader": "espeakng_loader"}
LIBRARY = "Install the library that it names, as libportaudio2 for PortAudio."
MUCH_MEMORY = 2.0  # GB that nano and the server need together


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    verdict: Literal["good", "absent", "bad"]
    found: str
    remedy: str = ""


def look() -> list[Check]:
    """Python, packages, device, weights."""
    return [_python(), *map(_needed, NEEDED), *map(_useful, USEFUL), _device(), _memory(), _weights()]


async def self_test(url: str | None, key: str | None) -> list[Check]:
    """Start a server, speak to it, and hear what comes back."""
    found: list[Check] = []
    try:
        # They need the package websockets, and where that is missing `look` has to say so first.
        from omni_server.client.opening import connect
        from omni_server.client.own_server import own_server

        recording = Recording.of(BUNDLED / SPOKEN)
        async with AsyncExitStack() as stack:
            begin = time.perf_counter()
            if url is None:
                echo = own_server(["--engine", "echo"], patience=PATIENCE)
                address = await stack.enter_async_context(echo)
                found.append(Check("a server", "good", f"started in {time.perf_counter() - begin:.1f} s at {address}"))
            else:
                address = url
            talk = await stack.enter_async_context(connect(address, key=key))
            found.append(Check("a conversation", "good", f"opened over {talk.wire.name}"))
            await talk.send_audio(recording)
            answer = await talk.answer(patience=PATIENCE)
            heard = answer.ear.voice_to_voice_ms
            if heard is None:
                found.append(Check("an answer", "bad", f"without sound: {answer.error or answer.status}",
                                   "Look at what the server logs."))  # fmt: skip
            else:
                found.append(_answered(answer.samples, heard, answer.ear.underruns))
            found.append(_timing(talk.mouth.late_between()))
    except (OSError, ValueError, ImportError) as refused:
        found.append(Check("a conversation", "bad", str(refused), "Mend this first, then call omni doctor again."))
    return found


def _answered(samples: Wave, heard_ms: float, underruns: int) -> Check:
    level = float(np.sqrt(np.mean(samples**2)))
    told = f"heard {heard_ms:.0f} ms after the last word, {underruns} underruns"
    if level < 1e-3:
        return Check("an answer", "bad", f"{told}, and silent", "Look at what the server logs.")
    return Check("an answer", "good", told)


def _timing(late: float) -> Check:
    told = f"sound left at most {late * 1000:.0f} ms late"
    if late > 0.1:
        return Check("real time", "absent", told, "This machine is busy: latencies measured now are too long.")
    return Check("real time", "good", told)


def _python() -> Check:
    told = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info < OLDEST:
        return Check("Python", "bad", told, f"Install Python {OLDEST[0]}.{OLDEST[1]} or newer.")
    return Check("Python", "good", told)


def _needed(package: tuple[str, str]) -> Check:
    name, extra = package
    try:
        found = version(name)
        import_module(MODULES.get(name, name))
    except PackageNotFoundError:
        return Check(name, "bad", "not installed", remedy(extra))
    except (ImportError, OSError, RuntimeError) as broken:
        reason = str(broken).splitlines()[0] if str(broken) else type(broken).__name__
        return Check(name, "bad", f"{found}, and does not import: {reason}", remedy(extra))
    return Check(name, "good", found)


def _useful(package: tuple[str, str, str]) -> Check:
    name, extra, use = package
    try:
        found = version(name)
        import_module(MODULES.get(name, name))
    except PackageNotFoundError:
        return Check(name, "absent", f"not installed: {use}", remedy(extra))
    except (ImportError, OSError, RuntimeError) as broken:
        mend = LIBRARY if isinstance(broken, OSError) else remedy(extra)
        return Check(name, "absent", f"{found}, and does not import ({broken}): {use}", mend)
    return Check(name, "good", found)


def _device() -> Check:
    told = f"{processor()}, {os.cpu_count()} cores"
    try:
        import torch
    except (ImportError, OSError):
        return Check("device", "good", told)
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        return Check("device", "good", f"{torch.cuda.get_device_name(0)}, {memory:.0f} GB; {told}")
    if torch.backends.mps.is_available():
        return Check("device", "good", f"Apple GPU (mps); {told}")
    return Check("device", "good", f"no GPU; {told}, {torch.get_num_threads()} threads of torch")


def _memory() -> Check:
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    except (AttributeError, ValueError, OSError):
        return Check("memory", "absent", "the system does not tell")
    told = f"{free:.1f} GB free"
    remedy = "" if free >= MUCH_MEMORY else f"nano and the server need about {MUCH_MEMORY:g} GB together."
    return Check("memory", "good" if not remedy else "absent", told, remedy)


def _weights() -> Check:
    weights = Path(omni.__file__).parent / "nano" / "weights"  # nano itself does not import where packages are missing
    if not (weights / "config.json").is_file():
        return Check("nano's weights", "absent", "not there", "omni train nano makes them; other models need none.")
    size = sum(file.stat().st_size for file in weights.rglob("*") if file.is_file())
    return Check("nano's weights", "good", f"{size / 1e6:.1f} MB")
