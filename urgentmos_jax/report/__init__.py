"""One HTML file to look at, and to listen to: ranking, agreement, plots, clips. Needs jinja2."""

from urgentmos_jax.lazy import public

__getattr__, __all__ = public(__name__, agreement="clips_of", page="EMBED_MB write_report")
