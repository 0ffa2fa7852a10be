"""`urgentmos card`, and what `info` and `fetch` say of where a model comes from."""

import json
import shutil
from pathlib import Path

import huggingface_hub
import pytest

from urgentmos_jax.cli import main
from urgentmos_jax.training.data_record import licences
from urgentmos_jax.weights.model_card import licence_id

INTERVAL = {"value": 0.8126, "low": 0.75, "high": 0.86, "spread": 0.03}
NOT_DEFINED = {"value": None, "low": None, "high": None, "spread": None}


def result(predictor: str = "copy", **more: object) -> dict[str, object]:
    figures = {"mse": {**INTERVAL, "value": 0.31}, "srcc": INTERVAL, "ktau": NOT_DEFINED}
    levels = {"utterance": {"n": 1200, "resampled": 300, "figures": figures}}
    named = {"corpus": "somos/test", "metric": "mos_overall", "predictor": predictor, "kind": "utterances"}
    return {**named, "n": 1200, "missing": 0, "references": 0, "systems": 0, "levels": levels, "warnings": [], **more}


def evaluation(path: Path, *results: dict[str, object]) -> Path:
    models = list(dict.fromkeys(one["predictor"] for one in results))
    found = {"predictors": models, "draws": 1000, "seed": 0, "confidence": 0.95, "results": list(results)}
    path.write_text(json.dumps(found))
    return path


@pytest.fixture
def trained(model_folder: Path, tmp_path: Path) -> Path:
    """The folder as of a training run, whose data have licences."""
    folder = shutil.copytree(model_folder, tmp_path / "copy")
    content = json.loads((folder / "config.json").read_text())
    content["origin"] = {
        "kind": "training run",
        "update": 3000,
        "licence": "CC BY-NC-SA 4.0",
        "data": ["somos/train", "mine/train"],
        "licences": {"somos/train": "CC BY-NC-SA 4.0"},
        "evaluation": {"mos_overall": {"n": 1234, "srcc": 0.8126, "lcc": 0.8, "mse": 0.25}, "utmos": None},
    }
    (folder / "config.json").write_text(json.dumps(content))
    return folder


def test_card_of_a_training_run_with_an_evaluation(trained: Path, tmp_path: Path):
    pairs = {"pair": {"n": 90, "resampled": 90, "figures": {"acc_0.5": INTERVAL}}}
    found = evaluation(tmp_path / "e.json", result(), result("other"), result(kind="pairs", levels=pairs))
    output = trained / "README.md"
    assert main(["card", str(trained), "--evaluation", str(found), "--output", str(output)]) == 0
    text = output.read_text()

    data = huggingface_hub.ModelCard(text).data
    assert (data.license, data.library_name) == ("cc-by-nc-sa-4.0", "urgentmos_jax")
    assert data.pipeline_tag == "audio-classification"
    assert data.datasets == ["somos", "mine"] and data.metrics == ["spearmanr", "mse"] and "mos" in data.tags
    assert data.model_name == "copy"
    assert {(one.dataset_name, one.metric_type, one.metric_value) for one in data.eval_results} == {
        ("somos/test", "spearmanr", 0.8126),
        ("somos/test", "mse", 0.31),
    }

    lines = text.splitlines()
    assert "| mos_overall | 1 | 5 | higher | mean opinion of listeners | listeners |" in lines
    assert "| utmos | 1 | 5 | higher | UTMOS22 strong | a predictor |" in lines
    told = "MSE 0.310 [0.750, 0.860], SRCC 0.813 [0.750, 0.860]"
    assert f"| somos/test | mos_overall | utterances | 1,200 | {told} |" in lines
    assert "| somos/test | mos_overall | pairs | 90 | acc_0.5 0.813 [0.750, 0.860] |" in lines
    assert "1,000 resamples, seed 0" in text and "n/a" not in text
    assert "- training data: somos/train (CC BY-NC-SA 4.0); mine/train" in lines
    assert f'model = urgentmos_jax.load_model("{trained}")' in lines
    code = text.partition("```python\n")[2].partition("```")[0]
    compile(code, "card", "exec")


def test_card_of_what_is_not_known(model_folder: Path, capsys):
    assert main(["card", str(model_folder)]) == 0
    text = capsys.readouterr().out
    data = huggingface_hub.ModelCard(text).data
    assert data.license is None and data.datasets is None and data.eval_results is None
    assert "Not evaluated here" in text and "## Licence\n\nNot stated." in text and "authors' checkpoint" in text


def test_files_that_are_no_evaluation_of_the_model(trained: Path, tmp_path: Path, capsys):
    several = evaluation(tmp_path / "several.json", result("a"), result("b"))
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "other.json").write_text("[1]")
    for name, said in {
        "several.json": f"several.json: evaluates a, b; give an evaluation of {trained} alone",
        "broken.json": "broken.json: cannot be read",
        "other.json": "other.json: not what `urgentmos evaluate --json` writes",
        "none.json": "none.json: cannot be read",
    }.items():
        assert main(["card", str(trained), "--evaluation", str(tmp_path / name)]) == 2
        assert said in capsys.readouterr().err
    assert several.exists()
    assert main(["card", str(tmp_path / "none")]) == 2 and "no such folder" in capsys.readouterr().err


def test_info_tells_licence_data_and_agreement(trained: Path, capsys):
    assert main(["info", str(trained)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "origin       kind training run, update 3,000" in lines
    assert "licence      CC BY-NC-SA 4.0" in lines
    assert "training data somos/train (CC BY-NC-SA 4.0); mine/train" in lines
    assert "agreement    mos_overall: LCC 0.800, SRCC 0.813, MSE 0.250, 1,234 clips" in lines


def test_licences_of_prepared_corpora(tmp_path: Path):
    for name, content in {"a/train": '{"licence": "MIT"}', "b/train": '{"licence": "unknown"}', "c/train": "["}.items():
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "report.json").write_text(content)
    assert licences(tmp_path, ["a/train", "b/train", "c/train", "d/train"]) == {"a/train": "MIT"}
    assert licence_id("Apache 2.0") == "apache-2.0" and licence_id("CC BY-NC-SA 4.0") == "cc-by-nc-sa-4.0"
