"""The study of `launch.supervision`: folds by talker, withheld labels, nothing of a test talker in training."""

import csv
import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from launch.supervision import study as supervision_study
from launch.supervision.study import FOLDS, REFERENCE_FREE, Supervision, assign_folds, on_mos_scale, talker_of, withhold
from tests.helpers.corpus import GOLDEN, speech_like
from urgentmos_jax.manifests.reading import read_utterances
from urgentmos_jax.manifests.records import Utterance
from urgentmos_jax.manifests.writing import write_utterances

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
SIGNALS = ("VCTK_p1_001", "VCTK_p1_002", "VCTK_p22_003", "TSP_FA01_01", "TSP_MB12_02")


def write_rated_sets(folder: Path) -> Path:
    """Six talkers x 3 conditions, and 5 signals of 4 talkers x 2, as the real sets are laid out."""
    rng = np.random.default_rng(0)
    p835, mushra = [], []
    for seed, talker in enumerate(("f1", "f2", "f3", "m1", "m2", "m3")):
        for number, condition in enumerate(("c0", "c1", "c2")):
            name, clip = f"{condition}_{talker}.wav", speech_like(seed, 9000 + 10 * seed)
            write_wav(folder / "p835-wb" / name, clip + 0.1 * number * rng.standard_normal(len(clip)))
            p835.append({"file": name, "condition": condition, "talker": talker, "mos_ovrl": 4.5 - number})
    for seed, signal in enumerate(SIGNALS):
        for number, condition in enumerate(("Reference", "Lyra 3")):
            name, clip = f"{signal}_{number}.wav", speech_like(10 + seed, 8000)
            write_wav(folder / "codec-mushra" / name, clip + 0.1 * number * rng.standard_normal(len(clip)))
            ratings = f"{90 - 50 * number} {100 - 50 * number}"
            mushra.append(dict(file=name, condition=condition, signal=signal, ratings_0_to_100=ratings))
        mushra.append(dict(file="", condition="Anchor", signal=signal, ratings_0_to_100="20 10"))
    for name, rows in (("p835-wb", p835), ("codec-mushra", mushra)):
        with (folder / name / "ratings.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    return folder


def write_wav(path: Path, waveform: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.5 * waveform / np.abs(waveform).max(), 16000)


@pytest.fixture
def generator(monkeypatch) -> None:
    """Writes one clip for each clean recording that it is given, with the raw labels of `generate`."""

    def generate(folder, plan, *, clean=None):
        if (folder / "data.jsonl").exists():
            return folder / "data.jsonl"
        paths = sorted(clean.iterdir()) if clean else [folder / "spoken.wav"]
        write_wav(folder / "spoken.wav", speech_like(0, 8000))
        labels = {"estoi": 0.5, "si_sdr": 10.0, "pesq": 2.75}
        clips = [Utterance(f"x:{p.stem}", str(p.resolve()), 0.5, "x", p.stem, dict(labels)) for p in paths]
        write_utterances(folder / "data.jsonl", clips)
        return folder / "data.jsonl"

    monkeypatch.setattr(supervision_study, "generate", generate)


@pytest.fixture
def study(tmp_path, generator) -> Supervision:
    return Supervision(write_rated_sets(tmp_path / "data"), tmp_path / "work", updates=2)


def test_talkers_are_told_from_names():
    assert [talker_of(name) for name in ("f1", *SIGNALS)] == ["f1", *2 * ["VCTK_p1"], "VCTK_p22", "TSP_FA", "TSP_MB"]


def test_each_talker_is_tested_in_one_fold_and_folds_are_even():
    sets = {
        "first": [
            Utterance(f"{s}:{t}", "", 1.0, str(s), t) for t in ("f1", "f2", "m1", "m2", "m3", "m4") for s in "abc"
        ],
        "second": [Utterance(f"{s}:{t}", "", 1.0, str(s), t) for t in SIGNALS for s in "abcd"],
    }
    found = assign_folds(sets)
    assert found == assign_folds({name: part[::-1] for name, part in sets.items()})
    sizes = Counter(found[talker_of(clip.reference_id)] for part in sets.values() for clip in part)
    assert set(found) == {talker_of(clip.reference_id) for part in sets.values() for clip in part}
    # 18 clips, then talkers with 8, 4, 4 and 4: m4 doubles the first fold.
    assert sizes == {0: 6, 1: 11, 2: 7, 3: 7, 4: 7}
    with pytest.raises(ValueError, match="6 talkers cannot be tested in 7 folds"):
        assign_folds({"first": sets["first"]}, 7)


def test_labels_are_withheld_by_name_and_clip_alone():
    uids = [f"clip{i}" for i in range(2000)]
    kept = {uid: withhold(uid, ("pesq", "estoi")) for uid in uids}
    assert kept == {uid: withhold(uid, ("pesq", "estoi")) for uid in reversed(uids)}
    shares = [np.mean([name in kept[uid] for uid in uids]) for name in ("pesq", "estoi")]
    np.testing.assert_allclose(shares, 1 - supervision_study.WITHHELD, atol=0.04)
    both = np.mean([len(kept[uid]) == 2 for uid in uids])
    np.testing.assert_allclose(both, shares[0] * shares[1], atol=0.03)
    assert withhold("clip0", ("pesq",), 0.0) == ["pesq"] and withhold("clip0", ("pesq",), 1.0) == []


def test_objective_labels_are_mapped_to_one_to_five():
    values = {"estoi": 0.75, "si_sdr": -10.0, "pesq": 4.64, "mos_overall": 2.3}
    assert on_mos_scale(values) == {"estoi": 4.0, "si_sdr": 2.0, "pesq": 5.0, "mos_overall": 2.3}


def test_nothing_of_a_test_talker_is_trained_on(study, monkeypatch):
    trained = []
    monkeypatch.setattr(study, "_train", lambda *names: trained.append(names))
    predictions, _ = study.run(range(FOLDS), [0, 1], ["a", "c"])
    assert len(trained) == len(set(trained)) == FOLDS * 2 * 2
    with predictions.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert Counter(row["set"] for row in rows) == {"p835-wb": 18, "codec-mushra": 10}
    tested = []
    for fold in range(FOLDS):
        test = {row["talker"] for row in rows if row["fold"] == str(fold)}
        tested += [row["uid"] for row in rows if row["talker"] in test]
        folder = study.workdir / "folds" / str(fold)
        held = {row["reference"] for row in rows if row["talker"] in test}
        links = {path.stem for path in (folder / "clean").iterdir()}
        assert links == {row["reference"] for row in rows} - held
        sources = dict.fromkeys(("a", "c"), ())
        for condition in sources:
            config = study._config(fold, 0, condition)
            sources[condition] = config.data.train
            for name in config.data.train:
                clips, _ = read_utterances(folder / name / "data.jsonl", ranges={})
                assert not {clip.reference_id for clip in clips} & held
                assert not {part for clip in clips for part in Path(clip.audio_path).parts} & held
        assert sources["a"] == ("p835-wb/train", "codec-mushra/train")
        assert sources["c"] == (*sources["a"], "spoken/train", "degraded/train")
        degraded, _ = read_utterances(folder / "degraded/train/data.jsonl", ranges={})
        assert degraded[0].metrics == {"estoi": 3.0, "si_sdr": 3.0, "pesq": 3.0}
    assert sorted(tested) == sorted(row["uid"] for row in rows)


def test_only_what_is_missing_is_trained(study, monkeypatch):
    def train(fold, seed, condition):
        scores = {clip.uid: 3.0 + seed / 4 for clip in study._tested(fold)}
        path = study._result(fold, seed, condition)
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"scores": scores, "pairs": [["a", "b", 0.25]] if condition == "c" else []}))

    monkeypatch.setattr(study, "_train", train)
    study.run([0, 1], [0], ["a"])
    predictions, preferences = study.run([1], [0, 1], ["a", "c"])  # Training a fold twice would fail.
    with predictions.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["a_0"] for row in rows if row["fold"] in "01"} == {"3.0"}
    assert {(row["a_0"], row["a_1"], row["c_1"]) for row in rows if row["fold"] == "2"} == {("", "", "")}
    assert {row["a_1"] for row in rows if row["fold"] == "1"} == {"3.25"}
    assert preferences.read_text() == "a,b,c_0,c_1\na,b,0.25,0.25\n"


