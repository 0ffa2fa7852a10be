"""`launch.enhance`: what it writes of a training by the score, with a tiny model and a few updates."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from absl import app
from flax import nnx

from launch import enhance
from tests.helpers.corpus import speech_like
from tests.helpers.models import on_one_device, random_module
from urgentmos_jax.weights.model_folder import save_folder


@pytest.fixture
def begin(tmp_path, monkeypatch):
    """Runs it with flags on ten recordings, two of half a second in a batch."""
    model = on_one_device(random_module("compact"))
    save_folder(tmp_path / "model", nnx.merge(model.engine.graph, model.params), {})
    (tmp_path / "clean").mkdir()
    for seed in range(10):
        soundfile.write(tmp_path / "clean" / f"{seed}.wav", speech_like(seed, 12000), 16000)
    monkeypatch.setattr(enhance, "SAMPLES", 8000)
    monkeypatch.setattr(enhance, "BATCH", 2)
    monkeypatch.setattr(enhance, "LOOKS", 2)
    monkeypatch.setattr(enhance, "METRICS", ("si_sdr", "lsd"))
    monkeypatch.delitem(enhance.KINDS, "score")

    def run(**changed):
        values = {"model": tmp_path / "model", "clean": tmp_path / "clean", "metric": "", "updates": 4, "seed": 0}
        for name, value in (values | {"history": tmp_path / "history.json"} | changed).items():
            monkeypatch.setattr(enhance, f"_{name.upper()}", SimpleNamespace(value=value and str(value)))
        for name in ("updates", "seed"):
            getattr(enhance, f"_{name.upper()}").value = (values | changed)[name]
        enhance.main([])
        return json.loads((tmp_path / "history.json").read_text())

    return run


@pytest.mark.slow
def test_the_history_of_trainings(begin, capsys):
    found = begin()
    metric = found["metric"]
    assert (metric, found["recordings"], found["seed"]) == ("mos_overall", 10, 0)
    assert found["clean"]["true si_sdr"] == 50 and found["noisy"]["true si_sdr"] < 15
    rows = found["history"]
    assert [(row["loss"], row["update"]) for row in rows] == [(k, n) for k in enhance.KINDS for n in (0, 2, 4)]
    for row in rows:
        assert all(np.isfinite(row[name]) for name in (metric, "true si_sdr", "true lsd"))
        assert row["training"].keys() == ({"loss", "distance", "score"} if row["update"] else set())
    # One start; the loss is the weighted sum of both terms, and each network goes its own way.
    assert len({row[metric] for row in rows if row["update"] == 0}) == 1
    assert len({row[metric] for row in rows if row["update"] == 4}) == 2
    low, high = 1, 5
    for row in rows:
        if seen := row["training"]:
            distance, score = enhance.KINDS[row["loss"]]
            loss = distance * seen["distance"] - score * seen["score"] / (high - low)
            assert seen["loss"] == pytest.approx(loss, abs=1e-4)
    printed = capsys.readouterr().out
    for name in ("clean", "noisy", *(f"trained by {kind}" for kind in enhance.KINDS)):
        assert f"| {name} |" in printed


def test_what_is_refused(begin, tmp_path):
    with pytest.raises(app.UsageError, match="--metric loudness: must be one of mos_overall, "):
        begin(metric="loudness")
    for path in list((tmp_path / "clean").iterdir())[1:]:
        path.unlink()
    with pytest.raises(app.UsageError, match="1 recordings, at least 10 are needed"):
        begin()
    assert not (tmp_path / "history.json").exists()
