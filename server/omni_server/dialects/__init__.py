"""Wires: each turns frames into commands and events into frames, and shares no logic with another but the core."""
