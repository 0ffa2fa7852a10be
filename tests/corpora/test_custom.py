"""`urgentmos prepare custom`: ratings of one's own become a manifest that holds what they say."""

import json
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import soundfile

from urgentmos_jax.cli import main
from urgentmos_jax.corpora.custom import Scale
from urgentmos_jax.corpora.split import escape_id
from urgentmos_jax.manifests.reading import read_utterances
from urgentmos_jax.manifests.records import Utterance

SHARED = Path(__file__).parents[3] / "shared" / "data"
COLUMNS = ("--audio", "file", "--system", "system", "--reference", "text")


def prepared(folder: Path, *flags: str) -> tuple[list[Utterance], dict]:
    """Utterances and report of `folder/ratings.csv`."""
    output = folder / "out"
    source = ("--source", str(folder / "ratings.csv"), "--output", str(output))
    assert main(["prepare", "custom", *source, *flags]) == 0
    return read_utterances(output / "data.jsonl")[0], json.loads((output / "report.json").read_text())


def refused(capsys, folder: Path, *flags: str) -> str:
    output = folder / "out"
    source = ("--source", str(folder / "ratings.csv"), "--output", str(output))
    assert main(["prepare", "custom", *source, *flags]) == 2
    out, err = capsys.readouterr()
    assert out == "" and "Traceback" not in err and not output.exists()
    return err


def table(folder: Path, text: str) -> None:
    (folder / "ratings.csv").write_text(text, encoding="utf-8", newline="")


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "audio").mkdir()
    for i, name in enumerate("abcd"):
        soundfile.write(tmp_path / "audio" / f"{name}.wav", np.zeros(8000 + 800 * i, np.float32), 16000)
    return tmp_path


def test_a_table_of_ratings(folder, capsys):
    table(
        folder,
        "\ufefffile,system,text,mos,noise,noise std,who\r\n"
        "audio/a.wav,NA,015,50,4,0.5,p1\r\n"
        "./audio/a.wav,NA,015,100,2,0.5,p2\r\n"
        "audio/b.wav,x:1 %,tab\there,0,NaN,,p1\r\n"
        "\r\n"
        ",NA,016,70,3,,p1\r\n"
        "audio/c.wav,null,été,,n/a,,p2\r\n"
        'audio/d.wav,null,"été ",25,5,1,p3\r\n',
    )
    metrics = ("--metric", "mos_overall=mos", "--metric", "mos_background=noise")
    more = ("--scale", "mos_overall=0-100:1-5", "--std", "mos_background=noise std", "--listeners", "who")
    utterances, report = prepared(folder, *COLUMNS, *metrics, *more)
    err = capsys.readouterr().err
    a, b, d = (str(folder / "audio" / f"{name}.wav") for name in "abd")
    assert utterances == [
        Utterance("NA:015", a, 0.5, "NA", "015", {"mos_overall": 4, "mos_background": 3}, {
            "mos_overall": [["p1", 3], ["p2", 5]], "mos_background": [["p1", 4], ["p2", 2]], "mos_background_std": 0.5,
        }),
        Utterance("null:été", d, 0.65, "null", "été", {"mos_overall": 2, "mos_background": 5}, {
            "mos_overall": [["p3", 2]], "mos_background": [["p3", 5]], "mos_background_std": 1,
        }),
        Utterance("x%3A1%20%25:tab%09here", b, 0.55, "x:1 %", "tab\there", {"mos_overall": 1}, {
            "mos_overall": [["p1", 1]],
        }),
    ]  # fmt: skip
    assert report["rows"] == {"read": 6, "kept": 4, "dropped": {"no audio": 1, "no rating": 1}}
    assert report["labels"] == {"mos_overall": 3, "mos_background": 2}
    assert report["ratings"] == {"mos_overall": 4, "mos_background": 3}
    assert report["blank_ratings"] == {"mos_background": 2, "mos_overall": 1}
    assert report["mapping"]["ratings"] == {"mos_overall": "mos", "mos_background": "noise"}
    for words in ("3 utterances", "6 read, 4 kept", "no audio: 1", "mos_overall 3, mos_background 2"):
        assert words in err


