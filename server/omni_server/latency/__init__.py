"""Where the time of an answer went."""
