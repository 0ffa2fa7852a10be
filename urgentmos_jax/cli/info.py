"""`urgentmos info`: what a model is made of."""

import argparse
import math
from collections import Counter
from typing import Any

from urgentmos_jax.cli.common import add_model_arguments, load


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the subcommand."""
    parser.add_argument("model_argument", nargs="?", metavar="M", help="model folder or hub id, as --model")
    add_model_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints a description."""
    arguments.model = arguments.model_argument or arguments.model
    model = load(arguments)
    config = model.config
    print(f"model        {model.folder}")
    print(f"weights      sha256 {model.describe()['model_sha256']}")
    print(f"origin       {', '.join(f'{key} {value}' for key, value in model.origin.items())}")
    print(f"input        mono, {model.sample_rate_hz} Hz, at least {model.min_samples} samples")
    print(f"frame scores {model.frame_rate_hz:g} a second")
    for i, encoder in enumerate(config.encoders):
        shape = encoder.architecture
        states = "all hidden states" if encoder.layer_aggregation else "last layer"
        weights = "frozen" if encoder.freeze else "trained"
        print(
            f"encoder {i}    {shape.model_type}, {shape.num_hidden_layers} layers of {shape.hidden_size}, "
            f"{states}, {weights}"
        )
    for category, metrics in config.categories.items():
        print(f"category     {category}")
        for name, metric in metrics.items():
            bounds = " to ".join(_bound(value) for value in (metric.minimum, metric.maximum))
            print(f"  {name:<20} {bounds}{', scores and comparisons' if metric.comparative else ''}")
    counts = parameter_counts(model.params)
    for part, count in counts.items():
        print(f"parameters   {part:<20} {count / 1e6:9.3f} M")
    print(f"parameters   {'all':<20} {sum(counts.values()) / 1e6:9.3f} M")
    return 0


def parameter_counts(params: Any) -> dict[str, int]:
    """Number of parameters of each part of a model."""
    from flax import nnx

    counts: Counter[str] = Counter()
    for path, value in nnx.to_flat_state(params):
        part = ".".join(map(str, path[:2])) if path[0] == "encoders" else str(path[0])
        counts[part] += math.prod(value.shape)
    return dict(counts)


def _bound(value: float) -> str:
    return f"{value:g}" if math.isfinite(value) else "open"
