"""`urgentmos check`: what is wrong with manifests of both kinds (cases 10 to 14 of the faults), and what they hold."""

import json
import os
from pathlib import Path

import jax
import numpy as np
import pytest
import soundfile

from tests.helpers.corpus import tiny_config, write_corpus
from urgentmos_jax.cli import main
from urgentmos_jax.data.training_set import Source, read_training_set
from urgentmos_jax.manifests.overlap import overlaps
from urgentmos_jax.manifests.records import ManifestError
from urgentmos_jax.metrics import Metric
from urgentmos_jax.training.trainer import Trainer

KINDS = ("utterances", "pairs")


def recording(path: Path, seconds: float = 2.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(0).uniform(-0.1, 0.1, round(16000 * seconds)), 16000)
    return path


def line(kind: str, uid: str, audio: str, **changes) -> str:
    """A line about a recording; of a pair it is the first side, the second is always the same."""
    single = {"uid": uid, "audio_path": audio, "duration": 2.0, "metrics": {"mos_overall": 3.0}, **changes}
    if kind == "utterances":
        return json.dumps(single, ensure_ascii=False)
    return json.dumps(
        {
            "uids": [single["uid"], "other"],
            "audio_paths": [single["audio_path"], "other.wav"],
            "durations": [single["duration"], 2.0],
            "metrics": single["metrics"],
        },
        ensure_ascii=False,
    )


def listed(folder: Path, kind: str, *lines: str, data: bytes | None = None) -> Path:
    path = folder / ("data.jsonl" if kind == "utterances" else "data_pairs.jsonl")
    path.write_bytes("".join(f"{one}\n" for one in lines).encode() if data is None else data)
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in ("a", "b", "c", "other"):
        recording(tmp_path / "corpus" / "train" / f"{name}.wav")
    return tmp_path / "corpus" / "train"


@pytest.fixture
def check(capsys):
    def run(*arguments: str | Path) -> tuple[int, str, str]:
        code = main(["check", *map(str, arguments)])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return run


@pytest.mark.parametrize("kind", KINDS)
def test_case_10_lines_that_cannot_be_read(folder, check, kind):
    good = line(kind, "a", "a.wav")
    bad = ['{"uid": "b"', '["x"]', "{}", line(kind, "c", "c.wav", metrics=[1]), line(kind, "c", "c.wav", duration="2")]
    path = listed(folder, kind, good, *bad)
    code, out, err = check(path)
    assert code == 1
    numbers = [int(text.split(":")[1]) for text in err.splitlines() if text.strip().startswith(str(path))]
    assert set(numbers) == {2, 3, 4, 5, 6} and "broken JSON" in err and "not a JSON object" in err
    # What is in order is described all the same.
    assert out.splitlines()[1].split()[-6:-4] == ["1", "0.00"]
    path = listed(folder, kind, *[good.replace('"a"', f'"{n}"') + "}" for n in range(30)])
    code, _, err = check(path)
    assert "30 faults" in err and "and 10 more" in err and err.count(str(path)) == 20
    text = "\ufeff" + good + "\r\n\r\n  \n" + line(kind, "b", "b.wav") + "\r\n"
    assert check(listed(folder, kind, data=text.encode()))[0] == 0


def test_case_11_ids_and_recordings_that_come_twice(folder, check):
    lines = [line("utterances", uid, f"{uid}.wav") for uid in "ab"]
    path = listed(folder, "utterances", *lines, line("utterances", "a", "c.wav"), line("utterances", "c", "b.wav"))
    code, _, err = check(path)
    assert code == 1 and f"{path}:3: uid 'a' is that of line 1 too" in err
    assert f"{path}:4: audio_path 'b.wav' is that of line 2 too" in err
    # In pairs recordings come again and again; their ids must be those of the utterances beside them.
    listed(folder, "utterances", *lines, line("utterances", "other", "other.wav"))
    pairs = listed(
        folder, "pairs", line("pairs", "a", "a.wav"), line("pairs", "a", "a.wav"), line("pairs", "x", "b.wav")
    )
    code, _, err = check(pairs)
    assert code == 1 and f"{pairs}:3: uid 'x' is not in {folder / 'data.jsonl'}" in err and f"{pairs}:1" not in err


