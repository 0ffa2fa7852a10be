"""States of frozen encoders, written once and read: the same losses, damaged files, what is refused."""

import json
import logging
import os
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import soundfile

from tests.helpers.corpus import GOLDEN, tiny_config, write_corpus
from urgentmos_jax.audio.loading import AudioError
from urgentmos_jax.data import feature_cache
from urgentmos_jax.data.feature_cache import DamagedStates, FeatureCacheError, StateShape, StateWriter, StoredStates
from urgentmos_jax.training import feature_cache_builder
from urgentmos_jax.training.config import ConfigError, read_config
from urgentmos_jax.training.trainer import Trainer

ENCODER = GOLDEN / "encoders" / "wavlm-base"
# Of a loss; float16 keeps eleven bits of a state.
STORED_TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_corpus(root / "mine" / "train", [8000 + 700 * i for i in range(8)])
    return root


def config(data: Path, cache: Path | str = "", *, aggregate: bool = True, unfrozen: bool = False):
    values = tiny_config(data)
    encoder = dict(pretrained=str(ENCODER), layer_aggregation=aggregate, freeze=True, gradient_scale=1.0, noise=False)
    trained = values.model.encoders.compact.to_dict()
    values.model.encoders = dict(a=encoder | {"dtype": "float32"}) | (dict(b=trained) if unfrozen else {})
    values.model.category.dropout = 0.0
    values.data.valid, values.data.feature_cache = (), str(cache)
    values.update(dict(updates=6, save_every=3, log_every=1))
    return values


def run(values, workdir: Path, confirm=lambda question: True) -> tuple[list[float], Trainer]:
    trainer = Trainer(values, workdir, devices=jax.local_devices()[:1], confirm=confirm)
    trainer.run()
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if line["kind"] == "train"], trainer


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        "last layer",
        *(pytest.param(kind, marks=pytest.mark.long) for kind in ("all states", "beside a trained encoder")),
    ],
)
def test_same_losses_within_the_storage_precision(data: Path, tmp_path, kind: str, monkeypatch, caplog):
    settings = {"aggregate": kind != "last layer", "unfrozen": kind == "beside a trained encoder"}
    wanted, _ = run(config(data, **settings), tmp_path / "without")
    asked = []
    found, trainer = run(config(data, tmp_path / "cache", **settings), tmp_path / "with", lambda q: not asked.append(q))
    assert found == pytest.approx(wanted, rel=STORED_TOLERANCE) and len(set(found)) == 6
    arrays = trainer.reader.load(0).arrays
    assert (arrays.waveform is not None) == settings["unfrozen"] and arrays.states[0].dtype == np.float16
    assert arrays.states[0].ndim == (5 if settings["aggregate"] else 4)
    written = sum(path.stat().st_size for path in tmp_path.glob("cache/*/*.f16"))
    assert len(asked) == 1 and asked[0].startswith(
        f"write {written / 1e6:.1f} MB of encoder states of 0.1 min of audio"
    )

    # Another run reads: nothing is asked, no encoder computes, and the bits are the same.
    monkeypatch.setattr(feature_cache_builder, "_Builder", None)
    again, _ = run(config(data, tmp_path / "cache", **settings), tmp_path / "again", None)
    assert again == found


@pytest.mark.slow
def test_layer_weights_learn_from_stored_states(data: Path, tmp_path):
    _, trainer = run(config(data, tmp_path / "cache"), tmp_path / "run")
    moved = np.asarray(trainer.state.trained["layer_weights"][0][...])
    assert (moved != 0).any() and len(set(moved.round(9).tolist())) > 1


@pytest.mark.slow
def test_a_run_with_stored_states_resumes_with_the_same_bits(data: Path, tmp_path):
    whole, one = run(config(data, tmp_path / "cache"), tmp_path / "whole")
    values = config(data, tmp_path / "cache")
    values.updates = 6
    trainer = Trainer(values, tmp_path / "cut", devices=jax.local_devices()[:1])
    trainer.updates = 3
    trainer.run()
    found, other = run(values, tmp_path / "cut")
    assert found == whole
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), one.state, other.state))


