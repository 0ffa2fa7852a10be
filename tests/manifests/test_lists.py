"""Lists of recordings as users have them."""

import json
from pathlib import Path

import pytest

from urgentmos_jax.audio.loading import AUDIO_SUFFIXES
from urgentmos_jax.manifests.lists import find_recordings, match_folders, read_list
from urgentmos_jax.manifests.records import ManifestError
from urgentmos_jax.ranking.systems import systems_of_folders


def listed(path: Path, content: str | bytes) -> list[tuple[str, str]]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
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


def test_broken_lists_name_each_line(tmp_path):
    broken = {
        "a.jsonl": ("[" * 100_000 + '\n"x"\n{"path": 3}\n', (1, 2, 3)),
        "a.csv": ("uid,path\nA\nB,b.wav\n,\n", (2, 4)),
        "no_column.csv": ("uid,file\nA,a.wav\n", (1,)),
        "a.scp": ("A a.wav\nB\n", (2,)),
    }
    for name, (content, numbers) in broken.items():
        with pytest.raises(ManifestError) as error:
            listed(tmp_path / name, content)
        found = [number for number in range(1, 9) if f"{name}:{number}: " in str(error.value)]
        assert found == list(numbers), name
    for name, content in (("utf16.txt", "a.wav".encode("utf-16")), ("empty.txt", b"\n \n"), ("none.csv", b"")):
        with pytest.raises(ManifestError, match=name):
            listed(tmp_path / name, content)
    with pytest.raises(ManifestError, match=r"(?s)30 faults.*l.scp:20:.*and 10 more"):
        listed(tmp_path / "l.scp", "x\n" * 30)


def test_a_folder_gives_every_kind_that_is_read_and_tells_of_the_others(tmp_path, caplog):
    names = [f"{index}{suffix}" for index, suffix in enumerate(AUDIO_SUFFIXES)] + ["deep/er/A.WAV"]
    for name in [*names, ".hidden.wav", ".git/b.wav", "notes.txt", "more.txt", "c.m4a", "README"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert find_recordings(tmp_path) == sorted(tmp_path / name for name in names)
    assert "left out: 2 .txt, 1 .m4a, 1 without suffix" in caplog.text
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "c.m4a").touch()
    with pytest.raises(ManifestError, match=r"none: no recordings .*other files: 1 \.m4a"):
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
    recordings = systems_of_folders({tmp_path / one: find_recordings(tmp_path / one) for one in "ab"})
    assert [one.reference_id for one in recordings] == ["caf\u00e9"] * 2
