"""Accelerators that are not at hand: TPU slices to compile for, and what a compiled program would take of them.

`chips` says what a chip has and which devices a slice has; `work` counts the operations of a traced program; `hlo`
reads what devices exchange in a compiled one; `plan` puts it together for people.
"""

from urgentmos_jax.lazy import public

__getattr__, __all__ = public(
    __name__,
    chips="CHIPS Chip Slice SliceError",
    hlo="Collective collectives host_transfers",
    plan="Plan compile_plan format_plan",
    work="Work count_work",
)
