"""How many recordings a model encodes."""

import numpy as np

from urgentmos_jax.scoring.model import Model


def count_encoded(model: Model) -> list[int]:
    """A list that grows by the samples of each window that the model encodes from now on."""
    lengths: list[int] = []
    encode = model.engine.encode

    def counting(params, waveform, samples, **options):
        lengths.extend(int(count) for count in np.asarray(samples) if count)
        return encode(params, waveform, samples, **options)

    counting.lower = encode.lower
    model.engine.encode = counting
    return lengths
