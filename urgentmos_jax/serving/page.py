"""The page of the service: two recordings to drop, to hear, and to compare, in the look of the report."""

import base64
import functools
import hashlib
from importlib import resources


@functools.cache
def page() -> tuple[str, str]:
    """The page, and its Content-Security-Policy: it runs what is in it, and asks nobody but this service."""
    here, report = (resources.files(f"urgentmos_jax.{room}") for room in ("serving", "report"))
    style = (report / "page.css").read_text("utf-8") + (here / "page.css").read_text("utf-8")
    script = (here / "page.js").read_text("utf-8")
    html = (here / "page.html").read_text("utf-8").replace("/* style */", style).replace("/* script */", script)
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; connect-src 'self'; "
        "media-src blob:; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return html, policy


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