@pytest.mark.parametrize("kind", KINDS)
def test_case_11_splits_that_overlap(folder, check, kind, tmp_path):
    train = listed(folder, "utterances", *(line("utterances", uid, f"{uid}.wav") for uid in "abc"))
    recording(folder.parent / "dev" / "d.wav")
    recording(folder.parent / "dev" / "other.wav")
    dev = listed(folder.parent / "dev", kind, line(kind, "a", "d.wav"), line(kind, "d", str(folder / "b.wav")))
    code, _, err = check(train, dev)
    assert code == 1
    assert f"{dev}:1: uid 'a' is in {train}:1 too; take it out of one of the splits" in err
    assert f"{dev}:2: recording '{folder / 'b.wav'}' is in {train}:2 too" in err
    # The pairs of a split are of the same recordings, and another corpus has ids of its own.
    pairs = listed(folder, "pairs", line("pairs", "a", "a.wav"))
    listed(folder, "utterances", *(line("utterances", uid, f"{uid}.wav") for uid in ("a", "b", "other")))
    assert check(train, pairs)[0] == 0
    recording(tmp_path / "second" / "train" / "other.wav")
    elsewhere = recording(tmp_path / "second" / "train" / "a.wav").parent
    assert check(train, listed(elsewhere, kind, line(kind, "a", "a.wav")))[0] == 0
    # A link leads to the same recording.
    (elsewhere / "b.wav").symlink_to(folder / "b.wav")
    linked = listed(elsewhere, kind, line(kind, "b", str(elsewhere / "b.wav")))
    assert f"is in {train}:2 too" in check(train, linked)[2]


def test_case_11_training_refuses_splits_that_overlap(folder):
    train = listed(folder, "utterances", *(line("utterances", uid, f"{uid}.wav") for uid in "abc"))
    dev = folder.parent / "dev" / "data.jsonl"
    dev.parent.mkdir()
    dev.write_text(line("utterances", "z", str(folder / "c.wav")) + "\n")
    (fault,) = overlaps([[train], [dev]])
    assert f"{dev}:1" in fault and f"{train}:3" in fault
    # Two manifests of one part may share what they like.
    assert overlaps([[train, dev]]) == []


def test_case_11_training_stops_at_an_id_of_two_splits(tmp_path):
    write_corpus(tmp_path / "mine" / "train", [8000, 9000])
    write_corpus(tmp_path / "mine" / "dev", [9500, 8500], seed=1)
    with pytest.raises(ManifestError, match=r"dev/data\.jsonl:1: uid 'u1' is in .*train/data\.jsonl:2 too"):
        Trainer(tiny_config(tmp_path), tmp_path / "run", devices=jax.local_devices()[:1])


@pytest.mark.parametrize("kind", KINDS)
def test_case_12_labels(folder, check, kind, capsys):
    bad = {"a": float("nan"), "b": "3", "c": 9.0}
    path = listed(folder, kind, *(line(kind, uid, f"{uid}.wav", metrics={"mos_overall": x}) for uid, x in bad.items()))
    code, _, err = check(path)
    assert code == 1
    assert f"{path}:1: metrics.mos_overall is nan, give a finite number" in err
    assert f"{path}:2: metrics.mos_overall is '3', give a finite number" in err
    assert f"{path}:3: metrics.mos_overall is 9, beyond" in err
    # A little outside is clipped and counted, as PESQ over its published bound; null and missing ones are masked.
    values = {"a": {"pesq": 4.64, "mos_overall": None}, "b": {"pesq": 2.0}, "c": {}}
    if kind == "pairs":
        values["a"]["pesq"] = 3.64
    path = listed(folder, kind, *(line(kind, uid, f"{uid}.wav", metrics=found) for uid, found in values.items()))
    code, out, _ = check(path)
    assert code == 0
    header, row = (text.split() for text in out.splitlines()[:2])
    assert row[header.index("clipped") - len(header)] == "1"
    (pesq,) = [text.split() for text in out.splitlines() if text.startswith("pesq")]
    assert pesq[-6:] == ["2", "66.7", "%", "2.000", "3.250" if kind == "utterances" else "2.750", pesq[-1]]
    metrics = {"pesq": Metric(1, 4.5, True), "utmos": Metric(1, 5, kind == "pairs")}
    with pytest.raises(ManifestError, match="has a label of utmos: take it out of the model"):
        read_training_set([Source("corpus/train", path, pairs=kind == "pairs")], metrics)


@pytest.mark.parametrize("kind", KINDS)
def test_case_13_durations(folder, check, kind):
    durations = {"a": 2.6, "b": 1.6, "c": -1, "other": 0}
    path = listed(folder, kind, *(line(kind, uid, f"{uid}.wav", duration=x) for uid, x in durations.items()))
    code, _, err = check(path)
    assert code == 1
    assert f"{path}:1: {folder / 'a.wav'} lasts 2.00 s, declared are 2.60 s; correct the duration" in err
    assert f"{path}:2" not in err
    assert f"{path}:3: duration" in err and "is -1, give seconds above 0" in err and f"{path}:4: duration" in err


