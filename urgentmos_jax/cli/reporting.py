"""--report of the subcommands, and what `urgentmos report` shares with them."""

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from urgentmos_jax.cli.output import check_output, writing
from urgentmos_jax.cli.usage import UsageError

_EMBED_MB = 20.0  # Of `evaluation.report`, which is imported when it is asked for.
_LONGEST_TITLE = 60


def add_report_arguments(parser: argparse.ArgumentParser) -> None:
    """--report and --embed-mb."""
    parser.add_argument("--report", type=Path, metavar="F.html", help="write a page to look at and listen to")
    add_embed_argument(parser)


def add_embed_argument(parser: argparse.ArgumentParser) -> None:
    """--embed-mb."""
    parser.add_argument(
        "--embed-mb", type=float, default=_EMBED_MB, metavar="MB",
        help="most that recordings within the page may take, the others are linked (default: %(default)g)",
    )  # fmt: skip


def check_report(path: Path | None, embed_mb: float, *, flag: str = "--report") -> None:
    """Refuses, before anything is computed, a page that could not be written."""
    if path is None:
        return
    if path.suffix not in (".html", ".htm"):
        raise UsageError(f"{flag} {path}: give a name that ends in .html")
    if not 0 <= embed_mb < math.inf:
        raise UsageError(f"--embed-mb is {embed_mb:g}, give a number of 0 or more")
    try:
        import jinja2  # noqa: F401
    except ImportError:
        raise UsageError(f'{flag}: reports need jinja2: pip install "urgentmos_jax[report]"') from None
    check_output(flag, path)


def save_report(path: Path, *arguments: Any, flag: str = "--report", **options: Any) -> None:
    """Writes a page, see `evaluation.report.write_report`."""
    from urgentmos_jax.report import write_report

    with writing(f"{flag} {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_report(path, *arguments, **options)


def about_page(data: Sequence[Path], about: Mapping[str, Any]) -> dict[str, Any]:
    """Heading and facts of a page: the data, and the model or the file of predictions."""
    from urgentmos_jax.manifests.naming import corpus_name

    names = list(dict.fromkeys(path.resolve().name if path.is_dir() else corpus_name(path) for path in data))
    title = ", ".join(names)
    if len(title) > _LONGEST_TITLE:
        title = f"{names[0]} and {len(names) - 1} more" if len(names) > 1 else names[0]
    found = {"Data": ", ".join(map(str, data[:3])) + (f" and {len(data) - 3} more" if len(data) > 3 else "")}
    if about.get("model"):
        weights = about.get("model_sha256")
        found["Model"] = str(about["model"]) + (f" ({weights[:12]})" if weights else "")
        if about.get("precision") != "float32":
            found["Precision"] = str(about["precision"])
    if about.get("calibration"):
        found["Calibrated"] = ", ".join(
            f"{name} by {one['pairs']:,} pairs" for name, one in about["calibration"].items()
        )
    if about.get("predictions"):
        found["Predictions"] = str(about["predictions"])
    return {"title": title, "facts": found}