def test_wrong_settings_are_named(study):
    with pytest.raises(ValueError, match="no fold 5; there are 0 to 4"):
        study.run([0, 5], [0], ["a"])
    with pytest.raises(ValueError, match="no condition 'd'; there are a, b, c"):
        study.run([0], [0], ["d"])
    with pytest.raises(ValueError, match=r"--updates: .* holds trainings of 2; give that"):
        Supervision(study.data, study.workdir, updates=3)
    with pytest.raises(ValueError, match=r"--encoder, --updates: .* holds trainings of 2; give that"):
        Supervision(study.data, study.workdir, updates=2, encoder="whisper", distill_mos=Path("model"))
    with pytest.raises(FileNotFoundError, match="p835-wb"):
        Supervision(study.workdir, study.workdir, updates=2)


@pytest.fixture
def on_whisper(tmp_path, generator, monkeypatch) -> Supervision:
    """A tiny Whisper encoder with random weights; its predictors give every clip 2.5."""

    def label_manifest(manifest, output, *, metrics, model, processes):
        assert (metrics, model) == (REFERENCE_FREE, tmp_path / "model")
        clips, _ = read_utterances(manifest)
        write_utterances(output, [replace(clip, metrics=clip.metrics | dict.fromkeys(metrics, 2.5)) for clip in clips])
        return SimpleNamespace(errors={"c": {"message": "c.wav: it is broken"}} if broken else {})

    broken: list[str] = []
    monkeypatch.setattr(supervision_study, "label_manifest", label_manifest)
    found = Supervision(
        write_rated_sets(tmp_path / "data"),
        tmp_path / "work",
        updates=2,
        encoder=str(GOLDEN / "encoders" / "whisper"),
        distill_mos=tmp_path / "model",
    )
    found.broken = broken
    return found


