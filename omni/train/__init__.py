"""The recipe of `nano`: data that is generated, a codec, and one mixture of tasks."""