@pytest.mark.parametrize("kind", KINDS)
def test_case_14_paths(folder, check, kind, tmp_path):
    recording(tmp_path / "outside.wav")
    (folder / "link.wav").symlink_to(tmp_path / "outside.wav")
    (folder / "loop.wav").symlink_to(folder / "loop.wav")
    long = "日" * 83 + ".wav"
    recording(folder / long)
    names = ("../../outside.wav", "link.wav", "loop.wav", long, str(recording(tmp_path / "absolute.wav")))
    path = listed(folder, kind, *(line(kind, f"u{n}", name) for n, name in enumerate(names)))
    code, _, err = check(path)
    numbers = sorted({int(text.split(":")[1]) for text in err.splitlines() if text.strip().startswith(f"{path}:")})
    assert code == 1 and numbers == [1, 2, 3] and "leads to" in err and "no file" in err
    code, _, err = check(path, "--allow-outside")
    assert code == 1 and err.count(f"{path}:") == 1 and f"{path}:3" in err
    path = listed(folder, kind, *(line(kind, f"u{n}", name) for n, name in enumerate(names) if name != "loop.wav"))
    assert check(path, "--allow-outside")[0] == 0


def test_recordings_that_cannot_be_read(folder, check):
    (folder / "a.wav").write_text("<html>")
    whole = (folder / "b.wav").read_bytes()
    (folder / "b.wav").write_bytes(whole[: len(whole) // 2])
    path = listed(folder, "utterances", *(line("utterances", uid, f"{uid}.wav") for uid in "abc"))
    code, _, err = check(path)
    assert code == 1 and f"{path}:1: " in err and "it is an HTML page" in err and f"{path}:3" not in err
    code, _, err = check(path, "--decode")
    assert code == 1 and f"{path}:1: " in err and f"{path}:2: " in err and f"{path}:3" not in err
    (folder / "a.wav").unlink()
    assert f"{path}:1: audio_path 'a.wav': no file" in check(path)[2]


def test_what_manifests_hold(folder, check, tmp_path):
    more = {"system_id": "s1", "reference_id": "r1"}
    train = listed(
        folder,
        "utterances",
        line("utterances", "a", "a.wav", **more, metrics={"mos_overall": 1.5, "utmos": 4.0}),
        line("utterances", "b", "b.wav", **more | {"reference_id": "r2"}, metrics={"mos_overall": 4.5}),
    )
    recording(folder.parent / "dev" / "d.wav", 1.0)
    dev = listed(folder.parent / "dev", "utterances", line("utterances", "d", "d.wav", **more, duration=1.0))
    files = ("--json", tmp_path / "out.json", "--plot", tmp_path / "out.png")
    code, out, err = check(train, dev, *files)
    assert (code, err) == (0, "")
    tables = [[text.split() for text in block.splitlines()] for block in out.split("\n\n")]
    assert tables[0][1:] == [
        ["corpus/train", "2", "0.00", "1", "2", "0", "0"],
        ["corpus/dev", "1", "0.00", "1", "1", "0", "0"],
    ]
    assert tables[1][1:] == [
        ["mos_overall", "corpus/train", "2", "100.0", "%", "1.500", "3.000", "4.500"],
        ["mos_overall", "corpus/dev", "1", "100.0", "%", "3.000", "3.000", "3.000"],
        ["utmos", "corpus/train", "1", "50.0", "%", "4.000", "4.000", "4.000"],
        ["utmos", "corpus/dev", "0", "0.0", "%"],
    ]
    assert "corpus: 1 references are in train and dev" in out
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["manifests"][0]["hours"] == pytest.approx(4 / 3600) and len(found["notes"]) == 1
    assert found["manifests"][0]["labels"]["utmos"] == {"labels": 1, "share": 0.5, "least": 4, "mean": 4, "greatest": 4}
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


def test_wrong_usage(folder, check, tmp_path):
    code, _, err = check(tmp_path / "gone.jsonl")
    assert code == 2 and "gone.jsonl: no such file" in err
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    code, _, err = check(empty)
    assert code == 1 and "holds no lines" in err
    path = listed(folder, "utterances", line("utterances", "a", "a.wav"))
    assert check(path, "--json", empty / "folder.json")[0] == 4
    assert sorted(os.listdir(tmp_path)) == ["corpus", "empty.jsonl"]
