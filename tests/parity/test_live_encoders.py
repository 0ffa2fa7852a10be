"""Encoders behind Whisper's log-mel against transformers in the same process, clips of 0.5 to 35 s. Needs torch."""

import jax
import numpy as np
import pytest
from flax import nnx

from tests.helpers.corpus import speech_like
from urgentmos_jax.weights.encoder_folder import load_encoder

pytestmark = pytest.mark.torch
TOLERANCE = 1e-5  # relative L2
SECONDS = (0.5, 0.93, 7.3, 12.01, 35.0)
SIZES = dict(d_model=64, encoder_layers=3, encoder_attention_heads=4, encoder_ffn_dim=96, num_mel_bins=128, dropout=0.0)


def whisper():
    from transformers import WhisperConfig, WhisperModel

    decoder = dict(decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=8, vocab_size=64)
    tokens = dict(pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1)
    model = WhisperModel(WhisperConfig(**SIZES, **decoder, **tokens))
    return model, model.encoder


def qwen2_audio():
    from transformers import Qwen2AudioEncoderConfig
    from transformers.models.qwen2_audio.modeling_qwen2_audio import Qwen2AudioEncoder

    model = Qwen2AudioEncoder(Qwen2AudioEncoderConfig(**SIZES))
    return model, model


def qwen3_omni():
    from transformers.models.qwen3_omni_moe.configuration_qwen3_omni_moe import Qwen3OmniMoeAudioEncoderConfig
    from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import Qwen3OmniMoeAudioEncoder

    own = dict(n_window=50, n_window_infer=400, output_dim=40, downsample_hidden_size=24)
    model = Qwen3OmniMoeAudioEncoder(Qwen3OmniMoeAudioEncoderConfig(**SIZES, **own))
    return model, model


@pytest.mark.parametrize("build", [whisper, qwen2_audio, qwen3_omni])
def test_encoder(build, tmp_path):
    import torch
    from transformers import WhisperFeatureExtractor

    torch.manual_seed(0)
    whole, reference = build()
    whole.eval()
    with torch.no_grad():
        for parameter in whole.parameters():
            parameter.mul_(3 if parameter.ndim > 1 else 1).add_(0.1 * torch.randn_like(parameter))
    whole.save_pretrained(tmp_path)
    extractor = WhisperFeatureExtractor(feature_size=128, return_attention_mask=True)
    extractor.save_pretrained(tmp_path)
    encoder = load_encoder(tmp_path)
    graph, params = nnx.split(encoder)
    run = jax.jit(lambda params, waveform, lengths: nnx.merge(graph, params)(waveform, lengths))

    for seed, seconds in enumerate(SECONDS):
        clip = speech_like(seed, round(seconds * 16000))
        # A window encoder gets what its scorer gives it: windows of 30 s.
        size = encoder.config.max_samples or len(clip)
        for start in range(0, len(clip), size):
            piece = clip[start : start + size]
            padding = dict(padding="max_length") if encoder.config.max_samples else dict(padding=True, truncation=False)
            found = extractor(piece, sampling_rate=16000, return_tensors="pt", return_attention_mask=True, **padding)
            with torch.inference_mode():
                if build is qwen3_omni:
                    frames = found.attention_mask.sum(1)
                    wanted = reference(found.input_features[0][:, : frames[0]], feature_lens=frames).last_hidden_state
                else:
                    wanted = reference(found.input_features).last_hidden_state[0]
            row = np.concatenate([piece, np.ones(min(3000, size - len(piece)), np.float32)])[None]
            states, lengths = run(params, row, np.array([len(piece)]))
            length = encoder.config.frame_lengths(len(piece))
            assert int(lengths[0]) == length
            if build is qwen3_omni:
                assert len(wanted) == length
            wanted = wanted[:length].numpy()
            error = np.linalg.norm(states[0, :length] - wanted) / np.linalg.norm(wanted)
            assert error < TOLERANCE, (seconds, start, error)
            assert wanted.std(0).max() > 100 * TOLERANCE, "frames must differ for the comparison to mean anything"
