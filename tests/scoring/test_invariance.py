"""A score is a property of the clip: no batch, padding, order or device changes it. Comparisons are antisymmetric."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.helpers.corpus import speech_like
from urgentmos_jax.encoders.compact import CompactConfig
from urgentmos_jax.encoders.qwen3_omni import Qwen3OmniConfig
from urgentmos_jax.encoders.wav2vec2 import TimeNorm, Wav2Vec2Config
from urgentmos_jax.encoders.whisper import WhisperConfig
from urgentmos_jax.metrics import Metric
from urgentmos_jax.model.transformer import TransformerConfig
from urgentmos_jax.model.urgentmos import EncoderConfig, ModelConfig, UrgentMOS
from urgentmos_jax.scoring.model import Model
from urgentmos_jax.weights.rules import fill, flat_state

TOLERANCE = 1e-4
SAMPLES = (18001, 9601, 401, 5200, 18001, 9601, 5200, 719)


def architecture(kind: str):
    layers = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40)
    if kind == "compact":
        return CompactConfig(**layers)
    if kind in ("whisper", "qwen2_audio_encoder"):
        return WhisperConfig(kind, mel_bins=80, max_frames=100, **layers)
    if kind == "qwen3_omni":
        # The longest clips have several chunks and as many windows.
        return Qwen3OmniConfig(mel_bins=24, output_dim=20, stem_channels=6, chunk=100, window=100, **layers)
    return Wav2Vec2Config(
        model_type="wavlm",
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=40,
        feat_extract_norm=kind,
        do_stable_layer_norm=kind == "layer",
        do_normalize=kind == "layer",
        conv_dim=(16,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=3,
    )


FUSED = ("layer", "whisper", "qwen3_omni", "qwen2_audio_encoder")


def model_config(kind: str) -> ModelConfig:
    kinds = FUSED if kind == "fused" else (kind,)
    return ModelConfig(
        encoders=tuple(EncoderConfig(architecture(one), layer_aggregation="qwen" not in one) for one in kinds),
        categories={
            "naturalness": {"mos_overall": Metric(1, 5, True), "pesq": Metric(1, 4.5)},
            "fidelity": {"sdr": Metric(), "estoi": Metric(0, 1)},
        },
        width=20,
        category=TransformerConfig(layers=2, heads=4, feedforward=28),
    )


def random_module(config: str | ModelConfig, seed: int = 0) -> UrgentMOS:
    """Random weights, large enough that the scores of unlike clips differ."""
    config = model_config(config) if isinstance(config, str) else config
    module = nnx.eval_shape(lambda: UrgentMOS(config, rngs=nnx.Rngs(0)))
    rng = np.random.default_rng(seed)

    def draw(path: str, shape: tuple[int, ...]) -> np.ndarray:
        noise = rng.standard_normal(shape)
        if path.endswith(("scale", "gate_scale")):
            return (1 + 0.1 * noise).astype(np.float32)
        fan_in = np.prod(shape[-3 if "conv" in path or "position" in path else -2 : -1], initial=1)
        return (noise * (0.1 if path.endswith("bias") else 1.5 / np.sqrt(fan_in))).astype(np.float32)

    arrays = {path: draw(path, value.shape) for path, value in flat_state(module).items()}
    fill(module, arrays, origin="random")
    return module


def on_one_device(module: UrgentMOS) -> Model:
    """Few buckets, as every shape takes seconds to compile."""
    model = Model(module, devices=jax.devices()[:1], batch_seconds=2.0)
    model._buckets = (8000, 20000)
    return model


@pytest.fixture(scope="module", params=["group", "compact", *FUSED, "fused"])
def model(request) -> Model:
    return on_one_device(random_module(request.param))


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    return [speech_like(seed, samples) for seed, samples in enumerate(SAMPLES)]


def table(rows: list[dict]) -> np.ndarray:
    assert all(row["error"] is None for row in rows)
    return np.array([list(row["scores"].values()) for row in rows])


def batch_table(model: Model, waveform: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    found = model._score(model.params, waveform, lengths, frames=False)
    return np.stack([np.asarray(found[name][0]) for name in model.metrics], 1)


def alone(model: Model, clips: list[np.ndarray]) -> np.ndarray:
    """Scores without any padding or batch."""
    return np.concatenate([batch_table(model, clip[None], np.array([len(clip)], np.int32)) for clip in clips])


@pytest.fixture(scope="module")
def reference(model: Model, clips: list[np.ndarray]) -> np.ndarray:
    return alone(model, clips)


def test_spread(reference: np.ndarray):
    spread = np.ptp(reference, axis=0)
    assert (spread > 0.1).all(), spread


def test_scoring_equals_the_clip_alone(model: Model, clips: list[np.ndarray], reference: np.ndarray):
    found = table(model.score(clips, sample_rate=16000))
    np.testing.assert_allclose(found, reference, rtol=0, atol=TOLERANCE)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_partitions(model: Model, clips: list[np.ndarray], reference: np.ndarray, data: st.DataObject):
    """Any subset in any order, in a batch of any padded length, filled with anything."""
    order = data.draw(st.permutations(range(len(clips))))
    chosen = list(order[: data.draw(st.integers(1, len(clips)))])
    waveform = np.full((8, data.draw(st.sampled_from([20000, 24000]))), data.draw(st.sampled_from([0.0, 1.0, np.nan])))
    lengths = np.zeros(8, np.int32)
    for row, place in enumerate(chosen):
        waveform[row, : SAMPLES[place]], lengths[row] = clips[place], SAMPLES[place]
    found = batch_table(model, waveform.astype(np.float32), lengths)[: len(chosen)]
    np.testing.assert_allclose(found, reference[chosen], rtol=0, atol=TOLERANCE)


def test_one_device_equals_eight(clips: list[np.ndarray]):
    module = random_module("group")
    eight, one = Model(module), on_one_device(module)
    assert (eight._devices, one._devices) == (8, 1)
    eight._buckets = (20000,)
    eight = table(eight.score(clips, sample_rate=16000))
    np.testing.assert_allclose(table(one.score(clips, sample_rate=16000)), eight, rtol=0, atol=TOLERANCE)


def test_without_the_mask_of_the_group_norm_scores_move(clips: list[np.ndarray], monkeypatch: pytest.MonkeyPatch):
    """The tests above would see it if the first norm heard the padding."""
    module = random_module("group")
    wanted = alone(Model(module), clips)
    masked = TimeNorm.__call__
    monkeypatch.setattr(
        TimeNorm, "__call__", lambda self, x, lengths: masked(self, x, jnp.full(x.shape[0], x.shape[1]))
    )
    moved = np.abs(table(on_one_device(module).score(clips, sample_rate=16000)) - wanted).max()
    assert moved > 100 * TOLERANCE


def test_comparisons_are_antisymmetric(model: Model, clips: list[np.ndarray]):
    pairs = [(0, 1), (2, 3), (4, 5), (6, 7), (7, 0)]
    forward = model.compare([(clips[a], clips[b]) for a, b in pairs], sample_rate=16000)
    backward = model.compare([(clips[b], clips[a]) for a, b in pairs], sample_rate=16000)
    one_sided = model.compare([(clips[b], clips[a]) for a, b in pairs], sample_rate=16000, order="ab")
    for ab, ba, raw in zip(forward, backward, one_sided, strict=True):
        x, y, z = (row["comparison"]["mos_overall"] for row in (ab, ba, raw))
        assert x["cmos"] == pytest.approx(-y["cmos"], abs=1e-6)
        assert (x["p_a"], x["p_b"], x["p_tie"]) == pytest.approx((y["p_b"], y["p_a"], y["p_tie"]), abs=1e-6)
        assert x["p_a"] + x["p_b"] + x["p_tie"] == pytest.approx(1, abs=1e-6)
        assert abs(z["cmos"] - y["cmos"]) > 1e-4, "the one-sided number is another one"
    cmos = [row["comparison"]["mos_overall"]["cmos"] for row in forward]
    assert np.ptp(cmos) > 0.01


def test_a_clip_against_itself_is_a_draw(model: Model, clips: list[np.ndarray]):
    for row in model.compare([(clip, clip) for clip in clips], sample_rate=16000):
        values = row["comparison"]["mos_overall"]
        assert values["cmos"] == pytest.approx(0, abs=1e-6)
        assert values["p_a"] == pytest.approx(values["p_b"], abs=1e-6)


def test_comparison_does_not_depend_on_the_other_pairs(model: Model, clips: list[np.ndarray]):
    pairs = [(clips[a], clips[b]) for a, b in [(0, 1), (2, 6), (4, 2), (1, 0), (3, 3)]]
    together = model.compare(pairs, sample_rate=16000)
    for pair, row in zip(pairs, together, strict=True):
        (single,) = model.compare([pair], sample_rate=16000)
        assert single["comparison"]["mos_overall"] == pytest.approx(row["comparison"]["mos_overall"], abs=TOLERANCE)


def test_each_recording_is_encoded_once(clips: list[np.ndarray]):
    model = on_one_device(random_module("layer"))
    seen = 0
    encode = model._encode

    def counting(params, waveform, lengths, **flags):
        nonlocal seen
        seen += int((np.asarray(lengths) > 0).sum())
        return encode(params, waveform, lengths, **flags)

    model._encode = counting
    model.compare([(a, b) for a in clips for b in clips], sample_rate=16000)
    assert seen == len(clips)


def test_gradient_with_respect_to_the_waveform(model: Model, clips: list[np.ndarray]):
    waveform = np.zeros((2, SAMPLES[0]), np.float32)
    waveform[0], waveform[1, :5200] = clips[0], clips[3]
    lengths = jnp.array([SAMPLES[0], 5200], jnp.int32)
    gradient = jax.jit(jax.grad(lambda w: model.apply(w, lengths)["mos_overall"].sum()))(waveform)
    gradient = np.asarray(gradient)
    assert np.isfinite(gradient).all()
    assert np.abs(gradient[0]).max() > 0 and np.abs(gradient[1, :5200]).max() > 0
    assert (gradient[1, 5200:] == 0).all(), "padding has no influence"


def test_few_shapes_are_compiled(clips: list[np.ndarray]):
    model = Model(random_module("compact"), devices=jax.devices()[:1])
    rng = np.random.default_rng(1)
    many = [speech_like(i, int(n)) for i, n in enumerate(rng.integers(8000, 16000, 60))]
    rows = model.score(many, sample_rate=16000)
    assert len(rows) == 60 and model._score._cache_size() <= 3 * len(model._buckets)
    assert model._score._cache_size() < 20
