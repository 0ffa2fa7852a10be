"""Recordings as they lie about: in archives, tables, and manifests of Lhotse and NeMo that cut long files."""

import gzip
import io
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from tests.helpers.commands import run, write_recording
from tests.helpers.corpus import speech_like
from urgentmos_jax.audio.loading import AudioError, load_audio
from urgentmos_jax.audio.media import has_media
from urgentmos_jax.audio.recordings import Recording, Stored
from urgentmos_jax.manifests.inputs import path_of, read_inputs, stream
from urgentmos_jax.manifests.lists import read_list
from urgentmos_jax.manifests.records import ManifestError

RATE_HZ = 16000


def sound(seed: int, samples: int = 8000, **kind: Any) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, speech_like(seed, samples), RATE_HZ, **(kind or {"format": "WAV", "subtype": "PCM_16"}))
    return file.getvalue()


def pack(path: Path, members: dict[str, bytes | tarfile.TarInfo]) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
                continue
            about = tarfile.TarInfo(name)
            about.size = len(content)
            tar.addfile(about, io.BytesIO(content))
    return path


def link(name: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    about = tarfile.TarInfo(name)
    about.type, about.linkname = kind, "/etc/passwd"
    return about


def codes(recordings: list[tuple[str, Any]]) -> list[str | None]:
    """What decoding each gives: None, or the code of the error, which names the row."""
    found: list[str | None] = []
    for (_, listed), recording in zip(recordings, stream(one for _, one in recordings), strict=True):
        try:
            load_audio(recording)
            found.append(None)
        except AudioError as error:
            assert path_of(listed) in error.message
            found.append(error.code)
    return found


@pytest.mark.parametrize("name", ["shard.tar", "shard.tar.gz"])
def test_members_of_archives(tmp_path, name):
    odd = {"../up.wav": sound(3), "b.clean.flac": sound(4, format="FLAC"), "deep/c.mp3": sound(5, format="MP3")}
    path = pack(
        tmp_path / name,
        {
            "a.json": b"{}",
            "a.wav": sound(1),
            "._a.wav": b"of macOS",
            "l.wav": link("l.wav"),
            "h.wav": link("h.wav", tarfile.LNKTYPE),
            "broken.ogg": b"OggS" + bytes(100),
            "empty.wav": b"",
            **odd,
        },
    )
    found = read_inputs([str(path)])
    assert [uid for uid, _ in found] == ["a", "l", "h", "broken", "empty", "../up", "b.clean", "deep/c"]
    assert [path_of(one) for _, one in found][:2] == [f"{path}/a.wav", f"{path}/l.wav"]
    assert codes(found) == [None, "missing", "missing", "undecodable", "empty", None, None, None]
    # Any of them, in any order, as they are in a file of their own.
    for index, content in ((7, odd["deep/c.mp3"]), (5, odd["../up.wav"]), (0, sound(1))):
        (one,) = stream([found[index][1]])
        assert np.array_equal(load_audio(one).waveform, load_audio(io.BytesIO(content)).waveform)
    backwards = list(stream(one for _, one in reversed(found)))
    assert [one.path for one in backwards] == [path_of(one) for _, one in reversed(found)]
    assert sorted(file.name for file in tmp_path.iterdir()) == [name]


@pytest.mark.parametrize("name", ["shard.tar", "shard.tar.gz"])
def test_an_archive_that_is_cut_loses_what_is_lost(tmp_path, name):
    path = pack(tmp_path / name, {f"{number}.wav": sound(number) for number in range(3)})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2 if name.endswith(".gz") else 2 * (512 + 16384) + 300])
    found = read_inputs([str(path)])
    told = codes(found)
    assert path_of(found[-1][1]) == str(path) and told[-1] == "truncated"
    assert told[0] is None and set(told[1:]) <= {None, "truncated"}
    path.write_bytes(b"no archive" * 100)
    with pytest.raises(ManifestError, match="cannot be read as a tar archive"):
        read_inputs([str(path)])
    pack(path, {"a.txt": b"", "b.m4a": b""})
    if not has_media():
        with pytest.raises(ManifestError, match=r"no recordings .* other members: .*1 \.txt"):
            read_inputs([str(path)])


