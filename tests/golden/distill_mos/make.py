"""Makes the files of this folder: `PYTHONPATH=. python tests/golden/distill_mos/make.py`, with torch 2.13.

A small Distill-MOS with random weights, and the numbers that its package gives of each clip alone. The package without
what it pulls in: `pip install --no-deps distillmos xls-r-sqa`.
"""

from pathlib import Path
from unittest import mock

import numpy as np
import torch

from launch.benchmark.torch_reference.distill_mos import package
from tests.helpers.corpus import speech_like

FOLDER = Path(__file__).parent
SIZES = {"CNN_FINAL_CHANNELS": 5, "DIM_TRANSFORMER": 16, "N_LAYERS_TRANSFORMER": 2}
# Two that are padded, and one of three segments, which begin at no whole frame.
SAMPLES = (9_000, 23_900, 140_001)


def main() -> None:
    """Writes them."""
    distillmos = package()
    with mock.patch.multiple(distillmos, **SIZES):
        model = distillmos.ConvTransformerSQAModel(load_weights=False).eval()
    torch.manual_seed(0)
    draw(model)
    torch.save({"model": model.state_dict()}, FOLDER / "model.pt")
    inner = model.transformer_pool_attn
    seen: list[torch.Tensor] = []
    inner.norm_trans.register_forward_hook(lambda module, inputs, output: seen.append(output.transpose(1, 2)))
    expected = {}
    for k, samples in enumerate(SAMPLES):
        # With the steps of 16 bits, so that they take less room.
        clip = np.round(speech_like(k, samples) * 2**15).astype(np.float32) / 2**15
        with torch.no_grad():
            score = model(torch.from_numpy(clip[None]))
            frames = seen.pop()
            pool = inner.pool
            frame_scores = 1 + 4 * pool.linear3(frames).sigmoid()
            weights = pool.linear2(pool.linear1(frames).relu()).softmax(1)
        expected |= {f"wav{k}": clip, f"score/{k}": score.numpy()[0, 0]}
        expected |= {f"frame_scores/{k}": frame_scores[..., 0].numpy(), f"frame_weights/{k}": weights[..., 0].numpy()}
    np.savez_compressed(FOLDER / "expected.npz", **expected)
    print({k: float(expected[f"score/{k}"]) for k in range(len(SAMPLES))})


def draw(model: torch.nn.Module) -> None:
    """Fills in random weights, with batch norms that have seen something, so large that the scores differ."""
    for name, value in model.state_dict().items():
        noise = torch.randn(value.shape)
        if name.endswith("running_var"):
            value.copy_(0.5 + noise.abs())
        elif value.dim() == 1:
            value.copy_(noise * 0.1 + name.endswith("weight"))
        elif value.is_floating_point() and not name.endswith(".pe"):
            value.copy_(1.5 * noise / value[0].numel() ** 0.5)


if __name__ == "__main__":
    main()
