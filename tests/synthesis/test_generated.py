"""Generated corpora: the same bytes however made, honest labels, nothing half written."""

import dataclasses
import json
import math
import os

import numpy as np
import pytest
import soundfile

from tests.helpers.corpus import speech_like
from urgentmos_jax.labels.intrusive import available, measure
from urgentmos_jax.synthesis import generated
from urgentmos_jax.synthesis.generated import generate
from urgentmos_jax.synthesis.plans import Plan, System, all_systems, default_splits
from urgentmos_jax.synthesis.sentences import Sentence

PLAN = Plan(
    voices=("en-us+m1", "de+f3"),
    sentences=(Sentence("en", "The road is wet."), Sentence("de", "Der Wind dreht."), Sentence("en", "A cat slept.")),
    references=3,
    systems=(System(), System("white_noise", 10), System("babble", 5), System("opus", 12), System("clipping", 20)),
    systems_per_reference=4,
    labels=("estoi", "si_sdr", "lsd"),
    withheld=0.25,
    seed=5,
)


def rows_of(manifest):
    def refuse(constant):
        raise AssertionError(constant)

    return [json.loads(line, parse_constant=refuse) for line in manifest.read_text("utf-8").splitlines()]


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generated") / "one"
    assert generate(folder, PLAN, processes=1, progress=False) == folder / "data.jsonl"
    return folder


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """A folder of clean recordings at several rates, one of 7 s."""
    clean = tmp_path_factory.mktemp("clean")
    (clean / "b speaker").mkdir()
    soundfile.write(clean / "a.wav", speech_like(1, 24000), 16000)
    soundfile.write(clean / "b speaker" / "long.flac", speech_like(2, 7 * 24000), 24000)
    (clean / "notes.txt").write_text("no audio")
    return clean


@pytest.mark.slow
def test_the_same_bytes_with_two_processes(folder, tmp_path):
    environment = dict(os.environ)
    generate(tmp_path / "two", PLAN, processes=2, progress=False)
    assert contents(folder) == contents(tmp_path / "two")
    assert environment == dict(os.environ)


def test_rows_and_files(folder):
    rows = rows_of(folder / "data.jsonl")
    assert [row["uid"] for row in rows] == sorted(row["uid"] for row in rows)
    assert len({row["uid"] for row in rows}) == len(rows) == 12
    assert {path.name for path in folder.iterdir()} == {"audio", "data.jsonl", "plan.json"}
    for row in rows:
        assert set(row) == {"uid", "audio_path", "duration", "system_id", "reference_id", "metrics", "meta"}
        assert row["uid"] == f"{row['system_id']}:{row['reference_id']}"
        assert row["audio_path"] == f"audio/{row['system_id']}/{row['reference_id']}.flac"
        assert set(row["meta"]) == {"kind", "degradation", "strength", "voice", "withheld"}
        assert row["meta"]["voice"] in PLAN.voices and row["reference_id"].startswith(row["meta"]["voice"])
        assert set(row["metrics"]) | set(row["meta"]["withheld"]) == set(PLAN.labels)
        assert not set(row["metrics"]) & set(row["meta"]["withheld"])
        info = soundfile.info(folder / row["audio_path"])
        assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
        assert row["duration"] == info.frames / 16000
    per_reference = [[row for row in rows if row["reference_id"] == r] for r in {row["reference_id"] for row in rows}]
    assert [len(group) for group in per_reference] == [4, 4, 4]
    assert all(len({row["system_id"] for row in group}) == 4 for group in per_reference)
    assert {row["meta"]["kind"] for row in rows} == {"clean", "noise", "babble", "codec", "clipping"}
    assert {"clean", "white_noise-10db"} <= {row["system_id"] for row in rows}


def test_labels_are_those_of_the_written_files(folder):
    rows = {row["uid"]: row for row in rows_of(folder / "data.jsonl")}
    noisy = [row for row in rows.values() if row["system_id"] == "white_noise-10db" and "si_sdr" in row["metrics"]]
    for row in noisy:
        # The reference itself is not kept; the clean clip is it at another level, to which all metrics are blind.
        clean = rows.get(f"clean:{row['reference_id']}")
        if clean is None:
            continue
        degraded, reference = (soundfile.read(folder / item["audio_path"])[0] for item in (row, clean))
        values = measure(degraded, reference, row["metrics"])
        assert row["metrics"]["si_sdr"] == pytest.approx(values["si_sdr"], abs=0.05)
        assert 8 < row["metrics"]["si_sdr"] < 11
        if "estoi" in values:
            assert row["metrics"]["estoi"] == pytest.approx(values["estoi"], abs=0.01)
    assert noisy
    clean = [row["metrics"] for row in rows.values() if row["system_id"] == "clean"]
    assert all(values.get("estoi", 1) > 0.99 and values.get("si_sdr", 50) > 40 for values in clean)


def test_level_tells_nothing(folder):
    levels = [
        np.sqrt(np.mean(soundfile.read(folder / row["audio_path"])[0] ** 2)) for row in rows_of(folder / "data.jsonl")
    ]
    levels = 20 * np.log10(levels)
    assert levels.min() > -37 and levels.max() < -19 and np.ptp(levels) > 5


def test_a_second_run_finds_the_corpus(folder, monkeypatch):
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    monkeypatch.setattr(generated, "_make", None)
    assert generate(folder, PLAN, progress=False) == folder / "data.jsonl"
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_another_plan_is_refused(folder, recordings):
    for plan in (dataclasses.replace(PLAN, seed=6), dataclasses.replace(PLAN, withheld=0.5)):
        with pytest.raises(ValueError, match="another plan"):
            generate(folder, plan, progress=False)
    with pytest.raises(ValueError, match="another plan"):
        generate(folder, dataclasses.replace(PLAN, references=2), clean=recordings, progress=False)