def test_names_in_several_archives(tmp_path):
    paths = [str(pack(tmp_path / f"{one}.tar", {"x.wav": sound(1), f"{one}.wav": sound(2)})) for one in "ab"]
    assert [uid for uid, _ in read_inputs(paths)] == [f"{paths[0]}/x", "a", f"{paths[1]}/x", "b"]


def write_table(path: Path, /, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path, row_group_size=2)
    return path


def test_rows_of_tables(tmp_path):
    write_recording(tmp_path / "beside.wav", 7)
    cells = [
        {"bytes": sound(1), "path": "a.wav"},
        {"bytes": None, "path": "beside.wav"},
        {"bytes": None, "path": "gone.wav"},
        {"bytes": b"", "path": None},
        None,
        {"bytes": sound(2), "path": None},
    ]
    path = write_table(tmp_path / "t.parquet", text=list("uvwxyz"), audio=cells)
    found = read_inputs([str(path)])
    assert [uid for uid, _ in found] == ["a.wav", "beside.wav", "gone.wav", *(f"{path}#{row}" for row in (3, 4, 5))]
    assert [path_of(one) for _, one in found] == [f"{path}#{row}" for row in range(6)]
    assert codes(found) == [None, None, "missing", "empty", "missing", None]
    backwards = list(stream(one for _, one in reversed(found)))
    assert backwards[-1].source == sound(1) and backwards[0].source == sound(2)
    path = write_table(tmp_path / "b.parquet", id=[7, None], audio=[sound(1), sound(2)])
    assert [uid for uid, _ in read_inputs([str(path)])] == ["7", f"{path}#1"] and codes(read_inputs([str(path)])) == [
        None,
        None,
    ]
    # The only column of bytes and paths; and paths, which are those of a list.
    path = write_table(tmp_path / "c.parquet", speech=cells[:1])
    assert codes(read_inputs([str(path)])) == [None]
    path = write_table(tmp_path / "p.parquet", uid=["u"], audio=["beside.wav"])
    assert read_inputs([str(path)]) == [("u", str(tmp_path / "beside.wav"))]