@pytest.mark.slow
def test_writing_that_was_cut_resumes(data: Path, tmp_path, monkeypatch):
    run(config(data, tmp_path / "whole"), tmp_path / "one")
    monkeypatch.setattr(feature_cache, "SHARD_BYTES", 1)  # A shard a batch.
    monkeypatch.setattr(feature_cache_builder, "BATCH_SECONDS", 2.0)
    write, calls = feature_cache_builder._Builder._write_batch, []

    def cut(self, clips, *rest):
        calls.append(clips)
        if len(calls) == 3:
            write(self, clips, *rest)
            raise KeyboardInterrupt
        write(self, clips, *rest)

    monkeypatch.setattr(feature_cache_builder._Builder, "_write_batch", cut)
    with pytest.raises(KeyboardInterrupt):
        run(config(data, tmp_path / "cut"), tmp_path / "two")
    done = {clip for clips in calls[:2] for clip in clips}
    _, trainer = run(config(data, tmp_path / "cut"), tmp_path / "two")
    assert sorted(clip for clips in calls[3:] for clip in clips) == sorted(set(range(8)) - done)
    (whole,) = [json.loads(path.read_text()) for path in tmp_path.glob("whole/*/*.json")]
    states = trainer.reader.states
    assert len(states) == len(whole["clips"]) == 8 and len(list(tmp_path.glob("cut/*/*.json"))) >= 4
    for name in whole["clips"]:
        assert states.read(name)[0] == whole["clips"][name][3]


@pytest.mark.slow
def test_a_damaged_shard_is_named(data: Path, tmp_path):
    run(config(data, tmp_path / "cache"), tmp_path / "run")
    (shard,) = tmp_path.glob("cache/*/*.f16")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(DamagedStates, match=rf"{shard}: the states of .*wav.* are not what was written; remove"):
        run(config(data, tmp_path / "cache"), tmp_path / "other")
    shard.write_bytes(content[:-2])
    with pytest.raises(DamagedStates, match=r"has .* bytes, expected"):
        run(config(data, tmp_path / "cache"), tmp_path / "another")
    shard.unlink()
    shard.with_suffix(".json").unlink()
    run(config(data, tmp_path / "cache"), tmp_path / "mended")


@pytest.mark.slow
def test_states_of_audio_that_was_changed_are_written_again(tmp_path, caplog, monkeypatch):
    """Another recording under the same path, as long as the one before."""
    root = tmp_path / "data"
    write_corpus(root / "mine" / "train", [8000 + 700 * i for i in range(8)])
    before, _ = run(config(root, tmp_path / "cache"), tmp_path / "one")
    wav = root / "mine" / "train" / "3.wav"
    soundfile.write(wav, soundfile.read(wav)[0][::-1], 16000)
    write, written = feature_cache_builder._Builder.write, []
    monkeypatch.setattr(
        feature_cache_builder._Builder, "write", lambda self, clips: written.extend(clips) or write(self, clips)
    )
    found, _ = run(config(root, tmp_path / "cache"), tmp_path / "two")
    assert written == [3] and "the audio of 1 clips has changed since their states were written" in caplog.text
    wanted, _ = run(config(root), tmp_path / "three")
    assert found == pytest.approx(wanted, rel=STORED_TOLERANCE) and found != pytest.approx(before, rel=1e-6)