@pytest.mark.parametrize(
    "cell", ["1 2 3 6", '"1,2,3,6"', "1;2;3;6", '"[1, 2, 3.0, 6]"', "'1' '2' '3' '6'", '"(1,2, nan ,3,6,)"']
)
def test_several_ratings_in_a_cell(folder, cell):
    table(folder, f"file,mos\naudio/a.wav,{cell}\n")
    (utterance,), report = prepared(folder, "--audio", "file", "--metric", "mos_overall=mos", "--scale", "0-6:1-4")
    assert utterance.uid == "audio/a.wav" and utterance.system_id is None and utterance.reference_id is None
    assert utterance.metrics == {"mos_overall": 2.5} and report["ratings"] == {"mos_overall": 4}
    assert utterance.meta == {"mos_overall": [["", 1.5], ["", 2], ["", 2.5], ["", 4]]}


@pytest.mark.parametrize("cell", ['"1,5"', '"-2,0"', '"1,5;2,0"', '"1,5 2,5"', '"[1,5 2,5]"'])
def test_decimal_commas_are_refused(folder, capsys, cell):
    """ "1,5" was read as two ratings, 1 and 5."""
    table(folder, f"file,mos\naudio/a.wav,3\naudio/b.wav,{cell}\n")
    err = refused(capsys, folder, "--audio", "file", "--metric", "mos_overall=mos")
    assert "ratings.csv:3: mos_overall" in err and "write " in err and "ratings.csv:2" not in err


def test_two_ratings_with_a_comma_stand_in_brackets(folder):
    table(folder, 'file,mos\naudio/a.wav,"[1,5]"\n')
    (utterance,), _ = prepared(folder, "--audio", "file", "--metric", "mos_overall=mos")
    assert utterance.metrics == {"mos_overall": 3}


def test_long_form_with_tabs(folder):
    rows = ["file\tsystem\tdim\tval", "audio/a.wav\ts\tovrl\t3", "audio/a.wav\ts\tovrl\t4", "audio/a.wav\ts\tsig\t2"]
    table(folder, "\n".join([*rows, "audio/b.wav\ts\tbak\t1", "audio/b.wav\ts\tovrl\t5", "audio/b.wav\ts\t\t5"]))
    long = ("--audio", "file", "--system", "system", "--metric-column", "dim", "--score-column", "val")
    utterances, report = prepared(folder, *long, "--metric", "mos_overall=ovrl", "--metric", "mos_signal=sig")
    assert [utterance.metrics for utterance in utterances] == [
        {"mos_overall": 3.5, "mos_signal": 2},
        {"mos_overall": 5},
    ]
    assert [utterance.uid for utterance in utterances] == ["s:audio/a.wav", "s:audio/b.wav"]
    assert report["rows"] == {"read": 6, "kept": 4, "dropped": {"metric bak": 1, "no metric": 1}}
    assert report["mapping"]["delimiter"] == "\t"
    utterances, report = prepared(folder, *long)
    assert utterances[1].metrics == {"bak": 1, "ovrl": 5} and report["not_in_catalogue"] == ["bak", "ovrl", "sig"]


def test_audio_below_the_output_is_relative(folder):
    table(folder, "file,mos\na.wav,3\nb.wav,4\n")
    output = folder / "audio"
    (folder / "link.wav").symlink_to(output / "d.wav")
    (output / "b.wav").rename(folder / "b.wav")
    (output / "b.wav").symlink_to(folder / "b.wav")
    source = ("--source", str(folder / "ratings.csv"), "--output", str(output), "--audio-root", str(output))
    assert main(["prepare", "custom", *source, "--audio", "file", "--metric", "mos_overall=mos"]) == 0
    lines = [json.loads(line) for line in (output / "data.jsonl").read_text().splitlines()]
    assert [line["audio_path"] for line in lines] == ["a.wav", str(folder / "b.wav")]
    assert len(read_utterances(output / "data.jsonl")[0]) == 2


