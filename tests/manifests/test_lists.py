"""Lists of recordings as users have them."""

import gzip
import json
from pathlib import Path

import pytest

from urgentmos_jax.audio.opening import AUDIO_SUFFIXES
from urgentmos_jax.manifests.inputs import expand
from urgentmos_jax.manifests.lists import find_recordings, list_kind, match_folders, read_list, read_pair_list
from urgentmos_jax.manifests.records import ManifestError
from urgentmos_jax.ranking.systems import systems_of_folders


def listed(path: Path, content: str | bytes) -> list[tuple[str, str]]:
    content = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return read_list(path)


def test_odd_lines_of_lists(tmp_path):
    a, spaced = str(tmp_path / "a.wav"), str(tmp_path / "a b.wav")
    assert listed(tmp_path / "l.scp", "u\ta.wav\nv  a b.wav \n") == [("u", a), ("v", spaced)]
    assert listed(tmp_path / "l.csv", 'uid,path\r\n"two\nlines",a.wav\r\n,a b.wav\r\n') == [
        ("two\nlines", a),
        ("a b.wav", spaced),
    ]
    zero, separator = {"uid": 0, "audio_path": "a.wav"}, {"uid": "\u2028\x85\x0c", "audio_path": "a.wav"}
    lines = [json.dumps(line, ensure_ascii=False) for line in (zero, separator)]
    assert listed(tmp_path / "l.jsonl", "\n".join(lines)) == [("0", a), (separator["uid"], a)]
    assert listed(tmp_path / "l.txt", "a b.wav\r\n\r\n") == [("a b.wav", spaced)]


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (".jsonl", '{"uid": "u", "audio_path": "a.wav"}\n'),
        (".json", '{"uid": "u", "path": "a.wav"}\n'),
        (".json", ' [{"uid": "u",\n "audio_path": "a.wav"}]'),
        (".csv", "uid,path\nu,a.wav\n,\n"),
        (".tsv", "\ufeffuid\taudio_path\tnote\r\nu\ta.wav\t1,5\r\n"),
        (".scp", "u a.wav\n"),
        (".TXT", "a.wav\n"),
        (".lst", "\n a.wav\r"),
        (".json", '["a.wav"]'),
    ],
)
def test_every_kind_of_list(tmp_path, kind: str, content: str, packed: str):
    path = tmp_path / f"l{kind}{packed}"
    uid = "u" if "u" in content else "a.wav"
    assert list_kind(path) == kind.lower() and listed(path, content) == [(uid, str(tmp_path / "a.wav"))]


def test_files_that_are_no_lists():
    assert not any(list_kind(Path(name)) for name in ("a.wav", "a.wav.gz", "txt", "a.jsonl.wav", "-"))


def test_broken_lists_name_each_line(tmp_path):
    broken = {
        "a.jsonl": ("[" * 100_000 + '\n"x"\n{"path": 3}\n', (1, 2, 3)),
        "a.csv": ("uid,path\nA\nB,b.wav\nC,\n", (2, 4)),
        "no_column.csv": ("uid,file\nA,a.wav\n", (1,)),
        "a.scp": ("A a.wav\nB\nC sox c.wav -t wav - |\nD ark:d.ark:17\nE /far/e.ark:17\n", (2, 3, 4, 5)),
        "a.tsv": ("uid\tpath\nA\ta.wav\tmore\nB\n", (2, 3)),
        "a.json": ('["a.wav",\n"b.wav"\n', (3,)),
    }
    for name, (content, numbers) in broken.items():
        with pytest.raises(ManifestError) as error:
            listed(tmp_path / name, content)
        found = [number for number in range(1, 9) if f"{name}:{number}: " in str(error.value)]
        assert found == list(numbers), name
    for name, content in (("utf16.txt", "a.wav".encode("utf-16")), ("empty.txt", b"\n \n"), ("none.csv", b"")):
        with pytest.raises(ManifestError, match=name):
            listed(tmp_path / name, content)
    told = {
        "a.csv": ("path\na.wav\n".encode("utf-16"), "UTF-16.*save it as UTF-8"),
        "a.jsonl": ('{"path": "a.wav"}\n'.encode("utf-16"), "^[^\n]*UTF-16; save it as UTF-8$"),
        "a.lst": (b"a.wav\0b.wav\0", "`find -print0` needs to be `-print`"),
        "two.csv": ("path,path\na.wav,b.wav\n", "'path' more than once"),
        "open.csv": ('path\n"a.wav\n', "broken CSV"),
        "a.scp": ("A touch canary |\n", "is a command, and commands are not run"),
        "b.scp": ("A b.ark:17\n", "lies in a Kaldi archive"),
        "b.json": ('["a.wav", 3]', "item 2: not a path or an object"),
    }
    for name, (content, words) in told.items():
        with pytest.raises(ManifestError, match=words):
            listed(tmp_path / name, content)
    for name in ("a.jsonl.gz", "a.lst.gz"):
        (tmp_path / name).write_bytes(gzip.compress(b'{"path": "a.wav"}\n' * 99)[:-9])
        with pytest.raises(ManifestError, match="cannot be read"):
            read_list(tmp_path / name)
    with pytest.raises(ManifestError, match=r"(?s)30 faults.*l.scp:20:.*and 10 more"):
        listed(tmp_path / "l.scp", "x\n" * 30)


