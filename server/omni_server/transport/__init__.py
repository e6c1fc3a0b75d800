"""Sockets: the listener, its pages, connections, and sessions that outlive one."""