def test_a_clip_goes_by_size_and_time_of_its_audio_too(tmp_path, caplog):
    path = tmp_path / "a:b.wav"
    clips = SimpleNamespace(paths=[str(path)], seconds=[1.0])
    path.write_bytes(b"one")
    (name,) = feature_cache.clip_names(clips)
    assert feature_cache.without_stamp(name) == f"{path}:1.000"
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    (later,) = feature_cache.clip_names(clips)
    path.write_bytes(b"longer")
    os.utime(path, ns=(0, int(name.rpartition(":")[2])))
    (longer,) = feature_cache.clip_names(clips)
    path.unlink()
    assert len({name, later, longer, *feature_cache.clip_names(clips)}) == 4

    (tmp_path / "cache").mkdir()
    shapes = [StateShape(0, None, 4, lambda samples: samples // 320)]
    writer = StateWriter(tmp_path / "cache", shapes, "0")
    writer.add(name, 640, [np.ones((2, 4))])
    writer.add_failed(longer, AudioError("missing", "no such file", str(path)))
    writer.close()
    stored = StoredStates(tmp_path / "cache", shapes, whole=True)
    assert set(stored) == {name, longer} and later not in stored and stored.read(name)[0] == 640
    with pytest.raises(AudioError) as error:
        stored.read(longer)
    assert error.value.path == str(path)

    # A shard of release 0.1.0 is told and passed over.
    (listed,) = (tmp_path / "cache").glob("*.json")
    listed.write_text(json.dumps({k: v for k, v in json.loads(listed.read_text()).items() if k != "format_version"}))
    assert len(StoredStates(tmp_path / "cache", shapes, whole=True)) == 0
    assert f"{listed}: a shard of another release, not used; it may be removed" in caplog.text


@pytest.mark.slow
def test_other_weights_or_states_have_a_folder_of_their_own(data: Path, tmp_path):
    run(config(data, tmp_path / "cache"), tmp_path / "one")
    run(config(data, tmp_path / "cache", aggregate=False), tmp_path / "two")
    values = config(data, tmp_path / "cache")
    values.model.encoders.a.pretrained = str(GOLDEN / "encoders" / "wavlm-large")
    run(values, tmp_path / "three")
    assert len(list((tmp_path / "cache").iterdir())) == 3


@pytest.mark.slow
def test_what_is_not_confirmed_is_not_written(data: Path, tmp_path):
    with pytest.raises(FeatureCacheError, match=r"not confirmed: to write .* MB of encoder states .* give --yes"):
        run(config(data, tmp_path / "cache"), tmp_path / "run", None)
    assert not list(tmp_path.glob("cache/*/*"))


@pytest.mark.slow
def test_a_full_disk_is_seen_before(data: Path, tmp_path, monkeypatch):
    usage = feature_cache_builder.shutil.disk_usage
    monkeypatch.setattr(feature_cache_builder.shutil, "disk_usage", lambda path: usage(path)._replace(free=1000))
    with pytest.raises(FeatureCacheError, match=r"0\.0 MB free, not enough to write .* MB of encoder states"):
        run(config(data, tmp_path / "cache"), tmp_path / "run")


@pytest.mark.slow
def test_values_beyond_float16_are_named(data: Path, tmp_path, monkeypatch):
    original = StateWriter.add
    monkeypatch.setattr(
        StateWriter, "add", lambda self, name, samples, states: original(self, name, samples, [x * 1e6 for x in states])
    )
    with pytest.raises(FeatureCacheError, match=r"\d\.wav: states of encoder 0 do not fit float16 \(largest \d"):
        run(config(data, tmp_path / "cache"), tmp_path / "run")


@pytest.mark.slow
def test_a_clip_that_cannot_be_decoded_is_skipped(tmp_path, caplog):
    root = tmp_path / "data"
    write_corpus(root / "mine" / "train", [8000 + 700 * i for i in range(8)])
    lines = (root / "mine" / "train" / "data.jsonl").read_text().splitlines()
    wav = root / "mine" / "train" / "3.wav"
    wav.write_bytes(wav.read_bytes()[:200])
    assert len(lines) == 8
    caplog.set_level(logging.WARNING)
    run(config(root, tmp_path / "cache"), tmp_path / "run")
    skipped = [json.loads(line) for line in (tmp_path / "run" / "skipped.jsonl").read_text().splitlines()]
    assert {(one["uid"], one["code"]) for one in skipped} == {("mine/train:u3", "truncated")}


def test_nothing_to_store_is_said(data: Path):
    values = tiny_config(data)
    values.data.feature_cache = "states"
    with pytest.raises(ConfigError, match=r"data\.feature_cache: no encoder is frozen"):
        read_config(values)


def test_states_with_noise_are_not_stored(data: Path):
    values = config(data, "states")
    values.model.encoders.a.noise = True
    with pytest.raises(ConfigError, match=r"data\.feature_cache: the states of a change in each epoch; set"):
        read_config(values)
