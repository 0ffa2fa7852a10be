"""Full-size models with random weights against the torch reference, in the same process. Needs torch."""

import jax
import numpy as np
import pytest

from tests.helpers.corpus import speech_like
from urgentmos_jax.scoring.model import Model
from urgentmos_jax.weights.urgent_mos import read_checkpoint

pytestmark = pytest.mark.torch
TOLERANCE = 1e-4
SAMPLES = (48123, 16000, 25999)


def wavlm_large():
    from transformers import WavLMConfig

    return WavLMConfig(
        hidden_size=1024,
        num_hidden_layers=24,
        num_attention_heads=16,
        intermediate_size=4096,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
    )


def wavlm_base():
    from transformers import WavLMConfig

    return WavLMConfig()


@pytest.mark.parametrize(
    ("architecture", "do_normalize"), [(wavlm_base, False), pytest.param(wavlm_large, True, marks=pytest.mark.long)]
)
def test_full_size(architecture, do_normalize: bool, tmp_path):
    import torch

    from launch.benchmark.torch_reference import checkpoints

    reference = checkpoints.random_model(architecture(), do_normalize, checkpoints.published_config(), 0)
    clips = [speech_like(seed, samples) for seed, samples in enumerate(SAMPLES)]
    tensors = [torch.from_numpy(clip) for clip in clips]
    # Fresh weights give all clips the same score: larger ones do not, with the first clip in the middle of the range.
    with torch.no_grad():
        for name, value in reference.named_parameters():
            if name.endswith(("prediction_head.weight", "regression_head.weight", "classification_head.weight")):
                value.mul_(10)
            elif value.ndim > 1 and "feature_extractors" in name and "conv" not in name and "gru" not in name:
                value.mul_(2)
        for name, score in reference([tensors[0]]).items():
            reference.metric2absolute_score_predictor[name].prediction_head.bias -= torch.log((score - 1) / (5 - score))
    checkpoints.save_checkpoint(reference, tmp_path / "model.pt")
    folders = checkpoints.save_encoder_configs(reference, tmp_path)
    model = Model(read_checkpoint(tmp_path / "model.pt", folders).module, devices=jax.devices()[:1])

    rows = model.score(clips, sample_rate=16000, frames=True)
    with torch.inference_mode():
        for row, tensor in zip(rows, tensors, strict=True):
            wanted = reference.frames([tensor])
            scores = reference([tensor])
            for name, score in row["scores"].items():
                assert score == pytest.approx(scores[name].item(), abs=TOLERANCE)
                frames = row["frames"][name]["scores"]
                np.testing.assert_allclose(frames, wanted[name][0][0, : len(frames)], rtol=0, atol=TOLERANCE)
        pairs = [(0, 1), (1, 2), (2, 0)]
        found = model.compare([(clips[a], clips[b]) for a, b in pairs], sample_rate=16000, order="ab")
        for (a, b), row in zip(pairs, found, strict=True):
            cmos, logits = reference.compare([tensors[a]], [tensors[b]])["mos_overall"]
            comparison = row["comparison"]["mos_overall"]
            assert comparison["cmos"] == pytest.approx(cmos.item(), abs=TOLERANCE)
            np.testing.assert_allclose(comparison["logits"], logits[0], rtol=0, atol=TOLERANCE)
    spread = np.ptp([row["scores"]["mos_overall"] for row in rows])
    assert spread > 100 * TOLERANCE, "the clips must differ for the comparison to mean anything"
