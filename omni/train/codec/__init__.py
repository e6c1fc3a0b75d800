"""How nano's codec was made: its voice, taken apart into pitch, harmonics and noise, and the training on that."""
