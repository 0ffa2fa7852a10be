"""Scores on a Ray cluster: parts of the inputs go to workers with a model each, and their rows to a folder of files."""

from urgentmos_jax.lazy import public

__getattr__, __all__ = public(
    __name__, cluster="PartError run_parts", parts="PartFolder PartFormat", worker="Job Worker"
)
