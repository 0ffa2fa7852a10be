"""Speech quality assessment in JAX: UrgentMOS (arXiv 2601.18438).

>>> import urgentmos_jax
>>> model = urgentmos_jax.load_model("path-or-hub-id")
>>> model.score(["a.wav", "b.wav"])
>>> model.compare([("a.wav", "b.wav")])
"""

from typing import Any

from urgentmos_jax import _moved
from urgentmos_jax.version import __version__

__all__ = ["AudioError", "Model", "__version__", "load_model"]

_moved.install()


def __getattr__(name: str) -> Any:
    # Loaded when asked for: `urgentmos --help` need not wait for jax.
    if name == "AudioError":
        from urgentmos_jax.audio.loading import AudioError

        return AudioError
    if name == "Model":
        from urgentmos_jax.scoring.model import Model

        return Model
    if name == "load_model":
        from urgentmos_jax.scoring.loading import load_model

        return load_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