def test_relative_paths_that_lead_nowhere_ask_for_the_audio_root(tmp_path, caplog):
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / "a.wav").touch()
    path = tmp_path / "l.txt"
    listed(path, f"a.wav\nb.wav\n{tmp_path / 'gone.wav'}\n")
    assert f"{path}: 2 of 2 relative paths lead to no file, the first is 'a.wav'" in caplog.text
    assert "not beside the list; give --audio-root DIR" in caplog.text
    caplog.clear()
    read_list(path, tmp_path / "audio")
    assert "1 of 2 relative" in caplog.text and f"nor in --audio-root {tmp_path / 'audio'}" in caplog.text
    caplog.clear()
    pairs = tmp_path / "p.jsonl"
    pairs.write_text('{"audio_paths": ["audio/a.wav", "c.wav"]}\n')
    assert read_pair_list(pairs) == [("audio/a.wav c.wav", (str(tmp_path / "audio/a.wav"), str(tmp_path / "c.wav")))]
    assert "1 of 2 relative" in caplog.text
    with pytest.raises(ManifestError, match=r"give pairs as \.jsonl"):
        read_pair_list(path)


def test_a_folder_gives_every_kind_that_is_read_and_tells_of_the_others(tmp_path, caplog):
    names = [f"{index}{suffix}" for index, suffix in enumerate(AUDIO_SUFFIXES)] + ["deep/er/A.WAV"]
    for name in [*names, ".hidden.wav", ".git/b.wav", "notes.txt", "more.txt", "c.opus2", "README"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert find_recordings(tmp_path) == sorted(tmp_path / name for name in names)
    assert "left out: 2 .txt, 1 without suffix, 1 .opus2" in caplog.text
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "c.opus2").touch()
    with pytest.raises(ManifestError, match=r"none: no recordings .*other files: 1 \.opus2"):
        find_recordings(tmp_path / "none")


def test_links_to_folders_are_followed_once(tmp_path, caplog):
    recordings = tmp_path / "elsewhere" / "a.wav"
    recordings.parent.mkdir()
    recordings.touch()
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "linked").symlink_to(recordings.parent, target_is_directory=True)
    assert find_recordings(folder) == [folder / "linked" / "a.wav"] and not caplog.text
    (recordings.parent / "back").symlink_to(folder, target_is_directory=True)
    assert find_recordings(folder) == [folder / "linked" / "a.wav"]
    assert "back: a link to a folder that was entered before" in caplog.text


def test_composed_and_decomposed_names_are_the_same(tmp_path):
    for folder, name in (("a", "caf\u00e9.wav"), ("b", "cafe\u0301.wav")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).touch()
    ((name, sides),) = match_folders(tmp_path / "a", tmp_path / "b")
    assert name == "caf\u00e9" and all(Path(side).exists() for side in sides)
    (tmp_path / "lists").mkdir()
    for folder, spelt in (("a", "cafe\u0301.wav"), ("b", "caf\u00e9.wav")):
        for path, root in ((tmp_path / folder / "l.txt", None), (tmp_path / "lists" / "l.txt", tmp_path / folder)):
            path.write_text(f"{spelt}\n")
            ((_, located),) = read_list(path, root)
            assert Path(located).exists() and spelt not in located
    recordings = systems_of_folders({tmp_path / one: find_recordings(tmp_path / one) for one in "ab"})
    assert [uid for uid, _ in expand(str(tmp_path / "b"), None)] == ["caf\u00e9"]
    assert [one.reference_id for one in recordings] == ["caf\u00e9"] * 2
