"""One model, many conversations: read engine.py first, then session.py and loop.py."""
