"""Ask by a recording, by the microphone or in writing; see the answer come, and where its time went.

examples:
  omni talk question.wav                              starts a server of its own with nano, asks, saves answer.wav
  omni talk question.wav --image photo.png            about a picture
  omni talk one.wav two.wav                           one conversation, one question after the other
  omni talk --text "What is two plus two?" --mode pipeline
  omni talk --mic --url http://127.0.0.1:8000         talk until Ctrl-C
"""

import argparse
import asyncio
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from omni_server.commands import check_stages, place_for

DEFAULT_OUT = "answer.wav"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    first, _, rest = (__doc__ or "").partition("\n\n")
    parser.description, parser.epilog = first, rest
    add = parser.add_argument
    add("recordings", nargs="*", metavar="FILE", help="WAV, FLAC, OGG or MP3 files, spoken in real time")
    add("--text", action="append", default=[], metavar="WORDS", help="ask in writing; may be repeated")
    add("--image", action="append", default=[], metavar="FILE", help="show a picture first; may be repeated")
    add("--mic", action="store_true", help="the microphone and the loudspeaker, until Ctrl-C")
    add("--mode", choices=("native", "pipeline", "echo"), help="what answers (default: native, or as the server is)")
    add("--url", metavar="URL", help="a server that runs already (default: one is started)")
    add("--key", help="key for the server")
    add("--model", default="nano", help="weights of an own server: a name or a folder (default: nano)")
    for stage in ("stt", "llm", "tts"):
        add(f"--{stage}", metavar="PLUGIN", help="of an own pipeline (default: the model's own weights)")
    add("--instructions", default="", metavar="WORDS", help="what the assistant is told before the conversation")
    add(
        "--turns", choices=("silence", "meaning"),
        help="what ends a turn (default: silence; with --mode native the model's own prediction, meaning)",
    )  # fmt: skip
    add("--out", default=DEFAULT_OUT, metavar="FILE", help=f"where the answer's sound goes (default: {DEFAULT_OUT})")


def run(args: argparse.Namespace) -> int:
    """Talk; the exit code is 1 when an answer failed."""
    if args.mic == bool(args.recordings or args.text):
        raise ValueError("nothing to ask: name a recording, --text WORDS, or --mic" if not args.mic else
                         "--mic and recordings or --text exclude each other: choose one")  # fmt: skip
    if not all(words.strip() for words in args.text):
        raise ValueError("--text is empty: write what is to be asked")
    return asyncio.run(_talk(args))


async def _talk(args: argparse.Namespace) -> int:
    from omni_server.client.opening import connect
    from omni_server.client.own_server import flags_of, own_server
    from omni_server.client.picture import data_url
    from omni_server.client.recording import Recording
    from omni_server.client.wishes import Wishes

    check_stages(args, pipeline=args.url is None and args.mode == "pipeline")
    # What is wrong with the files is said before a server is started for them, or anything asked.
    recordings = [Recording.of(name) for name in args.recordings]
    for name in args.image:
        data_url(name)
    if args.mic:
        from omni_server.client.microphone import devices

        devices()
    else:
        _place(args.out)
    native = args.mode == "native" or (args.mode is None and args.url is None)
    if args.turns == "meaning" or (args.turns is None and native):
        wishes = Wishes(instructions=args.instructions, turns="meaning", eagerness="high")
    else:
        wishes = Wishes(instructions=args.instructions)
    async with AsyncExitStack() as stack:
        url, mode = args.url, args.mode
        if url is None:
            mode = args.mode or "native"
            flags = flags_of(mode, model=args.model, sessions=2, stt=args.stt, llm=args.llm, tts=args.tts)
            print(f"starting a server of its own ({mode}) …", file=sys.stderr)
            url, mode = await stack.enter_async_context(own_server(flags)), None
        talk = await stack.enter_async_context(connect(url, key=args.key, mode=mode, wishes=wishes))
        for name in args.image:
            await talk.show(name)
            print(f"shown: {name}")
        if args.mic:
            return await _live(talk)
        answers = [await _ask(talk, recording) for recording in recordings]
        for words in args.text:
            print(f"you:   {words}")
            await talk.say(words)
            answers.append(await _answer(talk))
        _save(args.out, answers)
        return 1 if any(answer.status == "failed" for answer in answers) else 0


