"""`urgentmos prepare`: the list of corpora, progress, usage. What it makes of each corpus is under `tests/corpora/`."""

import pytest

from tests.helpers.corpus_trees import build_pstn, build_speechjudge
from tests.helpers.preparing import prepared
from urgentmos_jax.cli import main
from urgentmos_jax.corpora.registry import NAMES


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


def test_progress_is_shown(root, capsys, monkeypatch):
    build_pstn(root)
    prepared("pstn", root)
    assert "recordings:" not in capsys.readouterr().err  # Where nobody looks a bar is noise.
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    prepared("pstn", root)
    assert "train: recordings: 100%" in capsys.readouterr().err
    build_speechjudge(root)
    prepared("speechjudge", root, "--splits", "test")
    assert "source test: rows: 3row" in capsys.readouterr().err


def test_the_list_of_corpora(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["prepare", "--list"])
    out = capsys.readouterr().out
    assert stop.value.code == 0
    for name in (*NAMES, "custom"):
        assert f"\n{name}\n" in f"\n{out}"
    for words in (
        *("train, 14,100 utterances, 18.32 h, 181 systems (Table 2)", "train, 73,123 pairs, 18.25 h, 15 systems"),
        *("test is SOMOS, 7,250 pairs", "P501, 14,160 pairs", "FOR, 6,496 pairs", "LIVETALK", "test is BC19"),
        *("TMHINT-QI, 16,708 pairs", "CHiME-7, 2,560 pairs", "URGENT24, 100,000 pairs", "URGENT25, 100,000 pairs"),
    ):
        assert words in out
    for words in ("CC BY-NC-SA 4.0", "https://zenodo.org/records/7378801", "train 58709", "01_get.py"):
        assert words in out


def test_wrong_usage():
    for arguments in ([], ["nothing"], ["custom"]):
        with pytest.raises(SystemExit) as stop:
            main(["prepare", *arguments])
        assert stop.value.code == 2
