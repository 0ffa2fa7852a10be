"""Windows, flags, errors and the order of rows."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers.corpus import speech_like
from tests.helpers.models import model_config
from urgentmos_jax.scoring import engine
from urgentmos_jax.scoring.engine import min_samples
from urgentmos_jax.scoring.loading import load_model
from urgentmos_jax.scoring.model import Model
from urgentmos_jax.weights.model_folder import load_folder


@pytest.fixture(scope="module")
def model(model_folder) -> Model:
    module, _ = load_folder(model_folder)
    model = Model(module, devices=jax.devices()[:1])
    model.engine.bucket_sizes = (8000, 16000)
    return model


@pytest.fixture(scope="module")
def windowed(model_folder) -> Model:
    """The same model with windows of one second."""
    module, _ = load_folder(model_folder)
    model = Model(module, window_seconds=1.0, devices=jax.devices()[:1], batch_seconds=2.0)
    model.engine.bucket_sizes = (16000,)
    return model


def test_long_clips_are_cut_into_windows_and_averaged_by_length(windowed: Model):
    clip = speech_like(1, 40000)
    (whole,) = windowed.score([clip], sample_rate=16000, frames=True)
    parts = windowed.score([clip[:16000], clip[16000:32000], clip[32000:]], sample_rate=16000, frames=True)
    assert whole["windows"] == 3 and whole["flags"] == ["windowed"]
    for name, score in whole["scores"].items():
        wanted = np.average([part["scores"][name] for part in parts], weights=[16000, 16000, 8000])
        assert score == pytest.approx(wanted, abs=1e-5)
        frames = np.concatenate([part["frames"][name]["scores"] for part in parts])
        np.testing.assert_allclose(whole["frames"][name]["scores"], frames, atol=1e-5)
        assert sum(whole["frames"][name]["weights"]) == pytest.approx(1, abs=1e-5)
        assert np.dot(whole["frames"][name]["scores"], whole["frames"][name]["weights"]) > 0


def test_a_tail_too_short_to_score_is_flagged(windowed: Model):
    clip = speech_like(2, 16000 + 399)
    (row,) = windowed.score([clip], sample_rate=16000)
    (head,) = windowed.score([clip[:16000]], sample_rate=16000)
    assert row["windows"] == 1 and row["flags"] == ["windowed", "tail_left_out"]
    assert row["scores"] == pytest.approx(head["scores"], abs=1e-6)


def test_windows_of_a_pair_meet_at_the_same_place(windowed: Model):
    a, b = speech_like(3, 40000), speech_like(4, 30000)
    row, back = windowed.compare([(a, b), (b, a)], sample_rate=16000)
    first, second = windowed.compare([(a[:16000], b[:16000]), (a[16000:32000], b[16000:])], sample_rate=16000)
    assert row["windows"] == 2 and "excess_left_out" in row["flags"]
    parts = [part["comparison"]["mos_overall"]["cmos"] for part in (first, second)]
    wanted = np.average(parts, weights=[32000, 30000])
    assert row["comparison"]["mos_overall"]["cmos"] == pytest.approx(wanted, abs=1e-6)
    assert back["comparison"]["mos_overall"]["cmos"] == pytest.approx(-wanted, abs=1e-6)


def test_silence_is_scored_and_flagged(model: Model):
    rng = np.random.default_rng(0)
    clips = [np.zeros(8000), np.full(8000, 0.25), rng.integers(-1, 2, 8000) / 2**16]
    rows = model.score([*clips, *(speech_like(seed, 8000) for seed in range(5))], sample_rate=16000)
    for clip, row in zip(clips, rows[:3], strict=True):
        assert row["flags"] == ["silent"] and all(1 <= score <= 5 for score in row["scores"].values())
        (alone,) = model.score([clip], sample_rate=16000)
        assert alone["scores"] == pytest.approx(row["scores"], abs=1e-4)


def test_the_shortest_clip_has_a_frame_of_every_encoder(windowed: Model, monkeypatch):
    """Three mel frames where an encoder takes the mean of two of its own."""
    kinds = ("group", "compact", "whisper", "qwen2_audio_encoder", "qwen3_omni", "fused")
    assert {min_samples(model_config(kind)) for kind in kinds} == {400}
    monkeypatch.setattr(engine, "MIN_SAMPLES", 1)
    assert min_samples(model_config("qwen2_audio_encoder")) == 321
    monkeypatch.setattr(windowed.engine, "min_samples", 480)
    (row,) = windowed.score([np.ones(479)], sample_rate=16000)
    assert row["error"]["code"] == "too_short" and "the minimum is 480 samples (30 ms)" in row["error"]["message"]


def test_a_bad_clip_leaves_its_neighbours_alone(model: Model, tmp_path):
    clips = [speech_like(seed, 9000 + 800 * seed) for seed in range(5)]
    bad = clips[2].copy()
    bad[100] = np.nan
    rows = model.score([*clips[:2], bad, *clips[3:], tmp_path / "none.wav"], sample_rate=16000)
    good = model.score([*clips[:2], *clips[3:]], sample_rate=16000)
    assert [row["error"] and row["error"]["code"] for row in rows] == [None, None, "non_finite", None, None, "missing"]
    assert rows[2]["scores"] is None
    # To the bit: a clip that failed is in no batch.
    assert [row["scores"] for row in rows if row["scores"]] == [row["scores"] for row in good]


def test_a_pair_with_a_bad_side_is_an_error_row(model: Model, tmp_path):
    clip = speech_like(5, 9000)
    rows = model.compare([(clip, tmp_path / "none.wav"), (clip, clip)], sample_rate=16000)
    assert rows[0]["error"]["code"] == "missing" and rows[0]["comparison"] is None
    assert rows[1]["error"] is None


def test_every_input_has_its_row_beyond_the_first_groups(model: Model):
    clip = speech_like(6, 2000)
    rows = model.score([clip * (0.5 + i / 600) for i in range(300)], sample_rate=16000)
    assert [row["uid"] for row in rows] == [f"array-{i}" for i in range(300)]


def test_bfloat16_is_near(model: Model, model_folder):
    near = load_model(model_folder, precision="bfloat16", compile_cache=False)
    clips = [speech_like(seed, 16000) for seed in range(4)]
    rows, wanted = near.score(clips, sample_rate=16000), model.score(clips, sample_rate=16000)
    for row, exact in zip(rows, wanted, strict=True):
        assert row["scores"] != exact["scores"]
        assert row["scores"] == pytest.approx(exact["scores"], abs=0.1)


def test_wrong_use_is_named(model: Model):
    with pytest.raises(ValueError, match="sample_rate"):
        model.score([np.zeros(16000)])
    with pytest.raises(ValueError, match="bogus"):
        model.score([np.zeros(16000)], sample_rate=16000, metrics=["bogus"])
    with pytest.raises(ValueError, match="order"):
        model.compare([], order="ba")


def test_one_recording_in_place_of_a_list_is_refused(windowed: Model):
    """Its letters or samples were taken for recordings: a row a letter."""
    clip = speech_like(1, 16000)
    for one in ("x.wav", Path("x.wav"), b"x.wav", clip, jnp.asarray(clip)):
        with pytest.raises(TypeError, match=r"expected a list of recordings: \[recording\]"):
            windowed.score(one, sample_rate=16000)
    for pairs in ((clip, clip), ("a.wav", "b.wav"), [("a.wav", "b.wav", "c.wav")], ["ab"], "ab", clip):
        with pytest.raises(TypeError, match=r"expected a list of pairs: \[\(A, B\)\]"):
            windowed.compare(pairs, sample_rate=16000)
    with pytest.raises(TypeError, match=r"metrics is 'estoi', expected a list: \['estoi'\]"):
        windowed.score([clip], sample_rate=16000, metrics="estoi")
    with pytest.raises(TypeError, match="uids is 'ab', expected a list of names"):
        windowed.compare([(clip, clip)] * 2, sample_rate=16000, uids="ab")
    for call in (windowed.score, lambda clips, **options: windowed.compare([(one, one) for one in clips], **options)):
        with pytest.raises(ValueError, match="1 uids for 2 inputs, expected one for each"):
            call([clip, clip], sample_rate=16000, uids=["a"])
    assert [row["error"]["code"] for row in windowed.score(np.array(["a.wav", "b.wav"]))] == ["missing", "missing"]


class Tensor:
    """As a tensor of torch that needs a gradient."""

    def __array__(self, *args, **kwargs):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")


def test_an_input_whose_conversion_raises_is_an_error_row(windowed: Model):
    clip = speech_like(1, 16000)
    before, bad, after = windowed.score([clip, Tensor(), clip], sample_rate=16000)
    assert bad["error"]["code"] == "unreadable_input" and "tensor.detach()" in bad["error"]["message"]
    assert before["scores"] == pytest.approx(after["scores"], abs=1e-5) and before["error"] is None


def test_a_cache_folder_that_cannot_be_written_is_told_once(model_folder, tmp_path, monkeypatch, caplog):
    """Scoring goes on without it."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    before = jax.config.jax_compilation_cache_dir
    try:
        jax.config.update("jax_compilation_cache_dir", None)
        model = load_model(model_folder)
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
    assert model.metrics and caplog.text.count("the cache folder cannot be written") == 1
