"""Models as others take them: model cards."""

from urgentmos_jax.lazy import public

__getattr__, __all__ = public(__name__, card="CardError card_of read_evaluation")
