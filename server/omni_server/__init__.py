"""Sockets to sessions: the streaming server, its client library and the `omni` command."""
