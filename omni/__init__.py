"""Tokens to tokens: the shared transformer, the engines that step it, and its training."""