def test_tables_that_are_refused(tmp_path, monkeypatch):
    def refused(path: Path) -> str:
        with pytest.raises(ManifestError) as caught:
            read_inputs([str(path)])
        return str(caught.value)

    assert "rename that of the recordings; the columns are text (string)" in refused(
        write_table(tmp_path / "n.parquet", text=["a"])
    )
    assert "lists no recordings" in refused(write_table(tmp_path / "e.parquet", audio=pa.array([], pa.binary())))
    assert "row 1 has no path" in refused(write_table(tmp_path / "g.parquet", path=["a.wav", None]))
    assert "no such file" in refused(tmp_path / "gone.parquet").lower()
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no table")
    assert "cannot be read as Parquet" in refused(tmp_path / "x.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    assert 'pip install "urgentmos_jax[data]"' in refused(tmp_path / "e.parquet")


def test_a_damaged_row_group_costs_its_rows(tmp_path):
    path = tmp_path / "t.parquet"
    noise = [np.random.default_rng(row).bytes(4000) for row in range(4)]
    table = pa.table({"audio": [sound(1), noise[0], noise[1], noise[2], sound(2), noise[3]]})
    pq.write_table(table, path, row_group_size=2, compression="zstd", use_dictionary=False, write_page_checksum=True)
    data = bytearray(path.read_bytes())
    place = data.index(noise[1][100:200]) if noise[1][100:200] in data else None
    assert place is not None  # Noise does not compress.
    data[place] ^= 255
    path.write_bytes(data)
    found = [recording.source for recording in stream(one for _, one in read_inputs([str(path)]))]
    failed = [isinstance(one, AudioError) for one in found]
    assert failed in ([False] * 2 + [True] * 2 + [False] * 2, [False] * 6)
    assert found[0] == sound(1) and found[4] == sound(2)


def cut(**changes: Any) -> dict[str, Any]:
    """A cut as Lhotse writes it."""
    sources = [{"type": "file", "channels": [0], "source": "long.wav"}]
    recording = {"id": "r", "sources": sources, "sampling_rate": RATE_HZ, "num_samples": 80000, "duration": 5.0}
    entry = {"id": "c", "start": 1.5, "duration": 2.25, "channel": 0, "supervisions": [], "type": "MonoCut"}
    return {**entry, "recording": recording, **changes}


@pytest.fixture
def long(tmp_path) -> np.ndarray:
    """Five seconds in stereo, in several formats; [T, 2]."""
    samples = np.stack([speech_like(1, 80000), speech_like(2, 80000)], 1)
    soundfile.write(tmp_path / "stereo.wav", samples, RATE_HZ, subtype="FLOAT")
    for name in ("long.wav", "long.flac", "long.ogg", "long.mp3"):
        soundfile.write(tmp_path / name, samples[:, 0], RATE_HZ)
    return samples


def test_cuts_and_segments_are_parts_of_files(tmp_path, long):
    stereo = [{"type": "file", "channels": [0, 1], "source": "stereo.wav"}]
    lines = [
        cut(),
        cut(id="whole", start=0, duration=5.0),
        cut(id="right", channel=1, recording={"sources": stereo, "duration": 5.0}),
        cut(id="both", channel=[0, 1], type="MultiCut", recording={"sources": stereo, "duration": 5.0}),
        {"id": "r", "sources": cut()["recording"]["sources"], "sampling_rate": RATE_HZ},
        {"audio_filepath": "long.flac", "offset": 0.5, "duration": 1.0, "text": ""},
        {"audio_filepath": "long.ogg", "offset": 4.0, "duration": None},
        {"audio_filepath": "long.wav", "offset": 0, "duration": 4.98},
        {"audio_filepath": "long.mp3", "duration": 2.0},
        {"audio_filepath": "long.mp3", "offset": 2, "duration": 1},
    ]
    path = tmp_path / "cuts.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, lines)).encode()))
    found = read_list(path)
    names = ["c", "whole", "right", "both", "r", "long.flac#t=0.5,1.5", "long.ogg#t=4", "long.wav#t=0,4.98"]
    assert [uid for uid, _ in found] == [*names, "long.mp3", "long.mp3#t=2,3"]
    assert path_of(found[0][1]) == f"{tmp_path}/long.wav#t=1.5,3.75"
    assert path_of(found[2][1]) == f"{tmp_path}/stereo.wav#t=1.5,3.75&channel=1"
    assert found[1][1] == found[4][1] == str(tmp_path / "long.wav") and found[8][1] == str(tmp_path / "long.mp3")
    parts = [(0, 24000, 60000), (1, 0, 80000), (4, 0, 80000), (5, 8000, 24000), (6, 64000, 80000), (7, 0, 80000)]
    for index, start, end in [*parts, (9, 32000, 48000)]:
        listed = found[index][1]
        whole = load_audio(listed.source if isinstance(listed, Recording) else listed).waveform
        got = load_audio(listed)
        assert np.abs(got.waveform - whole[start:end]).max() < 1e-6 and got.duration_s == (end - start) / RATE_HZ
    right, both = (load_audio(found[index][1]).waveform for index in (2, 3))
    np.testing.assert_allclose(right, long[24000:60000, 1], atol=1e-6)
    np.testing.assert_allclose(both, long[24000:60000].mean(1), atol=1e-6)


def test_parts_that_are_not_there(tmp_path, long):
    place = str(tmp_path / "long.wav")
    for start, duration, channels, code in (
        (4.0, 3.0, None, "truncated"),
        (6.0, 1.0, None, "truncated"),
        (6.0, None, None, "truncated"),
        (1.0, 1.0, (1,), "undecodable"),
        (1.0, 0.01, None, "too_short"),
        (4.0, 1.01, None, None),
    ):
        part = Recording("part", place, start, duration, channels)
        assert codes([("part", part)]) == [code]
    cut_file = (tmp_path / "long.ogg").read_bytes()
    place = tmp_path / "damaged.ogg"
    place.write_bytes(cut_file[:9000] + b"\x55" + cut_file[9001:])
    assert codes([("p", Recording("p", str(place), 4.0, 0.5))]) == ["truncated"]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"tracks": [], "type": "MixedCut"}, "MixedCut"),
        (cut(start=-1), "not seconds"),
        (cut(duration=float("1e999")), "not seconds"),
        (cut(channel="left"), "channel 'left' is not a number"),
        (cut(channel=1), "channel"),
        (cut(recording={"sources": [{"type": "command", "source": "sox -"}]}), "commands are not run"),
        (cut(recording={"sources": [{"type": "memory", "source": ""}]}), "'memory', which is not read"),
        (cut(recording={"sources": [{"type": "url", "source": "https://x/y.wav"}]}), "download it"),
        (cut(recording={"sources": []}), "no sources"),
        (cut(recording={**cut()["recording"], "transforms": [{}]}), "transforms"),
        ({"audio_filepath": "a.wav", "offset": "1"}, "not seconds"),
        ({"audio_filepath": "a.wav", "offset": 1, "duration": 0}, "not seconds"),
    ],
)
def test_lines_that_name_no_part(tmp_path, entry, words):
    path = tmp_path / "cuts.jsonl"
    path.write_text(json.dumps(entry) + "\n")
    with pytest.raises(ManifestError, match=words) as caught:
        read_list(path)
    assert f"{path}:1: " in str(caught.value)


