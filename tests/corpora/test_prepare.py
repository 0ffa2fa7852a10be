"""From a reader's findings to manifests: bad recordings, recordings elsewhere, what is held out."""

from tests.helpers.corpus_trees import build_somos, write_recording, write_table
from tests.helpers.preparing import prepared, refused
from urgentmos_jax.corpora.registry import NAMES, corpus_of
from urgentmos_jax.manifests.skipping import max_bad


def test_wrong_folder(root, capsys):
    err = refused(capsys, "speechjudge", root / "none")
    assert err.startswith(f"urgentmos prepare: {root / 'none'}: no such folder; --download") and "hf auth login" in err
    for name in NAMES:
        err = refused(capsys, name, root)
        assert str(root) in err and (
            "none of these exists" in err or "not the folder" in err or "hub dataset" in err
        ), name
        if corpus_of(name).by_hand:
            assert corpus_of(name).by_hand in err


def test_one_per_cent_of_the_recordings_may_be_bad(root, capsys):
    names = [f"{n:03}.wav" for n in range(200)]
    for name in names:
        write_recording(root / "pstn_train" / name, 0.01, 8000)
    write_table(root / "pstn_train" / "pstn_train.csv", "filename,MOS,std", *(f"{name},3,0.5" for name in names))
    for name in names[:2]:
        (root / "pstn_train" / name).unlink()
    assert "--skip-bad" in refused(capsys, "pstn", root)
    records, report = prepared("pstn", root, "--skip-bad")["train"]
    assert len(records) == 198 and [bad["line"] for bad in report["bad_audio"]] == [2, 3]
    assert "left out, line 2: " in capsys.readouterr().err
    (root / "pstn_train" / names[2]).write_text("<html>")
    assert "3 of 200 recordings are bad, more than 1 %" in refused(capsys, "pstn", root, "--skip-bad")
    assert len(prepared("pstn", root, "--skip-bad", "0.02")["train"][0]) == 197


def test_one_bad_recording_of_few_may_be_left_out_as_in_training(root, capsys):
    assert [max_bad(count, share) for count, share in ((300, 0.01), (8, 0.01), (8, 0.5), (1, 0.5))] == [3, 1, 4, 0]
    for name in ("1.wav", "2.wav", "3.wav"):
        write_recording(root / "pstn_train" / name, 0.01, 8000)
    write_table(root / "pstn_train" / "pstn_train.csv", "filename,MOS,std", *(f"{n}.wav,3,0.5" for n in range(1, 4)))
    (root / "pstn_train" / "1.wav").write_text("<html>")
    assert len(prepared("pstn", root, "--skip-bad")["train"][0]) == 2
    (root / "pstn_train" / "2.wav").unlink()
    assert "2 of 3 recordings are bad, more than 1 %" in refused(capsys, "pstn", root, "--skip-bad")


def test_recordings_elsewhere(root):
    build_somos(root)
    elsewhere = root.parent / "elsewhere"
    elsewhere.mkdir()
    (root / "audios").rename(elsewhere / "audios")
    (utterance,), _ = prepared("somos", root, "--audio-root", str(elsewhere))["train"]
    assert utterance.audio_path == str(elsewhere / "audios" / "novel_2007_0098_015.wav")


def test_hold_out(root, capsys):
    for n in range(400):
        write_recording(root / "pstn_train" / f"{n}_x.wav", 0.01, 8000)
    rows = [f"{n}_x.wav,{1 + n % 5},0.5,1,5" for n in range(400)]
    write_table(root / "pstn_train" / "pstn_train.csv", "filename,MOS,std,95%CI,votes", *rows)
    found = {
        split: {u.uid for u in records} for split, (records, _) in prepared("pstn", root, "--hold-out", "0.1").items()
    }
    assert found.keys() == {"train", "dev"} and not found["train"] & found["dev"]
    assert len(found["train"]) + len(found["dev"]) == 400 and 20 <= len(found["dev"]) <= 60
    # The same ones from another order of the list.
    write_table(root / "pstn_train" / "pstn_train.csv", "filename,MOS,std,95%CI,votes", *rows[::-1])
    again = prepared("pstn", root, "--hold-out", "0.1")
    assert found == {split: {u.uid for u in records} for split, (records, _) in again.items()}
    assert "nothing to hold out" in refused(capsys, "somos", root, "--hold-out", "0.1")
