"""One HTML file to look at, and to listen to: ranking, agreement, plots, clips. Needs jinja2."""

from urgentmos_jax.report.agreement import clips_of
from urgentmos_jax.report.page import EMBED_MB, write_report

__all__ = ["EMBED_MB", "clips_of", "write_report"]
