"""Published families: each file is a configuration and the names of its weights."""
