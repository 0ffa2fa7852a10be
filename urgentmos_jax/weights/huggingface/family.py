"""What there is to know about the files of a family of pretrained encoders."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from urgentmos_jax.encoders.encoder import Architecture
from urgentmos_jax.weights.rules import Rule, WeightsError


@dataclasses.dataclass(frozen=True)
class Family:
    """A family of pretrained encoders in Hugging Face's files.

    Args:
        config: Makes the architecture, rates of train-time regularisation included, of the contents of config.json and
            preprocessor_config.json. Raises a ValueError that names every setting that is not supported.
        rules: How the tensors of a checkpoint fill the encoder.
        needed_keys: Keys of config.json that have no default here; where one is left out, transformers' is taken.
        regularisation_keys: Keys needed besides where train-time regularisation is asked for.
        prefixes: What may stand before the names in a checkpoint, in this order.
        ignored: Regular expressions of tensors that may be in a checkpoint and are not needed.
    """

    config: Callable[[dict[str, Any], dict[str, Any]], Architecture]
    rules: Callable[[Any], list[Rule]]
    needed_keys: tuple[str, ...]
    regularisation_keys: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    def rule_key(self, key: str) -> str:
        """A tensor's name as the rules have it: without prefix, weight norm in its newer spelling."""
        for prefix in self.prefixes:
            key = key.removeprefix(prefix)
        key = key.replace(".conv.weight_g", ".conv.parametrizations.weight.original0")
        return key.replace(".conv.weight_v", ".conv.parametrizations.weight.original1")

    def by_rule_key(self, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Tensors by `rule_key`.

        Raises:
            WeightsError: two have the same.
        """
        renamed = {self.rule_key(key): tensor for key, tensor in tensors.items()}
        if len(renamed) < len(tensors):
            names = [self.rule_key(key) for key in tensors]
            twice = sorted(key for key, name in zip(tensors, names, strict=True) if names.count(name) > 1)
            raise WeightsError(f"one weight under several names: {twice}")
        return renamed
