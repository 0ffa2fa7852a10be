"""--model of the subcommands, and what else is said of a model."""

import argparse
import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from urgentmos_jax.cli.usage import UsageError

if TYPE_CHECKING:
    from urgentmos_jax.model.urgentmos import ModelConfig
    from urgentmos_jax.scoring.model import Model

DEFAULT_MODEL = "urgent-challenge/urgent-mos-f1c1m5dcorpus"
WITHOUT_NETWORK = (
    "--model urgentmos-small, which is in the package and predicts the scores of Distill-MOS and DNSMOS, PESQ, ESTOI, "
    "SI-SDR and, learnt from few ratings, MOS"
)


def add_model_arguments(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """--model (or several), None by default; --revision, --precision and --batch-seconds."""
    what = f"urgentmos-small, which is in the package; a model folder; or a hub id (default: {DEFAULT_MODEL})"
    parser.add_argument("--model", nargs="+" if several else None, metavar="M", help=what)
    add_revision_argument(parser)
    parser.add_argument(
        "--precision", choices=("float32", "bfloat16"), default="float32", help="of the encoders (default: %(default)s)"
    )
    parser.add_argument(
        "--batch-seconds", type=float, metavar="S", help="seconds of audio in a batch (default: what suits the device)"
    )


def add_revision_argument(parser: argparse.ArgumentParser) -> None:
    """--revision."""
    parser.add_argument(
        "--revision", metavar="R", help="branch, tag or commit of the hub repository of the model (default: main)"
    )


@contextlib.contextmanager
def finding(source: str) -> Iterator[None]:
    """Turns what can be wrong with a model that is looked for meanwhile into wrong usage."""
    from urgentmos_jax.weights.hub import ModelNotFound

    try:
        yield
    except ModelNotFound as error:
        other = f"; or give {WITHOUT_NETWORK}" if source == DEFAULT_MODEL else ""
        raise UsageError(f"--model {error}{other}") from None
    except (ValueError, OSError) as error:
        raise UsageError(str(error)) from None


def load(arguments: argparse.Namespace, source: str | None = None) -> "Model":
    """Loads `source`, else --model, else the default; what can be wrong with it is wrong usage."""
    from urgentmos_jax.scoring.loading import load_model

    if arguments.batch_seconds is not None and not 0 < arguments.batch_seconds < math.inf:
        raise UsageError(f"--batch-seconds is {arguments.batch_seconds}, give a number above 0")
    if arguments.revision is not None and isinstance(arguments.model, list) and len(arguments.model) > 1:
        raise UsageError("--revision goes with one --model; for several, give each as owner/name@REVISION")
    source = source or arguments.model or DEFAULT_MODEL
    with finding(source):
        return load_model(
            source, revision=arguments.revision, precision=arguments.precision, batch_seconds=arguments.batch_seconds
        )


def about_lines(folder: Path | None, weights: str | None, content: Mapping[str, Any]) -> list[str]:
    """Lines that say where a model is and what is known of it.

    Args:
        folder: Where it is.
        weights: SHA-256 of them.
        content: Of config.json, `origin` at least.
    """
    from urgentmos_jax.weights.model_card import facts

    lines = {"model": str(folder), "weights": f"sha256 {weights}", **facts(content)}
    return [f"{name:<12} {text}" for name, text in lines.items()]


def config_of(arguments: argparse.Namespace) -> "ModelConfig | None":
    """The architecture of a --model that is a folder on this machine, before its weights are loaded; None of others."""
    from urgentmos_jax.weights.model_folder import ModelFolderError, is_model_folder, read_folder_config

    if arguments.model is None or not is_model_folder(Path(arguments.model)):
        return None
    try:
        return read_folder_config(arguments.model)[0]
    except ModelFolderError:  # `load` says so.
        return None


def name_list(text: str) -> list[str]:
    """The names of `A,B`."""
    return [name.strip() for name in text.split(",") if name.strip()]


def chosen_metrics(arguments: argparse.Namespace, known: Iterable[str]) -> list[str] | None:
    """--metrics as a list, checked."""
    if arguments.metrics is None:
        return None
    names = name_list(arguments.metrics)
    if unknown := [name for name in names if name not in known]:
        raise UsageError(f"--metrics: {unknown} are not among those of the model: {', '.join(known)}")
    return names


def metadata(model: "Model") -> dict[str, Any]:
    """What was computed with what, for F.meta.json."""
    from urgentmos_jax.audio.loading import RESAMPLER
    from urgentmos_jax.version import __version__

    return {"tool": "urgentmos_jax", "tool_version": __version__, "resampler": RESAMPLER, **model.describe()}
