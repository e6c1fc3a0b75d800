"""One colour for each modality, the same on a terminal, on a page and in a plot."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Colour:
    """A colour for the terminal's 256, for a light page and for a dark one; all at least 4.5 : 1 on their ground."""

    terminal: int
    light: str
    dark: str


BUILT_IN = {
    "pad": Colour(245, "#686c76", "#9aa0ac"),
    "text": Colour(33, "#1d5fc4", "#7fb2ff"),
    "image": Colour(172, "#a04e00", "#f3a653"),
    "audio": Colour(36, "#08705a", "#4fd0ac"),
    "speech": Colour(134, "#7a3bc2", "#c79bff"),
    "codec": Colour(168, "#b02060", "#ff8fb8"),
}
PLUGINS = (
    Colour(37, "#0b6c84", "#56cbe6"),
    Colour(106, "#5a6b00", "#b9cc52"),
    Colour(167, "#b3352b", "#ff9a8c"),
    Colour(99, "#4a4fc4", "#a5abff"),
)


def colour_of(modality: str, kinds: tuple[str, ...]) -> Colour:
    """The colour of a modality; plug-ins take theirs in the order of `kinds`."""
    if modality in BUILT_IN:
        return BUILT_IN[modality]
    plugins = [kind for kind in kinds if kind not in BUILT_IN]
    return PLUGINS[plugins.index(modality) % len(PLUGINS)]
