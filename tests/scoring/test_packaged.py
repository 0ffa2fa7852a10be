"""urgentmos-small, the model in the package."""

import json

import pytest

from configs.urgentmos_small import RANGES
from launch.demo.packaged import CLIPS
from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ
from urgentmos_jax.cli import main
from urgentmos_jax.metrics import CATALOGUE
from urgentmos_jax.model.cost import clip_flops
from urgentmos_jax.scoring.loading import load_model
from urgentmos_jax.weights.cache import PACKAGED, find_model
from urgentmos_jax.weights.model_folder import read_folder_config

FOLDER = find_model("urgentmos-small")


def test_it_is_small():
    config, _ = read_folder_config(FOLDER)
    assert sum(path.stat().st_size for path in FOLDER.rglob("*")) <= 20e6
    assert clip_flops(config, 5 * SAMPLE_RATE_HZ) / 5 <= 1e9


def test_it_says_where_it_comes_from():
    config, content = read_folder_config(FOLDER)
    origin = content["origin"]
    assert origin["hours"] > 3 and origin["licence"] == "MIT" and len(origin["speech"]) > 10
    assert not [word for word in ("/tmp", "/work", "/home") if word in json.dumps(content)]
    assert set(config.metrics) <= CATALOGUE.keys()
    ranges = {name: (metric.minimum, metric.maximum) for name, metric in config.metrics.items()}
    assert ranges == RANGES | {"mos_overall": (1.0, 5.0)}
    assert config.comparative_metrics == ("distill_mos",)


def test_a_revision_of_it_is_not_looked_for(capsys: pytest.CaptureFixture):
    assert PACKAGED == ("urgentmos-small",)
    assert main(["info", "urgentmos-small"]) == 0
    assert "distill_mos" in capsys.readouterr().out


@pytest.mark.slow
def test_it_hears_noise(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    clean, noisy, other = (str(path) for path in CLIPS)
    model = load_model("urgentmos-small")
    scores = [row["scores"] for row in model.score([clean, noisy, other])]
    for name in ("distill_mos", "dnsmos_ovrl", "dnsmos_bak", "pesq", "estoi", "mos_overall"):
        assert scores[1][name] < min(scores[0][name], scores[2][name]), name
    (row,) = model.compare([(clean, noisy)])
    assert row["comparison"]["distill_mos"]["p_a"] > 0.5
    assert main(["score", clean, "--model", "urgentmos-small"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["scores"] == pytest.approx(scores[0], abs=1e-4)
