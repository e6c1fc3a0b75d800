"""Many live conversations through one model. Read protocol.py first: everything above an engine knows only that."""
