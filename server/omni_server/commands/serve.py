"""Serve spoken conversations on a websocket: OpenAI Realtime and omni.v1, with a web page, health and metrics.

examples:
  omni serve                                          say back what is said, on http://127.0.0.1:8000
  omni serve --engine native --model nano             one omni model that hears and speaks
  omni serve --engine pipeline --stt whisper:openai/whisper-base --llm hf:Qwen/Qwen2.5-0.5B-Instruct \\
             --tts vits:facebook/mms-tts-eng          three models, one after the other
  omni serve --host 0.0.0.0 --keys-file keys.txt --tls-certificate cert.pem --tls-key key.pem
  omni serve --config omni.toml --check               show what would hold, and where each setting comes from
  OMNI_PORT=9000 omni serve --log-format json         every setting by flag, environment and TOML file

A client: OpenAI(base_url="http://127.0.0.1:8000/v1", api_key="any").realtime.connect(model="nano")
Signals: SIGTERM and SIGINT let answers end (--socket-drain-s), a second one stops at once.
"""

import argparse
import asyncio
import errno
import gc
import logging
import os
import signal
import socket
import sys

from omni_server import configuration
from omni_server.configuration import Read
from omni_server.limits import keys
from omni_server.settings import Settings

OTHER_FILES = 256  # that are open besides: of engines, of the log, of connections that are refused just now
log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    first, _, rest = (__doc__ or "").partition("\n\n")
    parser.description, parser.epilog = first, rest
    parser.add_argument(
        "--check", action="store_true", help="print the effective settings with their sources, and stop"
    )
    configuration.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Serve until a signal comes."""
    read = configuration.read(args, os.environ)
    for stranger in configuration.strangers(os.environ):
        print(f"omni serve: {stranger}", file=sys.stderr)
    settings = read.settings
    keyring = keys.load(settings.keys.file, os.environ)
    if configuration.beyond_loopback(settings) and not keyring and not settings.keys.none:
        raise ValueError(
            f"--host {settings.host} lets others than this machine in, and there is no key: name a file with "
            f"--keys-file, set {keys.VARIABLE}, or say --keys-none if everybody may come in"
        )
    from omni_server.engines import verify
    from omni_server.record import recorder
    from omni_server.transport.encryption import encryption

    encryption(settings.tls)  # says now what is wrong with the certificate
    verify(settings)
    if args.check:
        print(read.show())
        who = "everybody" if configuration.beyond_loopback(settings) else "everybody on this machine"
        names = ", ".join(keyring.names)
        print(f"\n# {len(keyring.names)} keys: {names}" if keyring else f"\n# no keys: {who} may come in")
        return 0
    if settings.record is not None:
        recorder.folder(settings.record)  # says now that nothing can be written there
    _require_free(settings.host, settings.port)
    return _run(read, keyring)


def _require_free(host: str, port: int) -> None:
    """Raise OSError where nobody may listen or something else does, before a model is loaded for nothing."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as wrong:
        if wrong.errno != errno.EADDRINUSE:
            raise OSError(f"--host {host} --port {port} cannot be listened on: {wrong.strerror}") from None
        raise OSError(
            f"something listens on port {port} of {host} already: name another with --port, or 0 for a free one"
        ) from None


def _run(read: Read, keyring: keys.Keyring) -> int:
    from omni_server import logs

    logs.set_up(read.settings.log)
    if sys.platform == "win32":
        return asyncio.run(_serve(read, keyring))
    _allow_files(read.settings)
    try:
        import uvloop
    except ImportError:
        log.warning("uvloop is missing: the event loop is slower without it")
        return asyncio.run(_serve(read, keyring))
    return uvloop.run(_serve(read, keyring))


def _allow_files(settings: Settings) -> None:
    """As many open files as connections need: one without a file is dropped without a word, and no engine can start."""
    import resource

    wanted = settings.limits.connections * (1 if settings.record is None else 2) + OTHER_FILES
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < wanted:
        log.warning("%d connections need %d open files, and the system allows %d: see ulimit -Hn, or LimitNOFILE",
                    settings.limits.connections, wanted, most)  # fmt: skip
        wanted = most
    if now != resource.RLIM_INFINITY and now < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


async def _serve(read: Read, keyring: keys.Keyring) -> int:
    from omni_server import engines
    from omni_server.dialects.wires import wires
    from omni_server.inspect.inspector import PATH, Inspector
    from omni_server.server import Server, page
    from omni_server.session.word_times import CtcWords
    from omni_server.turns.silero import Silero

    settings = read.settings
    stop: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.put_nowait, number.name)
    word_times = await asyncio.to_thread(CtcWords, settings.word_times) if settings.word_times else None
    starting = asyncio.create_task(engines.start(settings))
    stopped = asyncio.create_task(stop.get())
    await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        await asyncio.wait({starting})
        return 128 + signal.Signals[stopped.result()]
    running = starting.result()
    detector = Silero()
    await detector.load()
    served = engines.folder(settings.model) if "native" in settings.engine else None
    server = Server(
        settings, running, wires(settings.limits.session_s), detector,
        also={PATH: Inspector(served)}, keyring=keyring, word_times=word_times,
    )  # fmt: skip
    try:
        await server.start()
        # What is there now stays. Going through it again stopped the event loop for 100 ms, in the middle of a word.
        gc.collect()
        gc.freeze()
        log.info(
            "listening",
            extra={
                "page": page(settings, server.port),
                "engine": ",".join(settings.engine),
                "keys": len(keyring.names),
            },
        )
        first = await stopped
        log.info("%s: answers may end for %g s", first, settings.socket.drain_s)
        draining = asyncio.create_task(server.drain(settings.socket.drain_s))
        again = asyncio.create_task(stop.get())
        await asyncio.wait({draining, again}, return_when=asyncio.FIRST_COMPLETED)
        for task in (draining, again):
            task.cancel()
    finally:
        await server.close()
        for engine in running.values():
            await engine.close()
        detector.close()
        if word_times is not None:
            word_times.close()
    return 0