def test_bad_recordings(folder, capsys):
    (folder / "audio" / "c.wav").write_text("<html>404</html>")
    table(folder, "file,mos\naudio/a.wav,3\naudio/gone.wav,3\naudio/c.wav,2\naudio/c.wav,4\naudio/b.wav,x\n")
    flags = ("--audio", "file", "--metric", "mos_overall=mos")
    err = refused(capsys, folder, *flags, "--skip-bad")
    assert "ratings.csv:6: mos_overall 'x' is not a number" in err
    err = refused(capsys, folder, *flags)
    for words in (
        "3 faults",
        "ratings.csv:3: ",
        "gone.wav",
        "ratings.csv:4: ",
        "c.wav",
        "ratings.csv:6: ",
        "--skip-bad",
    ):
        assert words in err
    table(folder, "file,mos\naudio/a.wav,3\naudio/gone.wav,3\naudio/c.wav,2\naudio/c.wav,4\n")
    err = refused(capsys, folder, *flags, "--skip-bad")
    assert "2 of 3 recordings are bad, more than 1 %" in err and "gone.wav" in err
    utterances, report = prepared(folder, *flags, "--skip-bad", "0.7")
    assert len(utterances) == 1 and report["rows"] == {"read": 4, "kept": 1, "dropped": {"bad audio": 3}}
    assert [(bad["line"], bad["audio"]) for bad in report["bad_audio"]] == [(3, "audio/gone.wav"), (4, "audio/c.wav")]
    assert "left out, line 3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "flags", "words"),
    [
        ("", (), "no column 'file'"),
        ("file,system,text,mos\n", (), "no rows to keep"),
        ("file,system,text,mos\n,s,t,3\n", (), "no audio: 1"),
        ("file,system,text,mos\naudio/a.wav,s,t,\n", (), "no rating: 1"),
        ("path,system,text,mos\n", (), "no column 'file'; the columns are ['path', 'system', 'text', 'mos']"),
        ("file,file,system,text,mos\n", (), "column 'file' more than once"),
        ("file,system,text,mos\naudio/a.wav,s,t,3,4\n", (), "csv:2: has 5 cells, the header has 4"),
        ('file,system,text,mos\naudio/a.wav,s,t,"3\n', (), "broken CSV"),
        ("file,system,text,mos\naudio/a.wav,s,t,inf\n", (), "csv:2: mos_overall 'inf' is not a number"),
        ("file;system;text;mos\naudio/a.wav;s;t;3,5\n", (), "write 3.5 or [3,5]"),
        ("file,system,text,mos\naudio/a.wav,,t,3\n", (), "csv:2: no system"),
        ("file,system,text,mos\naudio/a.wav,s,t,3\naudio/a.wav,s,u,3\n", (), "other ids on line 2"),
        ("file,system,text,mos\naudio/a.wav,s,t,3\naudio/b.wav,s,t,3\n", (), "csv:3: 'audio/b.wav' has the id 's:t'"),
        ("file,system,text,mos\naudio/a.wav,s,t,80\n", (), "is outside 1 to 5; give a scale"),
        ("file,system,text,mos\naudio/a.wav,s,t,101\n", ("--scale", "0-100:1-5"), "101 is outside its scale, 0 to 100"),
        ("file,system,text,mos\naudio/a.wav,s,t,3 4\n", ("--listeners", "text"), "2 ratings but 1 text"),
        ("file,system,text,mos\naudio/a.wav,s,t,3\n", ("--std", "text"), "'t' is not a standard deviation"),
        ("file,system,text,mos\naudio/a\0.wav,s,t,3\n", (), "NUL"),
        ("file,system,text,mos\n", ("--scale", "5-1:1-5"), "not a scale"),
        ("file,system,text,mos\n", ("--scale", "utmos=0-100:1-5"), "['utmos']"),
        ("file,system,text,mos\n", ("--metric", "mos"), "--metric 'mos': give METRIC=COLUMN"),
        ("file,system,text,mos\n", ("--metric", "mos_overall=x"), "given twice"),
        ("file,system,text,mos\n", ("--metric-column", "text"), "column of scores"),
        ("file,system,text,mos\n", ("--delimiter", "ab"), "--delimiter 'ab'"),
    ],
)
def test_what_is_refused(folder, capsys, text, flags, words):
    table(folder, text)
    assert words in refused(capsys, folder, *COLUMNS, "--metric", "mos_overall=mos", *flags)