def test_predictors_teach_what_is_trained_on_an_encoder(on_whisper, monkeypatch):
    monkeypatch.setattr(on_whisper, "_train", lambda *names: None)
    on_whisper.run([0], [0], ["b"])
    config = on_whisper._config(0, 0, "b")
    assert set(REFERENCE_FREE) < set(config.model.categories.objective)
    assert "objective" not in on_whisper._config(0, 0, "a").model.categories
    for name in config.data.train:
        clips, _ = read_utterances(on_whisper.workdir / "folds" / "0" / name / "data.jsonl", ranges={})
        for clip in clips:
            kept = set(withhold(clip.uid, REFERENCE_FREE))
            assert {one: clip.metrics[one] for one in REFERENCE_FREE if one in clip.metrics} == dict.fromkeys(kept, 2.5)
    on_whisper.broken.append("now")
    with pytest.raises(ValueError, match=r"c\.wav: it is broken"):
        on_whisper.run([1], [0], ["b"])


@pytest.mark.slow
def test_heads_are_trained_on_the_stored_states_of_an_encoder(on_whisper, monkeypatch):
    monkeypatch.setattr(on_whisper, "_seconds", 0.5)  # One length, and so few programs.
    predictions, preferences = on_whisper.run([0], [0], ["c"])
    assert list((on_whisper.workdir / "states").glob("*/*.f16"))
    with predictions.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["fold"] == "0"]
    assert all(1 <= float(row["c_0"]) <= 5 for row in rows) and len({row["c_0"] for row in rows}) > 1
    assert len(preferences.read_text().splitlines()) > 1
    (line, *_) = (on_whisper.workdir / "runs" / "fold0-seed0-c" / "metrics.jsonl").read_text().splitlines()
    assert "distill_mos" in line


def test_an_encoder_needs_the_model_of_distill_mos(tmp_path):
    command = [sys.executable, "-m", "launch.supervision", "--data=d", f"--workdir={tmp_path}", "--encoder=whisper"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 1 and "--encoder and --distill_mos go together" in found.stderr


@pytest.mark.skipif(not DATA.is_dir(), reason="the rated sets are there in development and CI only")
def test_folds_of_the_rated_sets():
    names = {"p835-wb": "talker", "codec-mushra": "signal"}
    sets = {}
    for name, column in names.items():
        with (DATA / name / "ratings.csv").open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["file"]]
        sets[name] = [Utterance(row["file"], "", 1.0, row["condition"], row[column]) for row in rows]
    found = assign_folds(sets)
    assert {name: len(part) for name, part in sets.items()} == {"p835-wb": 78, "codec-mushra": 88}
    assert len(found) == 6 + 9
    for part in sets.values():
        assert {found[talker_of(clip.reference_id)] for clip in part} == set(range(FOLDS))
    sizes = Counter(found[talker_of(clip.reference_id)] for part in sets.values() for clip in part)
    assert sum(sizes.values()) == 166 and min(sizes.values()) >= 29 and max(sizes.values()) <= 37


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.skipif(not DATA.is_dir(), reason="the rated sets are there in development and CI only")
def test_one_fold(tmp_path):
    environment = {k: v for k, v in os.environ.items() if k not in ("JAX_NUM_CPU_DEVICES", "XLA_FLAGS")}
    command = [sys.executable, "-m", "launch.supervision", f"--data={DATA}", f"--workdir={tmp_path}", "--updates=4"]
    command += ["--folds=3", "--seeds=1"]
    found = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr[-2000:]
    predictions, preferences = map(Path, found.stdout.split())
    with predictions.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 166
    columns = ("a_1", "b_1", "c_1")
    for row in rows:
        filled = [row[column] for column in columns if row[column]]
        assert len(filled) == (3 if row["fold"] == "3" else 0)
        assert all(1 <= float(value) <= 5 for value in filled)
    tested = Counter(row["reference"] for row in rows if row["fold"] == "3")
    with preferences.open(newline="") as file:
        pairs = list(csv.DictReader(file))
    assert len(pairs) == sum(n * (n - 1) // 2 for n in tested.values()) and np.ptp([float(p["c_1"]) for p in pairs]) > 0
    held = set(tested)
    kept = Counter()
    for name in ("p835-wb", "codec-mushra", "spoken", "degraded"):
        clips, _ = read_utterances(tmp_path / "folds" / "3" / name / "train" / "data.jsonl", ranges={})
        assert not {clip.reference_id for clip in clips} & held
        kept.update(label for clip in clips for label in clip.metrics)
    assert kept["mos_overall"] == 166 - sum(tested.values())
    assert 0.25 * 288 < kept["estoi"] < 0.45 * 288 and 0.25 * 288 < kept["si_sdr"] < 0.45 * 288
    again = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert again.returncode == 0 and "update 4/4" in found.stderr and "update 4/4" not in again.stderr
    assert again.stdout == found.stdout
