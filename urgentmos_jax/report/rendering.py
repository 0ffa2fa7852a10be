"""The template of the page, and how numbers are written in it."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from urgentmos_jax.statistics.bootstrap import Interval

if TYPE_CHECKING:
    import jinja2

_MISSING = "\N{EN DASH}"


def page_template() -> "jinja2.Template":
    """The template of the page.

    Raises:
        ImportError: jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError as error:
        raise ImportError('reports need jinja2: pip install "urgentmos_jax[report]"') from error
    blocks: dict[str, Any] = {"trim_blocks": True, "lstrip_blocks": True, "undefined": jinja2.StrictUndefined}
    environment = jinja2.Environment(loader=jinja2.PackageLoader(__package__, "."), autoescape=True, **blocks)
    environment.filters |= {"number": _number, "key": _key, "interval": _interval, "share": _share}
    environment.tests |= {"text": lambda value: isinstance(value, str), "defined_number": _is_number}
    return environment.get_template("page.html.j2")


def _is_number(value: Any) -> bool:
    return value is not None and math.isfinite(value.value if isinstance(value, Interval) else value)


def _number(value: Any, decimals: int = 2) -> str:
    if not _is_number(value):
        return _MISSING
    if isinstance(value, int | np.integer):
        return str(value)
    text = f"{value:.{decimals}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def _interval(value: Interval, decimals: int = 2) -> str:
    """The two ends alone."""
    if math.isnan(value.low) or math.isnan(value.high):
        return ""
    return f"[{_number(value.low, decimals)}, {_number(value.high, decimals)}]"


def _key(value: Any) -> str:
    """What a cell is sorted by; nothing where it is not defined."""
    if not _is_number(value):
        return ""
    return f"{value.value if isinstance(value, Interval) else value:.6g}"


def _share(value: float) -> str:
    """A place as CSS and SVG have it, in per cent."""
    return f"{100 * value:.2f}"
