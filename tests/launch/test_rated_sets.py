"""Training on real listeners' ratings: the two sets that the project is developed with, where they are."""

import json

import numpy as np
import pytest

from configs.compact import get_config
from tests.helpers.rated_sets import COLUMNS, DATA
from urgentmos_jax.cli import main
from urgentmos_jax.manifests.reading import read_utterances
from urgentmos_jax.manifests.writing import write_utterances
from urgentmos_jax.training.trainer import Trainer

HELD_OUT = 2  # Talkers, or signals.


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.skipif(not DATA.is_dir(), reason="the rated sets are there in development and CI only")
def test_compact_model_learns_from_the_rated_sets(tmp_path, capsys):
    for name, columns in COLUMNS.items():
        source = DATA / name / "ratings.csv"
        whole = tmp_path / "whole" / name
        assert (
            main(["prepare", "custom", "--source", str(source), "--output", str(whole), "--audio", "file", *columns])
            == 0
        )
        clips, _ = read_utterances(whole / "data.jsonl")
        held = sorted({clip.reference_id for clip in clips})[::3][:HELD_OUT]
        for split, chosen in (("train", False), ("dev", True)):
            (tmp_path / name / split).mkdir(parents=True)
            part = [clip for clip in clips if (clip.reference_id in held) == chosen]
            write_utterances(tmp_path / name / split / "data.jsonl", part)
    config = get_config()
    config.data.update(root=str(tmp_path), train=("p835-wb/train", "codec-mushra/train"))
    config.data.update(valid=("p835-wb/dev", "codec-mushra/dev"))
    results = Trainer(config, tmp_path / "run").run()
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["kind"] == "train"]
    assert len(losses) == 400 and np.mean(losses[-50:]) < 0.7 * np.mean(losses[:50])
    with capsys.disabled():
        for name, values in results.items():
            print(f"\n{name}, held out: SRCC {values['mos_overall']['srcc']:.3f} of {values['mos_overall']['n']} clips")
