"""One HTML file to look at, and to listen to: ranking, agreement, plots, clips. Needs jinja2."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from urgentmos_jax.report.agreement import clips_of
    from urgentmos_jax.report.page import EMBED_MB, write_report

_FILES = {
    "agreement": ("clips_of",),
    "page": (
        "EMBED_MB",
        "write_report",
    ),
}
__all__ = ["EMBED_MB", "clips_of", "write_report"]


def __getattr__(name: str) -> Any:
    for file, names in _FILES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{file}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
