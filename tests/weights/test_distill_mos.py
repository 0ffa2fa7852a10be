"""Files that are nearly Distill-MOS are refused, with what is wrong with them."""

from pathlib import Path

import numpy as np
import pytest

from tests.helpers.corpus import TESTS
from urgentmos_jax.weights.distill_mos import is_distill_mos, read_distill_mos
from urgentmos_jax.weights.rules import WeightsError
from urgentmos_jax.weights.torch_zip import read_torch_file

CASE: Path = TESTS / "golden" / "distill_mos" / "model.pt"
POSITIONS = "transformer_pool_attn.transformer.position_encoding.pe"


@pytest.fixture
def tensors() -> dict[str, np.ndarray]:
    content = read_torch_file(CASE)
    assert is_distill_mos(content)
    return content["model"]


def test_every_key_at_fault_is_named(tensors: dict[str, np.ndarray]):
    del tensors["transformer_pool_attn.pool.linear2.bias"]
    tensors["extra.weight"] = np.ones(3, np.float32)
    with pytest.raises(WeightsError, match=r"odd\.pt") as caught:
        read_distill_mos(tensors, origin="odd.pt")
    assert "linear2.bias" in str(caught.value) and "extra.weight" in str(caught.value)


def test_other_positions_are_refused(tensors: dict[str, np.ndarray]):
    tensors[POSITIONS] = tensors[POSITIONS] + np.float32(0.01)
    with pytest.raises(WeightsError, match="other than sines and cosines"):
        read_distill_mos(tensors, origin="odd.pt")


def test_sizes_that_cannot_be(tensors: dict[str, np.ndarray]):
    tensors["cnn.cnn.2.weight"] = np.float32(0)
    with pytest.raises(WeightsError, match="not the sizes of a Distill-MOS"):
        read_distill_mos(tensors, origin="odd.pt")
