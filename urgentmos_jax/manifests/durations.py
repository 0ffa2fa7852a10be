"""Durations of recordings, as their headers have them."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from urgentmos_jax.audio.loading import AudioError, probe
from urgentmos_jax.files import progress

# Beyond this a declared duration is wrong.
DURATION_TOLERANCE_SECONDS = 0.5

_THREADS = 16


def measure_durations(paths: Sequence[str], *, title: str | None = None) -> list[float | Exception]:
    """Seconds of each recording, or the `AudioError` that says why not; from the headers, in threads.

    Args:
        paths: Files.
        title: Of a progress bar on standard error; None for no bar.
    """
    if not paths:
        return []

    def measure(path: str) -> float | Exception:
        try:
            return float(probe(path))
        except AudioError as error:
            return error

    with ThreadPoolExecutor(_THREADS) as pool:
        found = pool.map(measure, paths)
        return list(found if title is None else progress(found, len(paths), "file", title))
