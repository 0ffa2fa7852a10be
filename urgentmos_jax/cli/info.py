"""`urgentmos info`: what a model is made of."""

import argparse
import math

from urgentmos_jax.cli.models import about_lines, add_model_arguments, load
from urgentmos_jax.cli.output import print_result
from urgentmos_jax.cli.usage import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the subcommand."""
    parser.add_argument("model_argument", nargs="?", metavar="M", help="model folder or hub id, as --model")
    add_model_arguments(parser)
    parser.add_argument(
        "--topology",
        metavar="T",
        help="compile scoring for a slice of TPUs that need not be there, as v5e:2x2, and tell memory and operations; "
        "needs libtpu; status 1 where a batch does not fit",
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints a description; with --topology what scoring takes of a slice of TPUs."""
    from urgentmos_jax.model.cost import format_sizes, scoring_bytes

    if arguments.topology:
        return _on_slice(arguments)
    arguments.model = arguments.model_argument or arguments.model
    model = load(arguments)
    config = model.config
    lines = [
        *about_lines(model.folder, model.describe()["model_sha256"], {"origin": model.origin}),
        f"input        mono, {model.sample_rate_hz} Hz, at least {model.min_samples} samples",
        f"frame scores {model.frame_rate_hz:g} a second",
    ]
    for i, encoder in enumerate(config.encoders):
        shape = encoder.architecture
        states = "all hidden states" if encoder.layer_aggregation else "last layer"
        weights = "frozen" if encoder.freeze else "trained"
        weights += " with train-time regularisation" if encoder.noise else ""
        layers = f"{shape.num_hidden_layers} layers of {shape.hidden_size}"
        lines.append(f"encoder {i}    {shape.model_type}, {layers}, {states}, {weights}")
    for category, metrics in config.categories.items():
        lines.append(f"category     {category}")
        for name, metric in metrics.items():
            bounds = " to ".join(_bound(value) for value in (metric.minimum, metric.maximum))
            lines.append(f"  {name:<20} {bounds}{', scores and comparisons' if metric.comparative else ''}")
    for name, calibration in model.calibrations.items():
        gain = calibration.gain.get("mse")
        change = "" if gain is None else ", squared error of the CMOS {:+.3f} [{:+.3f}, {:+.3f}]".format(*gain)
        lines.append(f"calibrated   {name} by {calibration.pairs:,} pairs{change}")
    lines += format_sizes(config)
    rows = max(1, round(model.engine.batch_seconds / 10))
    need = scoring_bytes(config, rows, 10 * model.sample_rate_hz)
    lines.append(f"memory for scoring, estimated: {need / 1e9:.1f} GB with {rows} clips of 10 s at a time")
    print_result("\n".join(lines))
    return 0


def _on_slice(arguments: argparse.Namespace) -> int:
    from urgentmos_jax.accelerators.chips import Slice, SliceError, without_devices
    from urgentmos_jax.accelerators.plan import format_plan
    from urgentmos_jax.scoring.slices import plan_scoring

    without_devices()
    arguments.model = arguments.model_argument or arguments.model
    try:
        where = Slice.parse(arguments.topology)
        config = load(arguments).config
        plans = plan_scoring(config, where, precision=arguments.precision, batch_seconds=arguments.batch_seconds)
    except (SliceError, ModuleNotFoundError) as error:
        raise UsageError(str(error)) from None
    lines = [line for plan in plans for line in format_plan(plan)]
    if not all(plan.fits for plan in plans):
        lines.append("What makes it smaller: --batch-seconds (400 a chip by default), --precision bfloat16")
    print_result("\n".join(lines))
    return 0 if all(plan.fits for plan in plans) else 1


def _bound(value: float) -> str:
    return f"{value:g}" if math.isfinite(value) else "open"