def test_tables_that_cannot_be_read(folder, capsys):
    assert "cannot be read" in refused(capsys, folder, *COLUMNS, "--metric", "mos_overall=mos")
    (folder / "ratings.csv").write_bytes(b"file,mos\naudio/a.wav,\xff\n")
    assert "ratings.csv:2: is not UTF-8" in refused(capsys, folder, "--audio", "file", "--metric", "mos_overall=mos")
    assert "no column of ratings" in refused(capsys, folder, "--audio", "file")


def test_escaping_is_reversible():
    odd = "a b:c%20\t\u2028\u00a0é\x00/日"
    assert unquote(escape_id(odd)) == odd and escape_id("é/日-1.5") == "é/日-1.5"
    assert all(c.isprintable() and c not in " :" for c in escape_id(odd))


def test_scales():
    assert [Scale.parse("0-100:1-5")(x) for x in (0, 25, 100)] == [1, 2, 5]
    assert [Scale.parse("-3-3: 1-5")(x) for x in (-3, 0, 3)] == [1, 3, 5]
    assert Scale.parse("1-5:5-1")(2) == 4
    for text in ("", "0-100", "1-1:1-5", "0-100:2-2", "a-b:1-5"):
        with pytest.raises(ValueError, match="not a scale"):
            Scale.parse(text)


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no recordings with ratings at {SHARED}")
def test_published_listening_tests(tmp_path):
    flags = (
        "prepare",
        "custom",
        "--output",
        str(tmp_path / "p835"),
        "--source",
        str(SHARED / "p835-wb" / "ratings.csv"),
    )
    metrics = ("mos_overall=mos_ovrl", "mos_signal=mos_sig", "mos_background=mos_bak")
    columns = ("--audio", "file", "--system", "condition", "--reference", "talker")
    assert main([*flags, *columns, *(text for metric in metrics for text in ("--metric", metric))]) == 0
    utterances, report = read_utterances(tmp_path / "p835" / "data.jsonl")
    assert report.labels == {"mos_overall": 78, "mos_signal": 78, "mos_background": 78} and not report.clipped
    assert len({utterance.system_id for utterance in utterances}) == 13
    assert utterances[0].uid == "c0:f1" and utterances[0].reference_id == "f1"
    assert utterances[0].metrics == {"mos_overall": 4.6154, "mos_signal": 4.9231, "mos_background": 4.5385}

    source = SHARED / "codec-mushra" / "ratings.csv"
    flags = ("prepare", "custom", "--output", str(tmp_path / "mushra"), "--source", str(source))
    columns = ("--audio", "file", "--system", "condition", "--reference", "signal", "--listeners", "listeners")
    assert main([*flags, *columns, "--metric", "mos_overall=ratings_0_to_100", "--scale", "0-100:1-5"]) == 0
    utterances = {utterance.uid: utterance for utterance in read_utterances(tmp_path / "mushra" / "data.jsonl")[0]}
    counts = json.loads((tmp_path / "mushra" / "report.json").read_text())
    assert counts["rows"] == {"read": 99, "kept": 88, "dropped": {"no audio": 11}} and len(utterances) == 88
    # 41 32 32 90 46 100 36 36 51 75 72: 611 in 11 ratings.
    label = utterances["Proposed%201.38:VCTK_p229_293"]
    assert label.metrics == {"mos_overall": round(1 + 4 * 611 / 1100, 4)} and label.system_id == "Proposed 1.38"
    assert label.meta["mos_overall"][:2] == [["2", 2.64], ["3", 2.28]] and len(label.meta["mos_overall"]) == 11
