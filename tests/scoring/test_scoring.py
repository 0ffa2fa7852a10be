"""Windows, flags, errors and the order of rows; memory by seconds of audio; forks."""

import io
import os
import signal
import tracemalloc
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile

from tests.helpers.corpus import speech_like
from tests.helpers.models import model_config
from urgentmos_jax.scoring import decoding, windows
from urgentmos_jax.scoring.loading import load_model
from urgentmos_jax.scoring.model import Model
from urgentmos_jax.scoring.times import Times
from urgentmos_jax.scoring.windows import min_samples
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
        # Windows of a second: the worst one; the last is half of one.
        worst = min((np.mean(part["frames"][name]["scores"]), place) for place, part in enumerate(parts[:2]))
        assert whole["worst_second"][name] == {"start_s": worst[1], "score": pytest.approx(worst[0], abs=1e-5)}


def test_a_tail_too_short_to_score_is_flagged(windowed: Model):
    clip = speech_like(2, 16000 + 399)
    (row,) = windowed.score([clip], sample_rate=16000)
    (head,) = windowed.score([clip[:16000]], sample_rate=16000)
    assert row["windows"] == 1 and row["flags"] == ["windowed", "tail_left_out"]
    assert row["scores"] == pytest.approx(head["scores"], abs=1e-6)


