"""A server for stock clients: a scripted pipeline that first calls a tool and then answers in a sentence.

python tests/clients/answering_server.py [certificate key]      prints its port, and ends with its input
"""

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from omni.engine.pipeline.pipeline import PipelineEngine
from omni.engine.pipeline.scripted import ScriptedEars, ScriptedModel, ScriptedVoice
from omni.engine.pipeline.stages import Call
from omni_server.dialects.wires import wires
from omni_server.server import Server
from omni_server.settings import Settings, Tls
from tests.server.loud_is_speech import LoudIsSpeech

SENTENCE = "It snows in Oslo today and it is very cold outside so stay in."


async def serve(tls: Tls) -> None:
    model = ScriptedModel([[Call("weather", '{"city":"Oslo"}', "call_1")], SENTENCE], delay=0.02)
    engine = PipelineEngine(ScriptedEars("what is the weather"), model, ScriptedVoice(seconds=0.02))
    server = Server(Settings(host="127.0.0.1", port=0, tls=tls), engine, wires(3600), LoudIsSpeech())
    await server.start()
    print(server.port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.close()
    await engine.close()


if __name__ == "__main__":
    asyncio.run(serve(Tls(*sys.argv[1:3])))
