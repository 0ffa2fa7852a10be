"""Building blocks that encoders and model share."""

import importlib
from typing import Any

# Public names and the files that hold them, imported when asked for.
_FILES = {
    "Attention": "attention",
    "PreNormLayer": "attention",
    "Conv1d": "blocks",
    "dropout": "blocks",
    "gelu": "blocks",
    "layer_norm": "blocks",
    "linear": "blocks",
    "scale_gradient": "blocks",
    "sinusoids": "blocks",
    "split_key": "blocks",
    "conv_lengths": "masking",
    "length_mask": "masking",
    "masked_mean": "masking",
    "LayerStack": "stack",
    "States": "stack",
    "stack_flops": "stack",
}

__all__ = [*_FILES]


def __getattr__(name: str) -> Any:
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_FILES[name]}"), name)