async def _ask(talk: Any, recording: Any) -> Any:
    speaking = asyncio.ensure_future(talk.send_audio(recording))
    begin = talk.clock.now()
    while not speaking.done():
        if sys.stderr.isatty():
            spoken = min(talk.clock.now() - begin, recording.seconds)
            print(f"\r{recording.name}: {spoken:.1f} of {recording.seconds:.1f} s spoken ", end="", file=sys.stderr)
        await asyncio.wait({speaking}, timeout=0.1)
    if sys.stderr.isatty():
        print("\r" + " " * 60 + "\r", end="", file=sys.stderr)
    await speaking
    return await _answer(talk)


async def _answer(talk: Any) -> Any:
    from omni_server.client import events
    from omni_server.client.waterfall_text import draw

    shown = False

    def seen(event: object) -> None:
        nonlocal shown
        if isinstance(event, events.Heard) and event.final and not shown:
            print(f"you:   {event.text}")
        elif isinstance(event, events.Words):
            print(event.text if shown else f"omni:  {event.text}", end="", flush=True)
            shown = True
        elif isinstance(event, events.Thinking) and event.on and not shown:
            print("omni is thinking …", file=sys.stderr)
        elif isinstance(event, events.Trouble):
            print(f"the server says: {event.message}", file=sys.stderr)

    answer = await talk.answer(seen=seen)
    if shown:
        print()
    if answer.error is not None:
        print(f"the answer failed: {answer.error}", file=sys.stderr)
    for call in answer.calls:
        print(f"omni wants {call.name}({call.arguments})")
    ear = answer.ear
    if ear.voice_to_voice_ms is not None:
        since = "sending" if answer.asked is not None and answer.asked.typed else "the last sample of speech"
        print(f"\nheard {ear.voice_to_voice_ms:.0f} ms after {since}; {ear.heard_s:.1f} s, {ear.underruns} underruns")
        print(draw(answer.waterfall))
    elif answer.pieces:
        print(f"\n{ear.heard_s:.1f} s of sound; nobody knows when the speech ended")
    print()
    return answer


async def _live(talk: Any) -> int:
    from omni_server.client.microphone import Loudspeaker, microphone

    print("speak; Ctrl-C ends it", file=sys.stderr)
    with Loudspeaker() as loudspeaker:
        samples, rate = microphone()
        working = {
            asyncio.ensure_future(talk.send_audio(samples, rate)),
            asyncio.ensure_future(_follow(talk, loudspeaker.follow(talk))),
        }
        try:
            done, _ = await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                await task
        finally:
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)
    return 0


async def _follow(talk: Any, played: Callable[[object], None]) -> None:
    from omni_server.client import events

    async for event in talk:
        played(event)
        if isinstance(event, events.Heard) and event.final:
            print(f"you:   {event.text}")
        elif isinstance(event, events.Words):
            print(event.text, end="", flush=True)
        elif isinstance(event, events.Trouble):
            print(f"the server says: {event.message}", file=sys.stderr)
        elif isinstance(event, events.AnswerDone):
            total = None if event.latency is None else event.latency.get("total_ms")
            print("" if total is None else f"   [{total:.0f} ms at the server]")
    raise ConnectionError("the server ended the conversation: connect again")


def _place(name: str) -> Path:
    import soundfile

    if Path(name).suffix[1:].upper() not in soundfile.available_formats():
        raise ValueError(f"--out {name}: no sound is written in that format: let it end with .wav, .flac or .ogg")
    return place_for(name)


def _save(name: str, answers: list[Any]) -> None:
    import numpy as np
    import soundfile

    spoken = [answer for answer in answers if len(answer.samples)]
    if not spoken:
        print("no answer had a sound", file=sys.stderr)
        return
    path = _place(name)
    sound = np.concatenate([answer.samples for answer in spoken])
    try:
        soundfile.write(path, sound, spoken[0].rate)
    except (TypeError, ValueError, RuntimeError) as wrong:
        raise ValueError(f"--out {name}: {wrong}: name another .wav, .flac or .ogg file") from None
    print(f"{path}: {len(sound) / spoken[0].rate:.1f} s", file=sys.stderr)