def test_somebody_elses_corpus_is_left_alone(tmp_path):
    (tmp_path / "data.jsonl").write_text("{}\n")
    with pytest.raises(ValueError, match="not generated"):
        generate(tmp_path, PLAN, progress=False)
    assert (tmp_path / "data.jsonl").read_text() == "{}\n"


@pytest.mark.slow
def test_clean_recordings_in_place_of_espeak_and_a_stopped_run(recordings, tmp_path):
    plan = dataclasses.replace(PLAN, voices=("not spoken",), sentences=(), references=2, withheld=0.0)
    broken = recordings.with_name("broken")
    broken.mkdir(exist_ok=True)
    for path in recordings.rglob("*"):
        if path.is_file():
            (broken / path.name).write_bytes(path.read_bytes())
    (broken / "long.flac").write_bytes((broken / "long.flac").read_bytes()[:20000])
    with pytest.raises(ValueError, match=r"long\.flac"):
        generate(tmp_path / "corpus", plan, clean=broken, processes=1, progress=False)
    assert not (tmp_path / "corpus" / "data.jsonl").exists()

    rows = rows_of(generate(tmp_path / "clean", plan, clean=recordings, processes=1, progress=False))
    assert {row["reference_id"] for row in rows} == {"a", "b_speaker_long"}
    assert {row["meta"]["source"] for row in rows} == {"a.wav", "b speaker/long.flac"}
    assert {row["duration"] for row in rows} == {1.5, 5.0}
    assert all(row["metrics"].keys() == set(PLAN.labels) for row in rows)


def test_share_of_withheld_labels(tmp_path, monkeypatch):
    # No audio: what is withheld depends on the seed and the uid alone.
    clip = speech_like(3, 8000)
    monkeypatch.setattr(generated, "_clean_waveform", lambda *_: clip)
    monkeypatch.setattr(generated.soundfile, "write", lambda *_, **__: None)
    monkeypatch.setattr(generated.intrusive, "measure", lambda degraded, reference, names: dict.fromkeys(names, 0.0))
    plan = dataclasses.replace(PLAN, systems=(System(), System("clipping", 20)), systems_per_reference=2, withheld=0.2)
    withheld = []
    for number in range(500):
        task = generated._Task(generated.Reference(f"r{number}", "en", ""), plan.systems, ())
        for row in generated._make(task, tmp_path, plan, None):
            withheld += [name in row.meta["withheld"] for name in plan.labels]
            assert set(row.metrics) == set(plan.labels) - set(row.meta["withheld"])
    deviation = math.sqrt(0.2 * 0.8 / len(withheld))
    assert np.mean(withheld) == pytest.approx(0.2, abs=4 * deviation)


def test_systems_are_spread_evenly():
    systems = all_systems()
    assert systems[0].id == "clean" and len({system.id for system in systems}) == len(systems) > 50
    plan = dataclasses.replace(PLAN, systems=systems, systems_per_reference=5, references=200)
    references = [generated.Reference(f"r{i}", f"v{i % 7}", "") for i in range(200)]
    tasks = generated._tasks(plan, references)
    counts = [sum(system in task.systems for task in tasks) for system in systems]
    assert sum(counts) == 1000 and max(counts) - min(counts) <= 1
    assert all(len(set(task.systems)) == 5 for task in tasks)
    assert all(talker.voice != task.reference.voice for task in tasks for talker in task.talkers)
    assert len({task.reference.id for task in tasks}) == 200


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"voices": ("en-us+m1", "klingon")}, "'klingon'"),
        ({"voices": ("en-us+m1", "fr+f1")}, "no sentence in the language 'fr'"),
        ({"references": 4}, "needs 4 references, but there are 3"),
    ],
)
def test_plans_that_cannot_be_made(tmp_path, change, words):
    with pytest.raises(ValueError, match=words):
        generate(tmp_path / "corpus", dataclasses.replace(PLAN, **change), progress=False)
    assert not (tmp_path / "corpus").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"systems_per_reference": 6}, "number of systems, 5"),
        ({"systems": (System(), System())}, "number of systems"),
        ({"withheld": 1.5}, "withheld=1.5"),
        ({"labels": ("loudness",)}, "no metric loudness"),
        ({"references": 0}, "references=0"),
    ],
)
def test_plans_that_make_no_sense(change, words):
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(PLAN, **change)
    with pytest.raises(ValueError, match="no degradation 'rust'"):
        System("rust")


def test_default_splits_share_no_voice_and_no_sentence():
    splits = default_splits()
    assert {name: plan.references * plan.systems_per_reference for name, plan in splits.items()} == {
        "train": 500,
        "dev": 60,
        "test": 150,
    }
    for field in ("voices", "sentences"):
        parts = [set(getattr(plan, field)) for plan in splits.values()]
        assert sum(map(len, parts)) == len(set().union(*parts))
    for plan in splits.values():
        references = generated._spoken(plan)  # Every voice is eSpeak's and has something to say.
        assert len(references) >= plan.references
        assert len(generated._tasks(plan, references)) == plan.references
    assert set(available()) >= {"estoi", "si_sdr", "lsd"}


def test_default_clips_last_as_long_as_a_batch_likes():
    for plan in default_splits().values():
        for reference in generated._spoken(plan)[::9]:
            assert 1.5 <= len(generated._clean_waveform(reference, plan.seed, None)) / 16000 <= 5
