"""omni.v1: binary frames for sound and codes, JSON for everything else. docs/protocol.md has it byte by byte."""
