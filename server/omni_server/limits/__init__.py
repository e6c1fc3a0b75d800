"""Who may come in, from where, and how much of everything they may take."""
