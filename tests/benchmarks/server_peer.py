"""The peer: a minimal FastAPI echo of the same JSON events, under uvicorn with the loop and parser that it chooses."""

import contextlib
import sys

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

DELTA = {
    "type": "response.output_audio.delta",
    "event_id": "event_1",
    "response_id": "resp_1",
    "item_id": "item_1",
    "output_index": 0,
    "content_index": 0,
}
app = FastAPI()


@app.websocket("/v1/realtime")
async def echo(socket: WebSocket) -> None:
    """Say the sound back as OpenAI's event."""
    await socket.accept()
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            event = await socket.receive_json()
            if event["type"] == "input_audio_buffer.append":
                await socket.send_json({**DELTA, "delta": event["audio"]})


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="error", ws_per_message_deflate=False)
