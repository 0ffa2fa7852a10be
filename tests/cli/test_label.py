"""`urgentmos label`: what it computes, what it does again and what not, and what joins."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from tests.helpers.corpus import speech_like
from tests.helpers.models import model_config, on_one_device, random_module
from tests.helpers.processes import wait_until
from urgentmos_jax.audio.loading import load_audio
from urgentmos_jax.cli import main
from urgentmos_jax.files import file_hash
from urgentmos_jax.labels import labelling, predictors
from urgentmos_jax.labels.intrusive import available, measure
from urgentmos_jax.labels.packages import WeightsMissing
from urgentmos_jax.labels.workers import in_processes
from urgentmos_jax.manifests.reading import read_utterances
from urgentmos_jax.metrics import Metric
from urgentmos_jax.scoring.model import Model
from urgentmos_jax.weights.model_folder import save_folder

RATE = 16000
BY_SYSTEM = ("--reference-system", "clean")


@pytest.fixture
def corpus(tmp_path) -> Path:
    """Two sentences by the systems clean, mild and loud noise, of unequal lengths."""
    lines = []
    for number, samples in enumerate((14000, 17500)):
        clean = speech_like(number, samples)
        for system, level in (("clean", 0.0), ("mild", 0.05), ("loud", 0.5)):
            clip = clean + level * speech_like(10 + number, samples)
            lines.append(write(tmp_path, f"{system}_{number}", 0.6 * clip, system, f"r{number}"))
    return save(tmp_path / "data.jsonl", lines)


@pytest.fixture
def here(monkeypatch) -> list[tuple[str, tuple[str, ...]]]:
    """Computes in this process, and notes (uid, metrics) of what is computed."""
    done = []

    def one_by_one(function, items, processes):
        for item in items:
            done.append((item.uid, item.metrics))
            yield item, function(item)

    monkeypatch.setattr(labelling, "in_processes", one_by_one)
    return done


def write(folder: Path, name: str, clip: np.ndarray, system: str, reference: str | None, **more) -> dict:
    soundfile.write(folder / f"{name}.wav", clip, RATE, subtype="FLOAT")
    line = {"uid": name, "audio_path": f"{name}.wav", "duration": len(clip) / RATE, "system_id": system}
    return line | {"reference_id": reference, "metrics": {}, "meta": {}} | more


def save(path: Path, lines: list[dict]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def label(data: Path, *arguments: str, metrics: str = "si_sdr,lsd") -> int:
    return main(["label", str(data), *(["--metrics", metrics] if metrics else []), *map(str, arguments)])


def labels(path: Path) -> dict[str, dict[str, float]]:
    return {line["uid"]: line["metrics"] for line in lines_of(path)}


def results(path: Path) -> Path:
    return Path(f"{path}.labels.jsonl")


def waveform(path: Path) -> np.ndarray:
    return load_audio(path).waveform


def test_labels_are_those_of_the_metrics(corpus, here, capsys):
    assert label(corpus, *BY_SYSTEM, metrics="estoi,si-sdr") == 0
    folder = corpus.parent
    for uid, found in labels(corpus).items():
        reference = waveform(folder / f"clean_{uid[-1]}.wav")
        wanted = measure(waveform(folder / f"{uid}.wav"), reference, ["estoi", "si_sdr"])
        assert found == {name: round(value, 4) for name, value in wanted.items()}
    assert labels(corpus)["mild_0"]["si_sdr"] > labels(corpus)["loud_0"]["si_sdr"] + 10
    assert "6 computed, 0 known before, 0 failed" in capsys.readouterr().err
    meta = json.loads((folder / "data.jsonl.meta.json").read_text())
    assert meta["reference"]["system"] == "clean" and meta["packages"].keys() == {"pystoi"}
    assert meta["metrics"]["si_sdr"]["added"] == 6
    assert read_utterances(corpus)[1].labels == {"estoi": 6, "si_sdr": 6}


def test_metrics_of_packages_in_processes(corpus):
    pesq, pysptk = pytest.importorskip("pesq"), pytest.importorskip("pysptk")
    bss = pytest.importorskip("fast_bss_eval")
    assert pysptk and label(corpus, *BY_SYSTEM, "--workers", 1, metrics="pesq,sdr,mcd") == 0
    for uid, found in labels(corpus).items():
        degraded, reference = waveform(corpus.parent / f"{uid}.wav"), waveform(corpus.parent / f"clean_{uid[-1]}.wav")
        assert found["pesq"] == pytest.approx(pesq.pesq(RATE, reference, degraded, "wb"), abs=1e-4)
        wide = degraded.astype(np.float64), reference.astype(np.float64)
        assert found["sdr"] == pytest.approx(-float(bss.sdr_loss(*wide, clamp_db=50)), abs=1e-4)
        assert found["mcd"] == pytest.approx(measure(degraded, reference, ["mcd"])["mcd"], abs=1e-4)
        assert found["mcd"] == 0 if uid.startswith("clean") else found["mcd"] > 0.1


def test_rates_and_channels_are_those_of_load_audio(tmp_path, here):
    import soxr

    clean = speech_like(3, 24000)
    lines = [write(tmp_path, "c", clean, "clean", "r")]
    for name, rate in (("wide", 24000), ("telephone", 8000)):
        clip = soxr.resample(clean + 0.1 * speech_like(4, 24000), RATE, rate)
        soundfile.write(tmp_path / f"{name}.flac", np.stack([clip, 0.9 * clip], 1), rate)
        lines.append(lines[0] | {"uid": name, "audio_path": f"{name}.flac", "system_id": name})
    data = save(tmp_path / "data.jsonl", lines)
    metrics = ["si_sdr", "pesq"] if "pesq" in available() else ["si_sdr"]
    assert label(data, *BY_SYSTEM, metrics=",".join(metrics)) == 0
    for name in ("wide", "telephone"):
        sides = waveform(tmp_path / f"{name}.flac"), waveform(tmp_path / "c.wav")
        wanted = measure(*sides, metrics, narrow_band=name == "telephone")
        assert labels(data)[name] == {metric: round(value, 4) for metric, value in wanted.items()}


def test_references_by_column_and_by_path(corpus, here, tmp_path):
    assert label(corpus, *BY_SYSTEM, "--output", tmp_path / "by_system.jsonl") == 0
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for number in (0, 1):
        (elsewhere / f"r{number}.wav").write_bytes((tmp_path / f"clean_{number}.wav").read_bytes())
    lines = lines_of(corpus)
    for line in lines:
        path = f"elsewhere/{line['reference_id']}.wav"
        line.update({"clean_path": str(tmp_path / path)} if line["uid"] == "mild_0" else {"meta": {"clean_path": path}})
    save(corpus, lines)
    for rule in (("--reference-column", "clean_path"), ("--reference-path", "elsewhere/{reference_id}.wav")):
        output = tmp_path / f"{rule[0]}.jsonl"
        assert label(corpus, *rule, "--output", output) == 0
        assert labels(output) == labels(tmp_path / "by_system.jsonl")
    rule = ("--reference-path", "{reference_id}.wav", "--audio-root", elsewhere)
    assert label(corpus, *rule, "--output", tmp_path / "deep" / "er.jsonl") == 0
    assert labels(tmp_path / "deep" / "er.jsonl") == labels(tmp_path / "by_system.jsonl")
    moved = lines_of(tmp_path / "deep" / "er.jsonl")
    assert {Path(line["audio_path"]) for line in moved} == {tmp_path / f"{line['uid']}.wav" for line in lines}


@pytest.mark.slow
def test_a_killed_run_goes_on_without_loss_or_repetition(tmp_path, here):
    lines = []
    for number in range(20):
        clean = speech_like(number, 20000 + 100 * number)
        lines.append(write(tmp_path, f"c{number}", clean, "clean", f"r{number}"))
        lines.append(
            write(tmp_path, f"n{number}", 0.5 * clean + 0.1 * speech_like(99, len(clean)), "noise", f"r{number}")
        )
    data = save(tmp_path / "data.jsonl", lines)
    output, whole = tmp_path / "out.jsonl", tmp_path / "whole.jsonl"
    command = [sys.executable, "-m", "urgentmos_jax.cli", "label", data, "--metrics", "estoi,stoi", *BY_SYSTEM]
    command += ["--workers", "2", "--output"]
    process = subprocess.Popen([*command, output], stderr=subprocess.DEVNULL)
    wait_until(lambda: results(output).exists() and len(results(output).read_bytes().splitlines()) >= 5)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    workers = children.read_text().split() if children.exists() else []
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    kept = results(output).read_bytes()
    done = kept.count(b"\n")
    assert 5 <= done < 40 and not output.exists()
    wait_until(lambda: not any(running(int(worker)) for worker in workers))  # They end with their parent.
    found = subprocess.run([*command, output], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert f"{40 - done} computed, {done} known before, 0 failed" in found.stderr
    assert results(output).read_bytes().startswith(kept)
    assert sorted(line["uid"] for line in lines_of(results(output))) == sorted(line["uid"] for line in lines)
    assert label(data, *BY_SYSTEM, "--output", whole, metrics="estoi,stoi") == 0 and len(here) == 40
    assert output.read_bytes() == whole.read_bytes()
    assert labels(output).keys() == {line["uid"] for line in lines} and all(map(len, labels(output).values()))


def running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().split(") ")[1][0] != "Z"
    except OSError:
        return False


def test_a_torn_last_line_is_dropped(corpus, here, capsys):
    assert label(corpus, *BY_SYSTEM) == 0
    wanted, text = labels(corpus), results(corpus).read_bytes()
    for torn in (text[:-1], text[:-20], text[:-1].rpartition(b"\n")[0] + b"\n" + b'{"uid": "'):
        here.clear()
        results(corpus).write_bytes(torn)
        assert label(corpus, *BY_SYSTEM) == 0
        assert [uid for uid, _ in here] == [json.loads(text.splitlines()[-1])["uid"]]
        assert labels(corpus) == wanted and len(lines_of(results(corpus))) == 6
    results(corpus).write_bytes(text.replace(b"{", b"[", 1))
    capsys.readouterr()
    assert label(corpus, *BY_SYSTEM) == 2
    assert ".labels.jsonl:1: broken JSON" in capsys.readouterr().err


def test_a_bad_clip_is_one_error_and_tried_again(corpus, here, capsys):
    folder = corpus.parent
    lines = lines_of(corpus)
    lines.append(write(folder, "short", speech_like(0, 14000)[:13000], "cut", "r0"))
    lines.append(write(folder, "alone", speech_like(0, 14000), "mild", "r9"))
    lines.append(write(folder, "none", speech_like(0, 14000), "mild", None))
    lines.append(write(folder, "other", speech_like(0, 14000), "mild", "r8"))  # Whose reference is outside.
    lines.append(lines[1] | {"uid": "gone", "audio_path": "gone.wav"})
    lines.append(lines[0] | {"uid": "outside", "reference_id": "r8", "audio_path": f"../{folder.name}.wav"})
    save(corpus, lines)
    good = (folder / "mild_0.wav").read_bytes()
    (folder / "mild_0.wav").write_bytes(b"no audio")
    soundfile.write(folder.parent / f"{folder.name}.wav", speech_like(0, 14000), RATE)
    assert label(corpus, *BY_SYSTEM) == 1
    failed = {row["uid"]: row["error"] for row in lines_of(results(corpus)) if row["error"]}
    assert {uid: error["code"] for uid, error in failed.items()} == {
        "mild_0": "undecodable",
        "short": "not_aligned",
        "alone": "no_reference",
        "none": "no_reference",
        "other": "no_reference",
        "gone": "missing",
        "outside": "outside",
    }
    error = capsys.readouterr().err
    assert "5 computed, 0 known before, 7 failed" in error and f"{corpus}:11: audio_path 'gone.wav': no file" in error
    assert "'clean' has no recording of its reference_id 'r9'" in error and "13000 samples" in error
    found = labels(corpus)
    assert {uid for uid, values in found.items() if not values} == failed.keys() and len(found) == 12
    (folder / "mild_0.wav").write_bytes(good)
    here.clear()
    assert label(corpus, *BY_SYSTEM) == 1
    assert {uid for uid, _ in here} == {"mild_0", "short"}
    assert "1 computed, 5 known before, 6 failed" in capsys.readouterr().err
    assert labels(corpus)["mild_0"].keys() == {"si_sdr", "lsd"}


def test_a_library_that_fails_is_one_error(corpus, here, monkeypatch, capsys):
    def measure(degraded, reference, metrics, **_):
        if len(degraded) == 14000:
            raise np.linalg.LinAlgError("Singular matrix")
        return dict.fromkeys(metrics, float("nan"))

    assert label(corpus, *BY_SYSTEM, metrics="estoi") == 0
    monkeypatch.setattr(labelling, "measure", measure)
    save(corpus, [line | {"metrics": {}} for line in lines_of(corpus)])
    assert label(corpus, *BY_SYSTEM, metrics="estoi,si_sdr,lsd") == 1
    assert labels(corpus)["mild_0"].keys() == {"estoi"}  # What was known before is no part of the failure.
    rows = {row["uid"]: row for row in lines_of(results(corpus))}
    assert rows["mild_0"]["error"]["code"] == "failed" and "Singular matrix" in rows["mild_0"]["error"]["message"]
    assert rows["mild_1"]["values"] == {"si_sdr": None, "lsd": None}


def test_a_process_that_dies_is_one_error(corpus, monkeypatch, capsys):
    def dying(function, tasks, processes):
        return ((task, None if task.uid == "loud_1" else function(task)) for task in tasks)

    monkeypatch.setattr(labelling, "in_processes", dying)
    assert label(corpus, *BY_SYSTEM) == 1
    assert "5 computed, 0 known before, 1 failed" in capsys.readouterr().err
    row = next(row for row in lines_of(results(corpus)) if row["uid"] == "loud_1")
    assert row["error"]["code"] == "crashed" and "leave out si_sdr, lsd, or the clip" in row["error"]["message"]


def test_what_changed_is_computed_anew(corpus, here, capsys):
    first = ("si_sdr", "lsd")
    assert label(corpus, *BY_SYSTEM) == 0 and len(here) == 6
    here.clear()
    assert label(corpus, *BY_SYSTEM) == 0 and not here
    # Another metric: that one alone.
    assert label(corpus, *BY_SYSTEM, metrics="lsd,stoi") == 0
    assert {metrics for _, metrics in here} == {("stoi",)} and len(here) == 6
    # A changed recording: its row; a changed reference: all rows that meet it.
    for name, anew in (("mild_0", {"mild_0"}), ("clean_1", {"clean_1", "mild_1", "loud_1"})):
        here.clear()
        before = labels(corpus)
        soundfile.write(corpus.parent / f"{name}.wav", speech_like(77, 14000 if name[-1] == "0" else 17500), RATE)
        assert label(corpus, *BY_SYSTEM) == 0
        assert {uid for uid, _ in here} == anew and {metrics for _, metrics in here} == {first}
        assert labels(corpus) == before and "kept though they differ" in capsys.readouterr().err
    here.clear()
    assert label(corpus, *BY_SYSTEM, "--overwrite") == 0 and not here
    assert "replaced" in capsys.readouterr().err and labels(corpus)["mild_0"]["si_sdr"] < 0
    # Another reference, another way to measure: all rows but those of the same reference.
    assert label(corpus, "--reference-system", "mild") == 0 and len(here) == 6
    here.clear()
    assert label(corpus, "--reference-system", "mild", "--align") == 0 and len(here) == 6


@pytest.fixture
def levels(monkeypatch) -> list[int]:
    """Predicts the level of a recording as `plcmos` and, with it, `utmos`; notes the lengths of what it hears."""
    heard = []

    def level(waveform):
        heard.append(len(waveform))
        return {"plcmos": 1 + float(np.abs(waveform).max()), "utmos": 2.0}

    monkeypatch.setattr(predictors, "PREDICTORS", {"plcmos": level, "utmos": level})
    monkeypatch.setattr(predictors, "PACKAGES", {"plcmos": (), "utmos": ()})
    return heard


def test_predictors_need_no_reference(corpus, here, levels, capsys):
    assert label(corpus, metrics="plcmos") == 0 and len(levels) == 6
    wanted = {
        line["uid"]: 1 + np.abs(waveform(corpus.parent / f"{line['uid']}.wav")).max() for line in lines_of(corpus)
    }
    assert labels(corpus) == {uid: {"plcmos": round(float(value), 4)} for uid, value in wanted.items()}
    assert "6 computed, 0 known before, 0 failed" in capsys.readouterr().err
    # What came with it is known.
    assert label(corpus, metrics="utmos,plcmos") == 0 and len(levels) == 6
    assert labels(corpus)["mild_1"]["utmos"] == 2 and "0 computed, 6 known before" in capsys.readouterr().err


def test_predictors_beside_references(corpus, here, levels, capsys):
    lines = lines_of(corpus)
    save(corpus, [*lines, write(corpus.parent, "alone", speech_like(0, 14000), "mild", None)])
    assert label(corpus, metrics="plcmos") == 0 and len(levels) == 7
    assert label(corpus, *BY_SYSTEM, metrics="lsd,plcmos") == 1 and len(levels) == 7
    assert {metrics for _, metrics in here[7:]} == {("lsd",)} and len(here) == 13
    assert labels(corpus)["alone"].keys() == {"plcmos"} and labels(corpus)["loud_0"].keys() == {"lsd", "plcmos"}
    assert "6 computed, 0 known before, 1 failed" in capsys.readouterr().err
    # Neither forgets the other.
    here.clear()
    assert label(corpus, metrics="plcmos") == 0 and label(corpus, *BY_SYSTEM, metrics="lsd,plcmos") == 1
    assert not here
    assert label(corpus, metrics="lsd") == 2
    assert "--metrics lsd: a clean reference is needed" in capsys.readouterr().err


def test_missing_weights_are_one_error(corpus, here, levels, monkeypatch, capsys):
    def offline(waveform):
        if len(waveform) == 17500:
            raise WeightsMissing("UTMOS could not be loaded (no network)")
        return {"utmos": 2.0}

    monkeypatch.setitem(predictors.PREDICTORS, "utmos", offline)
    assert label(corpus, metrics="utmos") == 2
    error = capsys.readouterr().err
    assert error.count("UTMOS could not be loaded (no network)") == 1 and "data.jsonl.labels.jsonl" in error
    assert [row["uid"] for row in lines_of(results(corpus))] == ["clean_0", "mild_0", "loud_0"]


@pytest.fixture(scope="module")
def tiny_distill_mos(tmp_path_factory) -> tuple[Path, Model]:
    """A model folder that predicts `distill_mos`, of random weights, and what it loads."""
    config = replace(model_config("compact"), categories={"naturalness": {"distill_mos": Metric(1, 5)}})
    folder = tmp_path_factory.mktemp("distill") / "model"
    module = random_module(config)
    save_folder(folder, module, {})
    return folder, on_one_device(module)


@pytest.fixture
def loads(tiny_distill_mos, monkeypatch) -> list[Path]:
    """Loads that model, compiled once for all tests; notes the folders."""
    folders = []

    def load(folder):
        folders.append(folder)
        return tiny_distill_mos[1]

    monkeypatch.setattr("urgentmos_jax.scoring.loading.load_model", load)
    return folders


def test_distill_mos_is_computed_by_a_model_folder(corpus, here, levels, tiny_distill_mos, loads, capsys):
    folder, model = tiny_distill_mos
    flags = ("--distill-mos", folder)
    soundfile.write(corpus.parent / "loud_1.wav", np.zeros(17500), RATE)
    good = (corpus.parent / "mild_0.wav").read_bytes()
    (corpus.parent / "mild_0.wav").write_bytes(b"no audio")
    assert label(corpus, *flags, metrics="distill_mos") == 1
    assert "5 computed, 0 known before, 1 failed" in capsys.readouterr().err and not here
    rows = {row["uid"]: row for row in lines_of(results(corpus))}
    assert rows["mild_0"]["error"]["code"] == "undecodable" and len(rows) == 6
    assert rows["loud_1"]["values"] == {"distill_mos": None} and rows["loud_1"]["reasons"]["distill_mos"]
    names = ("clean_0", "loud_0", "clean_1", "mild_1")
    wanted = model.score([corpus.parent / f"{name}.wav" for name in names])
    for name, row in zip(names, wanted, strict=True):
        assert labels(corpus)[name] == {"distill_mos": pytest.approx(row["scores"]["distill_mos"], abs=2e-4)}
    meta = json.loads((corpus.parent / "data.jsonl.meta.json").read_text())
    assert meta["distill_mos"] == {"model": str(folder), "model_sha256": file_hash(folder / "model.safetensors")}
    # What failed is tried again, and the rest is known; where all is known, no model is loaded.
    (corpus.parent / "mild_0.wav").write_bytes(good)
    assert label(corpus, *flags, "--reference-system", "clean", metrics="lsd,plcmos,distill_mos") == 0
    assert labels(corpus)["mild_0"].keys() == {"lsd", "plcmos", "distill_mos"} and len(loads) == 2
    assert [row["uid"] for row in lines_of(results(corpus))[6:] if "distill_mos" in row["values"]] == ["mild_0"]
    assert len(here) == 12
    assert label(corpus, *flags, metrics="plcmos,distill_mos") == 0 and len(loads) == 2 and len(here) == 12
    # Other weights give other values.
    other = corpus.parent / "other"
    other.mkdir()
    for file in ("config.json", "model.safetensors"):
        (other / file).write_bytes((folder / file).read_bytes() + b" " * (file == "model.safetensors"))
    assert label(corpus, "--distill-mos", other, metrics="distill_mos") == 0 and loads == [folder, folder, other]


def test_distill_mos_stops_where_it_was_stopped(corpus, tiny_distill_mos, loads, monkeypatch):
    scored = []

    def scores(paths, **_):
        for path in paths:
            if len(scored) == 2:
                raise KeyboardInterrupt
            scored.append(Path(path).stem)
            yield {"error": None, "flags": [], "scores": {"distill_mos": 3.0}}

    flags = ("--distill-mos", tiny_distill_mos[0])
    stopped = SimpleNamespace(metrics=("distill_mos",), iter_scores=scores, with_calibrations=lambda _: stopped)
    with monkeypatch.context() as context:
        context.setattr("urgentmos_jax.scoring.loading.load_model", lambda folder: stopped)
        assert label(corpus, *flags, metrics="distill_mos") == 130
    assert [row["uid"] for row in lines_of(results(corpus))] == scored == ["clean_0", "mild_0"]
    assert label(corpus, *flags, metrics="distill_mos") == 0
    assert labels(corpus)["mild_0"] == {"distill_mos": 3.0} and len(lines_of(results(corpus))) == 6


def test_a_model_of_something_else_is_refused(corpus, tiny_distill_mos, monkeypatch, capsys):
    folder = tiny_distill_mos[0]
    model = SimpleNamespace(metrics=("mos_overall", "pesq"))
    monkeypatch.setattr("urgentmos_jax.scoring.loading.load_model", lambda folder: model)
    assert label(corpus, "--distill-mos", folder, metrics="distill_mos") == 2
    assert "the model predicts mos_overall, pesq, not distill_mos; make one" in capsys.readouterr().err
    broken = corpus.parent / "broken"
    broken.mkdir()
    (broken / "model.safetensors").write_bytes(b"nothing")
    monkeypatch.undo()
    assert label(corpus, "--distill-mos", broken, metrics="distill_mos") == 2
    assert f"--distill-mos {broken}: " in capsys.readouterr().err and not any(labels(corpus).values())


@pytest.mark.slow
def test_speechmos_in_processes(corpus):
    for name in ("speechmos", "onnxruntime", "librosa"):
        pytest.importorskip(name)
    assert label(corpus, "--workers", 2, metrics="dnsmos_ovrl,plcmos") == 0
    for uid, found in labels(corpus).items():
        wanted = predictors.predict(waveform(corpus.parent / f"{uid}.wav"), ["dnsmos_ovrl", "plcmos"])
        assert found == {name: pytest.approx(wanted[name], abs=1e-4) for name in ("dnsmos_ovrl", "plcmos")}


def test_a_late_clip_is_told_and_aligned(tmp_path, here, capsys):
    clean = speech_like(0, 20000)
    late = np.pad(clean, (40, 0))[:20000] + 0.01 * speech_like(1, 20000)
    data = save(
        tmp_path / "data.jsonl",
        [write(tmp_path, "c", clean, "clean", "r"), write(tmp_path, "late", 0.9 * late, "late", "r")],
    )
    assert label(data, *BY_SYSTEM, "--output", tmp_path / "a.jsonl") == 0
    assert "1 of 2 clips are late or early, 2.5 ms in the middle: all metrics but" in capsys.readouterr().err
    assert label(data, *BY_SYSTEM, "--output", tmp_path / "b.jsonl", "--align") == 0
    wanted = measure(waveform(tmp_path / "late.wav")[40:], clean[:-40], ["si_sdr"])["si_sdr"]
    assert labels(tmp_path / "b.jsonl")["late"]["si_sdr"] == pytest.approx(wanted, abs=1e-4) and wanted > 30
    assert labels(tmp_path / "a.jsonl")["late"]["si_sdr"] < 10


def test_labels_that_are_there_stay(corpus, here, capsys):
    lines = lines_of(corpus)
    lines[1]["metrics"] = {"lsd": 9.5, "mos_overall": 7.25}  # Out of its range, and none of this command's business.
    save(corpus, lines)
    assert label(corpus, *BY_SYSTEM) == 0
    assert labels(corpus)["mild_0"]["lsd"] == 9.5 and labels(corpus)["mild_0"]["mos_overall"] == 7.25
    assert "lsd: 5 added, 1 kept though they differ" in capsys.readouterr().err
    assert label(corpus, *BY_SYSTEM, "--overwrite") == 0
    assert labels(corpus)["mild_0"]["lsd"] < 9 and labels(corpus)["mild_0"]["mos_overall"] == 7.25
    assert "lsd: 5 same, 1 replaced" in capsys.readouterr().err


def test_silence_has_no_value_and_is_not_measured_again(corpus, here):
    soundfile.write(corpus.parent / "mild_0.wav", np.zeros(14000), RATE)
    assert label(corpus, *BY_SYSTEM) == 0
    assert labels(corpus)["mild_0"] == {}
    row = next(row for row in lines_of(results(corpus)) if row["uid"] == "mild_0")
    assert row["values"] == {"si_sdr": None, "lsd": None} and row["error"] is None
    assert row["reasons"] == {"si_sdr": "the clip is silent", "lsd": "the clip is silent"}
    here.clear()
    assert label(corpus, *BY_SYSTEM) == 0 and not here


def test_scores_join_by_id(corpus, capsys, tmp_path):
    lines = lines_of(corpus)
    lines[1]["metrics"] = {"utmos": 3.25}
    save(corpus, lines)
    scp, named, table = tmp_path / "utmos.scp", tmp_path / "predicted.txt", tmp_path / "scores.csv"
    scp.write_text("clean_0 4.123456\nmild_0 2\nelsewhere 3\nloud_0 nan\n")
    named.write_text("clean_1 1.5\n")
    table.write_text("file,uid,scoreq,dnsmos_ovrl\na.wav,clean_0,4.5,\nb.wav,mild_1,3.5,2.5\nc.wav,gone,1,50\n")
    scores = ("--scores", scp, f"nisqa_mos={named}", table)
    assert label(corpus, *scores, "--output", tmp_path / "out.jsonl", metrics="") == 0
    found = labels(tmp_path / "out.jsonl")
    assert found["clean_0"] == {"utmos": 4.1235, "scoreq": 4.5} and found["clean_1"] == {"nisqa_mos": 1.5}
    assert found["mild_0"] == {"utmos": 3.25} and found["mild_1"] == {"scoreq": 3.5, "dnsmos_ovrl": 2.5}
    assert found["loud_0"] == found["loud_1"] == {} and not results(tmp_path / "out.jsonl").exists()
    error = capsys.readouterr().err
    assert f"{scp}, utmos: 1 added, 1 kept though they differ (--overwrite replaces them), 4 without, 1 not in" in error
    assert f"{table}, scoreq: 2 added, 4 without, 1 not in the manifest" in error
    assert "columns left out: file" in error and "utmos.scp, blank: 1" in error
    assert "dnsmos_ovrl far outside 1 to 5, left out: 1" in error
    assert label(corpus, "--scores", scp, "--overwrite", metrics="") == 0
    assert labels(corpus)["mild_0"] == {"utmos": 2.0}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("utmos.scp", "clean_0 high\n", "utmos.scp:1: 'clean_0 high' is not `uid number`"),
        ("utmos.scp", "other:1 3\n", "none of its 1 ids is in"),
        ("odd.scp", "clean_0 3\n", "'odd' is not a known metric; give it as METRIC="),
        ("a.csv", "id,utmos\nclean_0,3\n", "a.csv:1: no column 'uid'"),
        ("a.csv", "uid,loudness\nclean_0,3\n", "no column is named as a known metric"),
        ("a.csv", "uid,utmos\nclean_0,3\nclean_0,4\n", "a.csv:3: utmos of 'clean_0' is 4, on an earlier line another"),
        ("a.csv", "uid,mos_overall\nclean_0,80\n", "a.csv:2: mos_overall 80 is outside 1 to 5"),
        ("lsd.scp", "clean_0 3\n", "lsd is in --metrics too; leave one out"),
    ],
)
def test_faults_of_scores(corpus, capsys, tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    assert label(corpus, "--scores", tmp_path / name, *BY_SYSTEM) == 2
    assert message in capsys.readouterr().err
    assert not any(labels(corpus).values())


@pytest.mark.parametrize(
    ("metrics", "flags", "message"),
    [
        (
            "sigmos_ovrl",
            BY_SYSTEM,
            "sigmos_ovrl: is not computed here, merge it with --scores sigmos_ovrl=FILE; computed are estoi, stoi",
        ),
        ("distill_mos", (), "its model is missing, make it once: pip download --no-deps distillmos && unzip"),
        ("distill_mos", ("--distill-mos", "none"), "--distill-mos none: no model folder; make it: pip download"),
        ("lsd", (*BY_SYSTEM, "--distill-mos", "none"), "--distill-mos: give --metrics distill_mos with it"),
        ("loudness", BY_SYSTEM, "loudness: is unknown; computed are"),
        ("", BY_SYSTEM, "give --metrics to compute, or --scores to merge"),
        ("lsd", (), "a clean reference is needed, say where: --reference-system"),
        ("lsd", ("--reference-system", "c0"), "by the system 'c0'; the systems are 'clean', 'loud', 'mild'"),
        ("lsd", ("--reference-column", "clean"), "no line has the key 'clean', nor its meta"),
        ("lsd", ("--reference-path", "clean/{talker}.wav"), "{talker} is none of {uid}, {system_id}, {reference_id}"),
        ("lsd", ("--reference-path", "clean.wav"), "names the same file for all"),
        ("lsd", ("--reference-path", "{uid"), "--reference-path '{uid': expected '}'"),
        ("lsd", (*BY_SYSTEM, "--workers", "0"), "--workers is 0, give 1 or more"),
        ("lsd", (*BY_SYSTEM, "--output", "out.csv"), "give a name that ends in .jsonl"),
        ("", ("--scores", "missing.scp"), "--scores missing.scp"),
    ],
)
def test_wrong_usage(corpus, capsys, monkeypatch, metrics, flags, message):
    monkeypatch.chdir(corpus.parent)
    assert label(corpus, *flags, metrics=metrics) == 2
    assert message in capsys.readouterr().err
    assert not results(corpus).exists()


def test_an_output_that_cannot_be_written(corpus, capsys, monkeypatch):
    monkeypatch.chdir(corpus.parent)
    assert label(corpus, *BY_SYSTEM, "--output", "data.jsonl/out.jsonl", metrics="lsd") == 4
    assert "cannot be written" in capsys.readouterr().err
    assert not results(corpus).exists()


def test_a_missing_package_is_named(corpus, capsys, monkeypatch):
    from urgentmos_jax.labels import intrusive

    monkeypatch.setattr(intrusive, "available", lambda: ("lsd",))
    assert label(corpus, *BY_SYSTEM, metrics="lsd,mcd") == 2
    assert 'mcd: pysptk and fastdtw is missing: pip install "urgentmos_jax[labels]"' in capsys.readouterr().err


def test_two_recordings_could_be_the_reference(corpus, capsys):
    lines = lines_of(corpus)
    save(corpus, [*lines, write(corpus.parent, "again", speech_like(0, 14000), "clean", "r0")])
    assert label(corpus, *BY_SYSTEM) == 2
    assert "'clean_0' and 'again' of 'clean' both have the reference_id 'r0'" in capsys.readouterr().err


def test_references_outside_are_refused(corpus, here, capsys):
    folder = corpus.parent
    soundfile.write(folder.parent / f"{folder.name}.wav", speech_like(0, 14000), RATE)
    rule = ("--reference-path", f"../{{reference_id}}/../{folder.name}.wav")
    (folder.parent / "r0").mkdir(exist_ok=True)
    assert label(corpus, *rule) == 1
    assert {row["error"]["code"] for row in lines_of(results(corpus))} == {"no_reference"}
    assert "leads to" in capsys.readouterr().err
    assert label(corpus, *rule, "--allow-outside") == 1
    codes = {row["uid"]: row["error"] and row["error"]["code"] for row in lines_of(results(corpus))}
    assert codes["mild_0"] is None and codes["mild_1"] == "missing"


def test_pairs_are_refused(tmp_path, capsys):
    data = save(tmp_path / "data_pairs.jsonl", [{"audio_paths": ["a.wav", "b.wav"], "metrics": {}}])
    assert label(data, *BY_SYSTEM) == 2
    assert "lists pairs; label the manifest of their recordings" in capsys.readouterr().err


def test_one_run_at_a_time(corpus, here, capsys):
    from urgentmos_jax.labels.results import ResultsFile

    with ResultsFile(results(corpus)):
        assert label(corpus, *BY_SYSTEM) == 2
    assert "another process is writing it" in capsys.readouterr().err and not here
    assert label(corpus, *BY_SYSTEM) == 0


def test_a_process_that_dies_takes_no_other_item_with_it():
    items = [f"{number} * 2" for number in range(7)]
    items.insert(3, "__import__('os')._exit(3)")
    items.append("'jax' in __import__('sys').modules or __import__('os').getppid()")
    found = dict(in_processes(eval, items, 2))
    assert found.pop(items[3]) is None and found.pop(items[-1]) == os.getpid()
    assert found == {f"{number} * 2": 2 * number for number in range(7)}


def test_processes_do_without_jax():
    probe = (
        "import sys, urgentmos_jax.labels.labelling; print([name for name in ('jax', 'torch') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True).stdout == "[]\n"
