"""Models as others take them: model cards, StableHLO, ONNX."""

from urgentmos_jax.lazy import public

__getattr__, __all__ = public(
    __name__, card="CardError card_of read_evaluation", files="export_model", program="ExportError"
)
