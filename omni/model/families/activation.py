"""The activation that a published configuration asks for, in our words."""

from omni.model.load import Config

ACTIVATIONS = {
    "gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu", "relu": "relu", "silu": "silu", "swish": "silu",
}  # fmt: skip


def activation(config: Config, key: str = "hidden_act", usual: str = "gelu") -> str:
    """What `MlpSpec` calls the activation under this key; `usual` where the configuration leaves it out.

    >>> activation({"hidden_act": "gelu_pytorch_tanh"})
    'gelu_tanh'
    """
    named = config.get(key) or usual
    if named not in ACTIVATIONS:
        raise ValueError(f"{key} is {named!r}, which is not built here: {', '.join(ACTIVATIONS)} are")
    return ACTIVATIONS[named]
