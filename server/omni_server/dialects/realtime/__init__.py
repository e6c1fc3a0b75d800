"""OpenAI Realtime (GA) over a websocket."""
