"""A conversation as one state machine: commands go in, events come out, and nothing here knows a wire."""
