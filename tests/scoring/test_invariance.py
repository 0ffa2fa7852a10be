"""A score is a property of the clip: no batch, padding, order or device changes it. Comparisons are antisymmetric."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.helpers.corpus import speech_like
from tests.helpers.counting import count_encoded
from tests.helpers.models import FUSED, OWN_LENGTH, SAMPLES, model_config, on_one_device, random_module
from urgentmos_jax.encoders.conv_stem import TimeNorm
from urgentmos_jax.model.urgentmos import ModelConfig
from urgentmos_jax.scoring.model import Model

TOLERANCE = 1e-4


OWN = [f"{kind}{OWN_LENGTH}" for kind in ("whisper", "qwen2_audio_encoder")]
KINDS = [
    "group",
    *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("compact", *FUSED, "distill_mos", "fused", *OWN)),
]


@pytest.fixture(scope="module", params=KINDS)
def model(request) -> Model:
    return on_one_device(random_module(request.param))


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    return [speech_like(seed, samples) for seed, samples in enumerate(SAMPLES)]


def table(rows: list[dict]) -> np.ndarray:
    assert all(row["error"] is None for row in rows)
    return np.array([list(row["scores"].values()) for row in rows])


def batch_table(model: Model, waveform: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    found = model.engine.encode(model.params, waveform, lengths, frames=False, features=False)[0]
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
    assert (eight.engine.device_count, one.engine.device_count) == (8, 1)
    eight.engine.bucket_sizes = (20000,)
    eight = table(eight.score(clips, sample_rate=16000))
    np.testing.assert_allclose(table(one.score(clips, sample_rate=16000)), eight, rtol=0, atol=TOLERANCE)


@pytest.mark.slow
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
    encoded = count_encoded(model)
    model.compare([(a, b) for a in clips for b in clips], sample_rate=16000)
    assert len(encoded) == len(clips)


def test_gradient_with_respect_to_the_waveform(model: Model, clips: list[np.ndarray]):
    waveform = np.zeros((2, SAMPLES[0]), np.float32)
    waveform[0], waveform[1, :5200] = clips[0], clips[3]
    lengths = jnp.array([SAMPLES[0], 5200], jnp.int32)
    gradient = jax.jit(jax.grad(lambda w: model.apply(w, lengths)["mos_overall"].sum()))(waveform)
    gradient = np.asarray(gradient)
    assert np.isfinite(gradient).all()
    assert np.abs(gradient[0]).max() > 0 and np.abs(gradient[1, :5200]).max() > 0
    assert (gradient[1, 5200:] == 0).all(), "padding has no influence"


@pytest.mark.slow
def test_the_gradient_of_a_score_is_not_scaled_as_in_training():
    frozen = model_config("compact")
    trained = replace(frozen, encoders=(replace(frozen.encoders[0], freeze=False, gradient_scale=0.1),))
    waveform, lengths = speech_like(3, 5200)[None], jnp.array([5200], jnp.int32)

    def gradient(config: ModelConfig) -> np.ndarray:
        model = on_one_device(random_module(config))
        return np.asarray(jax.jit(jax.grad(lambda w: model.apply(w, lengths)["mos_overall"].sum()))(waveform))

    assert np.abs(gradient(frozen)).max() > 0
    np.testing.assert_allclose(gradient(trained), gradient(frozen), rtol=1e-5, atol=1e-8)


@pytest.mark.slow
def test_few_shapes_are_compiled(clips: list[np.ndarray]):
    model = Model(random_module("compact"), devices=jax.devices()[:1])
    rng = np.random.default_rng(1)
    many = [speech_like(i, int(n)) for i, n in enumerate(rng.integers(8000, 16000, 60))]
    rows = model.score(many, sample_rate=16000)
    assert len(rows) == 60 and len(model.compiled_shapes) <= 3 * len(model.engine.bucket_sizes)
    assert len(model.compiled_shapes) < 20