def small_groups(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr(decoding, "_GROUP_SECONDS", seconds)


@pytest.mark.slow
def test_windows_of_a_recording_may_lie_in_several_groups(windowed: Model, monkeypatch):
    clips = [speech_like(seed, samples) for seed, samples in enumerate([50000, 9000, 90000, 16000, 40000])]
    clips.insert(2, np.where(np.arange(60000) == 55000, np.nan, speech_like(9, 60000)))
    pairs = [(0, 3), (3, 5), (2, 0), (3, 3), (1, 4)]

    def rows() -> list:
        return [one.row for one in windowed.assess(clips, pairs, sample_rate=16000)]

    whole = rows()
    small_groups(monkeypatch, 2.0)
    parts = rows()
    assert {row["uid"]: row["windows"] for row in whole} == {row["uid"]: row["windows"] for row in parts}
    by_uid = {row["uid"]: row for row in whole}
    assert len(by_uid) == len(parts) == 11
    for row in parts:
        wanted = by_uid[row["uid"]]
        assert row["flags"] == wanted["flags"] and row["error"] == wanted["error"]
        assert row.get("scores") == pytest.approx(wanted.get("scores"), abs=1e-5)
        for name, values in (row.get("comparison") or {}).items():
            assert values == pytest.approx(wanted["comparison"][name], abs=1e-5)
    assert by_uid["array-2"]["error"]["code"] == by_uid["array-2 array-0"]["error"]["code"] == "non_finite"


@pytest.mark.parametrize("seconds", [2, 40])
def test_decoded_audio_that_waits_is_bounded_by_its_seconds(monkeypatch, seconds: int):
    """It was by clips: 256 of them, whatever their length."""
    small_groups(monkeypatch, 20.0)
    clip = speech_like(1, 16000 * seconds)
    made = 0

    def clips():
        nonlocal made
        for number in range(480 // seconds):
            made += 1
            yield str(number), clip.copy()

    limits = {"longest": 16000, "shortest": 400, "batch_seconds": 2.0}
    times = Times()
    tracemalloc.start()
    try:
        taken = 0
        with decoding.Decoder(clips(), 16000, times=times, **limits) as groups:
            for group in groups:
                assert sum(len(part) for one in group for part in one.windows) <= 20 * 16000
                taken += sum(one.end is not None for one in group)
                assert made - taken <= max(3, (20 + 20) // seconds + 2)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # This group and the one before, as much that waits, and as much in arrays, or two of them; all would be 960 s.
    assert times.audio == 480 and times.decoding > 0
    assert taken == made and peak < 4 * 16000 * (5 * 20 + 4 * seconds)


def test_a_batch_that_a_device_has_no_memory_for_is_halved(model_folder, monkeypatch, caplog):
    """It is told once; results are those of smaller batches, and what a single clip is too much for raises."""
    module, _ = load_folder(model_folder)
    model = Model(module, devices=jax.devices()[:1], batch_seconds=4.0)
    model.engine.bucket_sizes = (8000, 16000)
    clips = [speech_like(seed, 8000) for seed in range(11)]
    wanted = model.score(clips, sample_rate=16000)
    assert model.engine.batch_seconds == 4.0 and model.times.computing > 0

    def limited(function, rows):
        def call(params, x, *arguments, **options):
            if len(next(iter(x.values())) if isinstance(x, dict) else x) > rows:
                raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 1 bytes.")
            return function(params, x, *arguments, **options)

        call.lower = function.lower
        return call

    encode, compare = model.engine.encode, model.engine._compare_both
    monkeypatch.setattr(model.engine, "encode", limited(encode, 2))
    found = model.score(clips, sample_rate=16000)
    assert [row["scores"] for row in found] == [pytest.approx(row["scores"], abs=1e-5) for row in wanted]
    assert model.engine.batch_seconds == 1.0 and len(caplog.messages) == 1
    assert "ran out of memory with 8 clips in a batch; batches are halved" in caplog.text
    monkeypatch.setattr(model.engine, "_compare_both", limited(compare, 1))
    rows = model.compare([(clips[0], clips[1]), (clips[1], clips[0])], sample_rate=16000)
    assert rows[0]["comparison"]["mos_overall"]["cmos"] == -rows[1]["comparison"]["mos_overall"]["cmos"] != 0
    assert model.engine.batch_seconds == 0.5 and len(caplog.messages) == 1
    monkeypatch.setattr(model.engine, "encode", limited(encode, 0))
    with pytest.raises(jax.errors.JaxRuntimeError, match="RESOURCE_EXHAUSTED"):
        model.score(clips[:1], sample_rate=16000)


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
    monkeypatch.setattr(windows, "MIN_SAMPLES", 1)
    assert min_samples(model_config("qwen2_audio_encoder")) == 321
    monkeypatch.setattr(windowed.engine, "min_samples", 480)
    (row,) = windowed.score([np.ones(479)], sample_rate=16000)
    assert row["error"]["code"] == "too_short" and "the minimum is 480 samples (30 ms)" in row["error"]["message"]


def test_very_short_clips_are_flagged(windowed: Model):
    short, long = speech_like(1, 7999), speech_like(2, 8000)
    rows = windowed.score([short, long, 0 * short], sample_rate=16000)
    assert [row["flags"] for row in rows] == [["very_short"], [], ["silent", "very_short"]]
    assert windowed.compare([(long, short)], sample_rate=16000)[0]["flags"] == ["b_very_short"]


def test_open_files_are_scored_as_paths_are(windowed: Model, tmp_path: Path):
    path = tmp_path / "x.wav"
    soundfile.write(path, speech_like(1, 9000), 16000)
    data, cut = io.BytesIO(path.read_bytes()), io.BytesIO(path.read_bytes()[:9000])
    with path.open("rb") as file:
        rows = windowed.score([path, file, data, data, cut])
        assert [row["uid"] for row in rows] == [str(path), str(path), "file-2", "file-3", "file-4"]
        assert [row["path"] for row in rows] == [str(path), None, None, None, None]
        for row in rows[1:4]:
            assert row["scores"] == pytest.approx(rows[0]["scores"], abs=1e-6) and row["error"] is None
        assert rows[4]["error"]["code"] == "truncated" and rows[4]["error"]["message"].startswith("file-4: ")
        assert file.tell() == data.tell() == 0
        with pytest.raises(TypeError, match="expected a list of recordings"):
            windowed.score(file)


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


@pytest.mark.slow
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
    for rate in ("16000", [16000]):
        with pytest.raises(TypeError, match=r"^sample_rate is .*16000.*, expected a number of Hz"):
            model.score([np.zeros(16000)], sample_rate=rate)
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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks on this system")
@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_fork_is_refused(model: Model, model_folder):
    """It waited for ever for threads that were not there."""
    clip = speech_like(1, 16000)
    child = os.fork()
    if not child:
        signal.alarm(60)
        status = 0
        for call in (lambda: model.score([clip], sample_rate=16000), lambda: load_model(model_folder)):
            try:
                call()
            except RuntimeError as error:
                status += 'multiprocessing.get_context("spawn")' in str(error)
            except BaseException:
                break
        os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
