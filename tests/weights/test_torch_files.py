"""Files made by torch 2.13 (`torch/make.py`): weights are read, all else that torch can write is refused by name."""

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from urgentmos_jax.weights.torch_zip import UnsafeCheckpoint, read_torch_file

FOLDER = Path(__file__).parent / "torch"
REFUSED = {
    "module": "global torch.nn.modules.container.Sequential",
    "sparse": "global torch._utils._rebuild_sparse_tensor",
    "quantized": "global torch._utils._rebuild_qtensor",
    "complex": "global torch.ComplexFloatStorage",
    "float8": "global torch._utils._rebuild_tensor_v3",
    "meta": "global torch._utils._rebuild_meta_tensor_no_storage",
    "expanded": "tensor of size (5,) reaches beyond its storage of 1",
    "size": "global torch.Size",
    "numpy": "global numpy._core.multiarray._reconstruct",
    "path": "global pathlib.PosixPath",
    "set": "global __builtin__.set",
    "legacy": "a legacy (non-zip) torch file",
    "protocol-4": "pickle protocol 4, not 2",
    "no-checksums": "checksum (CRC-32)",
}
READ = ("state-dict", "optimizer", "odd")


def test_weights_are_read():
    state = read_torch_file(FOLDER / "state-dict.pt")
    shapes = {name: array.shape for name, array in state.items()}
    assert shapes == {
        **{"0.weight": (3, 2), "0.bias": (3,), "1.weight": (3,), "1.bias": (3,)},
        **{"1.running_mean": (3,), "1.running_var": (3,), "1.num_batches_tracked": ()},
    }
    assert state["1.num_batches_tracked"] == 1
    optimizer = read_torch_file(FOLDER / "optimizer.pt")
    assert optimizer["param_groups"][0]["lr"] == 1e-3 and optimizer["param_groups"][0]["params"] == [0, 1, 2, 3]
    assert optimizer["state"][0]["exp_avg"].shape == (3, 2)
    odd = read_torch_file(FOLDER / "odd.pt")
    np.testing.assert_array_equal(odd["transposed"], np.arange(6, dtype=np.float32).reshape(2, 3).T)
    assert odd["part"].tolist() == [3, 4] and odd["scalar"] == 3.5 and odd["empty"].shape == (0, 3)
    assert odd["bfloat16"].dtype == ml_dtypes.bfloat16 and odd["bfloat16"].tolist() == [1.5, -2.0]
    assert odd["parameter"].tolist() == [1, 1] and odd["bool"].tolist() == [True, False]


@pytest.mark.parametrize("name", REFUSED)
def test_all_else_is_refused_by_name(name):
    with pytest.raises(UnsafeCheckpoint) as error:
        read_torch_file(FOLDER / f"{name}.pt")
    assert REFUSED[name] in str(error.value) and str(FOLDER / f"{name}.pt") in str(error.value)


def test_each_file_is_tried():
    assert {path.stem for path in FOLDER.glob("*.pt")} == {*READ, *REFUSED}


@pytest.mark.torch
@pytest.mark.parametrize("name", READ)
def test_equals_torch(name):
    torch = pytest.importorskip("torch")

    def same(found, wanted):
        if isinstance(wanted, torch.Tensor):
            wanted = wanted.detach()
            assert found.shape == tuple(wanted.shape)
            assert str(found.dtype) == str(wanted.dtype).removeprefix("torch.")
            np.testing.assert_array_equal(found.astype(np.float64), wanted.double().numpy())
        elif isinstance(wanted, dict | list):
            assert len(found) == len(wanted)
            for key in wanted if isinstance(wanted, dict) else range(len(wanted)):
                same(found[key], wanted[key])
        else:
            assert found == wanted

    same(read_torch_file(FOLDER / f"{name}.pt"), torch.load(FOLDER / f"{name}.pt", weights_only=False))
