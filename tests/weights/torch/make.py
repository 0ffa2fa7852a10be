"""Makes the files of this folder: `python tests/weights/torch/make.py`, with torch 2.13."""

import warnings
from pathlib import Path

import torch

FOLDER = Path(__file__).parent


def main() -> None:
    """Writes them."""
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    layer = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(2, 2)).sum().backward()
    optimizer.step()
    odd = {
        "transposed": torch.arange(6.0).reshape(2, 3).T,
        "part": torch.arange(10)[3:5],
        "scalar": torch.tensor(3.5, dtype=torch.float64),
        "bfloat16": torch.tensor([1.5, -2.0]).bfloat16(),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "bool": torch.tensor([True, False]),
        "empty": torch.zeros(0, 3),
    }
    read = {"state-dict": layer.state_dict(), "optimizer": optimizer.state_dict(), "odd": odd}
    refused = {
        "module": layer,
        "sparse": torch.eye(3).to_sparse(),
        "quantized": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.quint8),
        "complex": torch.ones(2, dtype=torch.complex64),
        "float8": torch.ones(2).to(torch.float8_e4m3fn),
        "meta": torch.ones(2, device="meta"),
        "expanded": torch.ones(1).expand(5),
        "size": torch.Size([1, 2]),
        "numpy": torch.ones(3).numpy(),
        "path": Path("a"),
        "set": {1, 2},
    }
    for name, value in (read | refused).items():
        torch.save(value, FOLDER / f"{name}.pt")
    torch.save(layer.state_dict(), FOLDER / "legacy.pt", _use_new_zipfile_serialization=False)
    torch.save(layer.state_dict(), FOLDER / "protocol-4.pt", pickle_protocol=4)
    torch.serialization.set_crc32_options(False)
    torch.save(layer.state_dict(), FOLDER / "no-checksums.pt")


if __name__ == "__main__":
    main()
