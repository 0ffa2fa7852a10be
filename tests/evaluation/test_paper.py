"""The paper's tables: their numbers, and an evaluation beside them."""

import re
from pathlib import Path

import pytest

from tests.helpers.evaluations import evaluate_records, pairs_of, predicted_scores, utterances
from urgentmos_jax.corpora.paper import SETS
from urgentmos_jax.evaluation.datasets import Dataset
from urgentmos_jax.evaluation.paper import beside_paper, paper_section, paper_values, row_as_text, sets_of
from urgentmos_jax.metrics import CATALOGUE

ROWS = (
    *("DNSMOS", "UTMOS", "SCOREQ", "Distill-MOS", "NISQA-MOS", "SpeechEval", "SpeechJudge", "Random"),
    *("F1C1M1-ref", "F1C1M5-ref", "F1C1M5-corpus", "F1C1M5-any", "F4C1M5-ref", "F1C1M15-ref", "F1C5M15-ref"),
)
# Copied by hand.
CELLS = {
    ("DNSMOS", "SOMOS", "acc_0.5"): 0.49,
    ("UTMOS", "P501", "acc_0"): 0.85,
    ("SCOREQ", "CHiME-7", "acc_0.5"): 0.60,
    ("Distill-MOS", "FOR", "acc_0"): 0.82,
    ("NISQA-MOS", "SpeechJudge", "acc_0.5"): 0.18,
    ("SpeechEval", "TMHINT-QI", "acc_0"): 0.84,
    ("SpeechJudge", "SpeechEval", "acc_0.5"): 0.48,
    ("Random", "SpeechJudge", "acc_0"): 0.52,
    ("F1C1M1-ref", "CHiME-7", "acc_0"): 0.69,
    ("F1C1M5-ref", "SpeechEval", "acc_0.5"): 0.81,
    ("F1C1M5-ref", "SpeechEval", "acc_0"): 0.89,
    ("F1C1M5-corpus", "SpeechJudge", "acc_0"): 0.63,
    ("F1C1M5-any", "CHiME-7", "acc_0.5"): 0.66,
    ("F4C1M5-ref", "URGENT25", "acc_0"): 0.74,
    ("F1C1M15-ref", "SOMOS", "acc_0"): 0.69,
    ("F1C5M15-ref", "URGENT24", "acc_0.5"): 0.59,
    ("UTMOS", "BVCC", "lcc"): 0.88,
    ("NISQA-MOS", "BC19", "srcc"): 0.33,
    ("F1C1M5-ref", "SOMOS", "lcc"): 0.68,
    ("F1C1M5-ref", "BC19", "srcc"): 0.84,
    ("F1C1M5-any", "LIVETALK", "lcc"): 0.83,
    ("F4C1M5-ref", "TMHINT-QI", "srcc"): 0.78,
    ("F1C5M15-ref", "URGENT25", "lcc"): 0.76,
    ("F1C1M5-ref:WavLM", "SOMOS", "lcc"): 0.64,
    ("F1C1M5-ref:one-order", "SpeechEval", "acc_0"): 0.85,
}
PAPER = Path(__file__).parents[3] / "shared" / "paper.md"


def test_numbers_of_the_tables():
    found = {(one.row, one.set, one.statistic): one.value for one in paper_values() if one.metric == "mos_overall"}
    assert {key: found.get(key) for key in CELLS} == CELLS
    assert len({(one.row, one.set, one.metric, one.statistic) for one in paper_values()}) == len(paper_values()) == 673
    main = [one for one in paper_values() if one.table == "4/9"]
    assert tuple(dict.fromkeys(one.row for one in main)) == ROWS and len(main) == 15 * 9 * 2
    # The two models of pairs and the random one have no scores.
    scored = [one for one in paper_values() if one.table == "5/10"]
    assert {one.row for one in scored} == {*ROWS} - {"SpeechEval", "SpeechJudge", "Random"} and len(scored) == 240
    assert {one.set for one in paper_values() if one.set} == {one.name for one in SETS.values()}
    assert {one.metric for one in paper_values() if one.metric} <= CATALOGUE.keys()
    other = {(one.set, one.metric, one.statistic): one.value for one in paper_values() if one.table == "12"}
    assert other["URGENT24", "mcd", "srcc"] == 0.66 and other["URGENT25", "spksim", "lcc"] == 0.76
    speed = {(one.row, one.statistic): one.value for one in paper_values() if not one.set}
    assert speed["F1C1M5-ref", "iterations_per_second"] == 2.16 and speed["SpeechJudge", "real_time_factor"] == 0.037


