"""A look into the library and the model over `/v1/inspect`: tokens, attention, what is hidden and painted again."""