def test_a_row_for_each_recording_wherever_it_lies(tmp_path, model_folder, capsys):
    (tmp_path / "a.wav").write_bytes(sound(1))
    shard = pack(tmp_path / "s.tar.gz", {"k.wav": sound(1), "bad.wav": b"x" * 100, "l.wav": link("l.wav")})
    table = write_table(tmp_path / "t.parquet", uid=["p", "q"], audio=[sound(1), b"junk"])
    nemo = tmp_path / "n.json"
    nemo.write_text(json.dumps({"uid": "n", "audio_filepath": "a.wav", "offset": 0.0, "duration": 0.5}))
    inputs = [tmp_path / "a.wav", shard, table, nemo]
    output = tmp_path / "rows.jsonl"
    status, _, err = run(capsys, "score", *inputs, "--model", model_folder, "--output", output)
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert status == 1 and "7 rows, 4 done, 3 failed" in err
    assert [row["uid"] for row in rows] == [str(tmp_path / "a.wav"), "k", "bad", "l", "p", "q", "n"]
    scores = [row["scores"] for row in rows if row["scores"]]
    assert all(one == pytest.approx(scores[0], abs=1e-5) for one in scores)
    # A stopped run goes on within an archive.
    output.with_name("rows.jsonl.part").write_text("".join(output.read_text().splitlines(True)[:2]))
    about = json.loads(Path(f"{output}.meta.json").read_text())
    Path(f"{output}.part.meta.json").write_text(json.dumps(about))
    before = output.read_text()
    status, _, err = run(capsys, "score", *inputs, "--model", model_folder, "--output", output, "--resume")
    assert status == 1 and "resuming after 2 of 7 rows" in err
    assert [json.loads(line)["path"] for line in output.read_text().splitlines()] == [row["path"] for row in rows]
    assert len(before.splitlines()) == 7


def test_rows_of_data_sets_and_stored_recordings_in_python(tmp_path, model_folder):
    from urgentmos_jax import load_model

    model = load_model(model_folder)
    shard = pack(tmp_path / "s.tar.gz", {"a.wav": sound(1), "b.wav": sound(2)})
    stored = [one for _, one in read_inputs([str(shard)])]
    assert all(isinstance(one, Stored) for one in stored)
    named, nameless = {"bytes": sound(1), "path": "x.wav"}, {"bytes": sound(1), "path": None}
    rows = model.score([*stored, named, nameless])
    assert [row["path"] for row in rows] == [f"{shard}/a.wav", f"{shard}/b.wav", "x.wav", None]
    assert [row["uid"] for row in rows][2:] == ["x.wav", "file-3"]
    assert rows[2]["scores"] == pytest.approx(rows[0]["scores"], abs=1e-5)
    with pytest.raises(TypeError, match="expected a list"):
        model.score(named)
    if model.comparative_metrics:
        (row,) = model.compare([(stored[1], stored[0])])
        assert row["error"] is None and row["paths"] == [f"{shard}/b.wav", f"{shard}/a.wav"]
