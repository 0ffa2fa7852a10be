"""`urgentmos export`: the scores of a model as a file of StableHLO or ONNX."""

import argparse
from pathlib import Path

from urgentmos_jax.cli.models import DEFAULT_MODEL, add_revision_argument, load
from urgentmos_jax.cli.output import check_output, tell, writing
from urgentmos_jax.cli.usage import UsageError

_FORMATS = ("stablehlo", "onnx")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the subcommand."""
    parser.add_argument("model", nargs="?", default=DEFAULT_MODEL, metavar="M", help="model folder or hub id")
    add_revision_argument(parser)
    parser.add_argument(
        "--format", choices=_FORMATS, required=True,
        help="stablehlo: for jax, IREE and XLA on CPU, CUDA and TPU; onnx: for onnxruntime, browsers too",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=Path, metavar="FILE",
        help="FILE.meta.json beside it says how it is used (default: the model's name with .stablehlo or .onnx)",
    )  # fmt: skip
    parser.add_argument(
        "--check", nargs="+", default=[], metavar="INPUT",
        help="recordings, folders or lists on which the file is compared with the model, within 1e-4, before it is "
        "written (default: generated signals)",
    )  # fmt: skip
    parser.add_argument(
        "--seconds", type=float, metavar="S",
        help="rows of this length, to which recordings are padded, for encoders that need one (default: any length)",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Writes the file; 2 where the model cannot be exported so."""
    from urgentmos_jax.exporting.files import export_model
    from urgentmos_jax.exporting.program import ExportError
    from urgentmos_jax.manifests.inputs import read_inputs, stream

    output = arguments.output or Path(f"{Path(arguments.model).resolve().name}.{arguments.format}")
    check_output("--output", output)
    recordings = [recording for _, recording in read_inputs(arguments.check)] if arguments.check else []
    arguments.precision, arguments.batch_seconds = "float32", None
    model = load(arguments, arguments.model)
    try:
        with writing(f"--output {output}"):
            found = export_model(
                model, output, arguments.format, recordings=stream(recordings), seconds=arguments.seconds
            )
    except ExportError as error:
        raise UsageError(str(error)) from None
    what = "recordings" if arguments.check else "generated signals, as there is no --check"
    near = f"within {found.difference:.1g} of the model"
    tell(f"{output}: {found.size_bytes / 1e6:.1f} MB; {near}, compared on {what}: {found.compared}")
    return 0
