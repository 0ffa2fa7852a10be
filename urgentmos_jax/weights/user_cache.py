"""The user's cache folder; where it cannot be written, that is reported once and work continues without it."""

import functools
import logging
import os
import tempfile
from pathlib import Path

logger = logging.getLogger(__name__)

_told: set[str] = set()


def cache_folder(*parts: str) -> Path | None:
    """A folder of ours in the user's cache folder, made so that no one else can write to it; None if it cannot be."""
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(base, "urgentmos", *parts)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except (OSError, RuntimeError) as error:  # RuntimeError: no home folder is known.
        tell(error)
        return None
    return folder


def tell(error: Exception) -> None:
    """Warns that nothing is kept, once in a process for each cache folder."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    if named not in _told:
        _told.add(named)
        kept = "what is downloaded, converted or compiled is not kept; XDG_CACHE_HOME names another"
        logger.warning("the cache folder cannot be written: %s; %s", error, kept)


def temporary_folder() -> Path:
    """A folder in place of that of the cache, which this process removes when it ends."""
    return Path(_temporary().name)


@functools.cache
def _temporary() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="urgentmos-")