@pytest.mark.skipif(not PAPER.is_file(), reason="needs ../shared/paper.md")
def test_numbers_equal_the_paper():
    text = PAPER.read_text()
    short = {"LIVE": "LIVETALK", "TMHINT": "TMHINT-QI", "U24": "URGENT24", "U25": "URGENT25", "CHiME": "CHiME-7"}
    for title, table, statistics, before in (
        ("## Tables 4 and 9", "4/9", ("acc_0.5", "acc_0"), ""),
        ("## Tables 5 and 10", "5/10", ("lcc", "srcc"), ""),
        ("Table 11, ", "11", ("lcc", "srcc"), "F1C1M5-ref:"),
    ):
        lines = re.search(re.escape(title) + r"[^\n]*\n((?:\|[^\n]*\n)+)", text)[1].splitlines()
        (_, *sets), _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
        wanted = {
            (before + row, short.get(name, name), statistic): float(number)
            for row, *cells in rows
            for name, cell in zip(sets, cells, strict=True)
            for statistic, number in zip(statistics, cell.split("/"), strict=True)
        }
        assert wanted == {(one.row, one.set, one.statistic): one.value for one in paper_values() if one.table == table}


def test_an_evaluation_beside_the_paper():
    corpora = {
        "somos/test": utterances(20, "a"),
        "nisqa/P501": utterances(25, "b"),
        "nisqa/FOR": utterances(15, "c"),
        "bc19/test": utterances(12, "d"),
        "tmhint-qi/test (pairs)": pairs_of(utterances(21, "e")),
        "mine/dev": utterances(10, "f"),
        "speecheval/test": utterances(11, "g"),
    }
    sizes = {"a": 20, "b": 25, "c": 15, "d": 12, "e": 21, "f": 10, "g": 11}
    every = [one for name, count in sizes.items() for one in utterances(count, name)]
    found = evaluate_records(corpora, predicted_scores(every, 0.8))
    sets = sets_of([Dataset(name, name.endswith(")"), one) for name, one in corpora.items()])
    assert list(sets.values()) == ["SOMOS", "P501", "FOR", "BC19", "TMHINT-QI", "SpeechEval"]
    compared = beside_paper(found, "F1C1M5-ref", sets)
    assert [(one.dataset, one.paper.statistic, one.paper.value) for one in compared[:2]] == [
        ("somos/test", "lcc", 0.68),
        ("somos/test", "srcc", 0.67),
    ]
    assert [(one.dataset, one.paper.statistic) for one in compared[8:]] == [
        ("tmhint-qi/test (pairs)", "acc_0.5"),
        ("tmhint-qi/test (pairs)", "acc_0"),
    ]
    ours = found.results[0].intervals["lcc"].value
    assert compared[0].value == ours and compared[0].difference == pytest.approx(ours - 0.68)
    section = paper_section(compared, "F1C1M5-ref", sets, found)
    assert section.rows[0] == ["SOMOS", "LCC", "0.68", f"{ours:.3f}", f"{ours - 0.68:+.3f}"]
    assert len(section.rows) == 10 and "differ by .02 to .06" in section.notes[0]
    assert section.notes[1:] == [
        "mine/dev: not a set of the paper by its folders.",
        "speecheval/test: the row has no number of SpeechEval for this.",
    ]
    # Named, any data are that set.
    mine = [Dataset("mine/dev", False, corpora["mine/dev"])]
    assert sets_of(mine, "BVCC") == {"mine/dev": "BVCC"}
    with pytest.raises(ValueError, match=r"mine/dev: no set of the paper .*--set, one of SOMOS, TMHINT-QI"):
        sets_of(mine)
    with pytest.raises(ValueError, match="no set 'SOMO', it has SOMOS, TMHINT-QI"):
        sets_of(mine, "SOMO")


def test_a_row_alone():
    text = row_as_text("F1C1M5-ref")
    lines = [line.split() for line in text.splitlines()]
    assert ["SpeechEval", "mos_overall", "4/9", "0.81", "0.89"] in lines
    assert ["CHiME-7", "mos_overall", "5/10", "0.76", "0.75"] in lines
    assert "iterations_per_second: 2.16 (table 6)" in text and "differ by .02 to .06" in text
    with pytest.raises(ValueError, match=r"no row 'F1C3M15', it has DNSMOS, .*F1C5M15-ref"):
        row_as_text("F1C3M15")
