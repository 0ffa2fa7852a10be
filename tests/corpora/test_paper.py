"""The paper's numbers of the corpora, and what was prepared beside them."""

from pathlib import Path

import pytest

from tests.helpers.corpus_trees import build_pstn
from tests.helpers.preparing import prepared
from urgentmos_jax.corpora.paper import MAX_PAIRS, SETS, TRAINING, about_corpus, beside_pairs, beside_split
from urgentmos_jax.corpora.registry import NAMES, corpus_of


def test_names_are_those_of_corpora_and_splits():
    assert TRAINING.keys() <= set(NAMES) and all(about_corpus(name) for name in NAMES)
    assert all(split in corpus_of(name).splits for name, split in (folders.split("/") for folders in SETS))
    assert all((size.kind == "pairs") == corpus_of(name).pairs for name, size in TRAINING.items())
    counts = {one.name: one.pairs for one in SETS.values() if one.pairs}
    assert counts == {
        "P501": 14160, "FOR": 6496, "SOMOS": 7250, "TMHINT-QI": 16708, "CHiME-7": 2560,
        "URGENT24": 100_000, "URGENT25": 100_000,
    }  # fmt: skip


def test_a_split_beside_the_paper():
    report = {"corpus": "somos", "split": "train", "utterances": 14099, "hours": 18.30, "systems": 181}
    assert beside_split(report) == (
        "in the paper (Table 2) train is 14,100 utterances, 18.32 h, 181 systems; "
        "here it is 14,099 (-1), 18.30 h (-0.02), 181, as many systems"
    )
    pairs = {"corpus": "speechjudge", "split": "train", "pairs": 41755, "hours": 0, "systems": 0}
    assert beside_split(pairs) == "in the paper (Table 2) train is 41,755 pairs, 328.50 h; here it is 41,755, as many"
    assert beside_split({"corpus": "bc19", "split": "test"}) == "in the tables of the paper this is BC19"
    assert "FOR; of 6,496 pairs" in beside_split({"corpus": "nisqa", "split": "FOR"})
    assert beside_split({"corpus": "somos", "split": "dev"}) == beside_split({"utterances": 3}) == ""


def test_pairs_beside_the_paper():
    assert "here there are 2,560, as many" in beside_pairs("chime-7-udase-eval/test", 1280, both_orders=False)
    assert "here there are 100,000, as many" in beside_pairs("urgent2024-sqa/test", 10 * MAX_PAIRS, both_orders=True)
    assert "here there are 1,280 (-1,280)" in beside_pairs("chime-7-udase-eval/test", 1280, both_orders=True)
    assert beside_pairs("bvcc/test", 100, both_orders=True) == beside_pairs("mine/dev", 100, both_orders=True) == ""


def test_prepare_says_at_the_end_how_a_split_differs(tmp_path: Path, capsys):
    root = tmp_path / "raw"
    root.mkdir()
    build_pstn(root)
    ((records, report),) = prepared("pstn", root).values()
    assert report["hours"] == pytest.approx(sum(one.duration for one in records) / 3600, abs=1e-4)
    text = f"(Table 2) train is 58,709 utterances, 163.08 h; here it is {len(records)} ({len(records) - 58709:,})"
    assert text in capsys.readouterr().err.splitlines()[-1]
