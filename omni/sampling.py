"""How the next token is chosen, as plain data: the server reads it from the wire without knowing of torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sampling:
    """As it stands, the likeliest token; a temperature above 0 draws.

    >>> Sampling(temperature=-1)
    Traceback (most recent call last):
    ValueError: temperature is -1: 0 takes the likeliest token, above 0 draws, 2 is the most
    """

    temperature: float = 0.0
    top_k: int = 0  # only the k likeliest; 0: no limit
    top_p: float = 1.0  # only the likeliest whose probabilities reach p together
    repetition: float = 1.0  # above 1: scores of tokens that were said are divided by it, or multiplied where negative
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= 2:
            raise ValueError(
                f"temperature is {self.temperature}: 0 takes the likeliest token, above 0 draws, 2 is the most"
            )
        if self.top_k < 0:
            raise ValueError(f"top_k is {self.top_k}: it is 0 for no limit, or a number of tokens")
        if not 0 < self.top_p <= 1:
            raise ValueError(
                f"top_p is {self.top_p}: it is above 0 and at most 1, the share of the probability to draw from; "
                "temperature 0 is the likeliest"
            )
        if not 0.5 <= self.repetition <= 2:
            raise ValueError(f"repetition is {self.repetition}: it is from 0.5 to 2, 1 changes nothing")


GREEDY = Sampling()
