"""Who speaks: one strategy a file."""
