"""One transformer block, and everything it can be: read block.py first, then any one file of families/."""
