"""`urgentmos evaluate` and what is behind it: joining, tables, averages, differences, errors."""

import csv
import json
import warnings
from itertools import pairwise
from pathlib import Path

import jax
import numpy as np
import pytest
from scipy import stats

from launch.benchmark.evaluate import measure
from launch.benchmark.settings import Settings
from tests.helpers.corpus import write_corpus
from urgentmos_jax.cli import main
from urgentmos_jax.evaluation.evaluating import EvaluationError, MissingPredictions, evaluate
from urgentmos_jax.evaluation.predicting import join, read_corpora
from urgentmos_jax.evaluation.predictions import Predictions, PredictionsError, read_predictions
from urgentmos_jax.manifests.reading import Pair, Utterance, write_pairs, write_utterances

SCORES = ("mse", "lcc", "srcc", "ktau", "rmse_mapped")


@pytest.fixture(autouse=True)
def _no_warnings_of_numpy():
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        yield


def _utterances(count: int, corpus: str = "c", systems: int = 4) -> list[Utterance]:
    rng = np.random.default_rng(count)
    labels = [{"mos_overall": float(value)} for value in rng.integers(4, 21, count) / 4]
    return [
        Utterance(f"{corpus}{place:03}", f"{place}.wav", 1.0, f"s{place % systems}", f"r{place // 5}", label)
        for place, label in enumerate(labels)
    ]


def _predicted(records: list[Utterance], spread: float, seed: int = 0) -> dict[str, dict[str, float]]:
    rng = np.random.default_rng(seed)
    return {one.uid: {"mos_overall": round(one.metrics["mos_overall"] + spread * rng.normal(), 3)} for one in records}


def _write(path: Path, predicted: dict[str, dict[str, float]]) -> Path:
    rows = ({"uid": uid, "path": f"{uid}.wav", "scores": values or None} for uid, values in predicted.items())
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _corpus(folder: Path, records: list[Utterance] | list[Pair]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    pairs = isinstance(records[0], Pair)
    path = folder / ("data_pairs.jsonl" if pairs else "data.jsonl")
    (write_pairs if pairs else write_utterances)(path, records)
    return path


def _pairs(records: list[Utterance]) -> list[Pair]:
    return [
        Pair(
            (a.uid, b.uid),
            (a.audio_path, b.audio_path),
            (1.0, 1.0),
            {"mos_overall": a.metrics["mos_overall"] - b.metrics["mos_overall"]},
            {"reference_ids": [a.reference_id, b.reference_id]},
        )
        for a, b in pairwise(records)
    ]


def test_figures_of_utterances_and_systems_equal_those_of_scipy():
    records = _utterances(43)
    predicted = _predicted(records, 0.8)
    (found,) = evaluate(records, predicted).results
    x = np.array([predicted[one.uid]["mos_overall"] for one in records])
    y = np.array([one.metrics["mos_overall"] for one in records])
    systems = np.array([one.system_id for one in records])
    names = sorted(set(systems))
    means = [np.array([side[systems == name].mean() for name in names]) for side in (x, y)]
    assert (found.n, found.missing, found.references, found.systems, found.warnings) == (43, 0, 9, 4, ())
    for prefix, (a, b) in {"": (x, y), "system_": means}.items():
        assert found.figures[f"{prefix}mse"].value == pytest.approx(np.mean((a - b) ** 2))
        assert found.figures[f"{prefix}lcc"].value == pytest.approx(stats.pearsonr(a, b).statistic)
        assert found.figures[f"{prefix}srcc"].value == pytest.approx(stats.spearmanr(a, b).statistic)
        assert found.figures[f"{prefix}ktau"].value == pytest.approx(stats.kendalltau(a, b).statistic)
    assert found.levels["utterance"].units == 9 and found.levels["system"].units == 4


def test_missing_predictions_stop_or_are_counted():
    records = _utterances(20)
    predicted = _predicted(records, 0.5)
    del predicted["c003"]
    predicted["c007"] = {}
    with pytest.raises(MissingPredictions, match=r"no mos_overall of 2 of 20 records of all: 'c003', 'c007'$"):
        evaluate(records, predicted)
    (found,) = evaluate(records, predicted, allow_missing=True).results
    kept = [one for one in records if one.uid not in ("c003", "c007")]
    (wanted,) = evaluate(kept, {one.uid: predicted[one.uid] for one in kept}).results
    assert (found.n, found.missing) == (18, 2)
    assert found.figures == wanted.figures


def test_labels_that_are_missing_are_no_missing_predictions():
    records = _utterances(12)
    for one in records[:4]:
        one.metrics.clear()
    (found,) = evaluate(records, _predicted(records[4:], 0.5)).results
    assert (found.n, found.missing) == (8, 0)


def test_one_system_constant_predictions_and_no_system():
    records = _utterances(10, systems=1)
    (found,) = evaluate(records, {one.uid: {"mos_overall": 3.0} for one in records}).results
    assert found.warnings == ("constant_predictions", "few_systems", "one_system")
    assert found.figures["srcc"].as_json() == {"value": None, "low": None, "high": None}
    assert found.figures["system_lcc"].as_json()["value"] is None
    records = [Utterance(one.uid, one.audio_path, 1.0, None, None, one.metrics) for one in records]
    found = evaluate(records, _predicted(records, 0.5))
    assert found.results[0].systems == 0 and "system" not in found.results[0].levels
    assert found.results[0].levels["utterance"].units == 10
    json.dumps(found.as_json(), allow_nan=False)


def test_pairs_by_comparisons_and_by_differences_of_scores():
    records = _utterances(21)
    pairs, scores = _pairs(records), _predicted(records, 0.4)
    compared = {
        " ".join(pair.uids): {"mos_overall": scores[pair.uids[0]]["mos_overall"] - scores[pair.uids[1]]["mos_overall"]}
        for pair in pairs
    }
    by_head, by_score = (evaluate(pairs, predicted).results[0] for predicted in (compared, scores))
    assert by_head.figures == by_score.figures and by_head.pairs and by_head.n == 20 and by_head.references == 5
    x = np.array([compared[" ".join(pair.uids)]["mos_overall"] for pair in pairs])
    y = np.array([pair.metrics["mos_overall"] for pair in pairs])
    clear = np.abs(y) >= 0.5
    assert by_head.figures["sign_acc@0"].value == pytest.approx(np.mean((x * y > 0)[y != 0]))
    assert by_head.figures["sign_acc@0.5"].value == pytest.approx(np.mean((x * y > 0)[clear]))
    assert by_head.figures["pair_srcc"].value == pytest.approx(stats.spearmanr(x, y).statistic)


def test_average_and_distance_to_the_best():
    corpora = {"a": _utterances(30, "a"), "b": _utterances(55, "b")}
    every = [one for records in corpora.values() for one in records]
    names = ("first", "second")
    predictions = [
        Predictions(_predicted(every, spread, seed), name)
        for name, spread, seed in zip(names, (0.4, 1.2), (1, 2), strict=True)
    ]
    found = evaluate(corpora, predictions)
    values = {
        (one.corpus, one.predictor, figure): one.figures[figure].value for one in found.results for figure in SCORES
    }
    averages = {(one.figure, one.predictor): one for one in found.averages}
    best = {(one.figure, one.predictor): one for one in found.best_scores}
    for figure in SCORES:
        lower = figure in ("mse", "rmse_mapped")
        bests = [(min if lower else max)(values[corpus, name, figure] for name in names) for corpus in corpora]
        for name in names:
            mine = [values[corpus, name, figure] for corpus in corpora]
            assert averages[figure, name].interval.value == pytest.approx(np.mean(mine))
            assert averages[figure, name].corpora == 2 and averages[figure, name].n == 85
            assert best[figure, name].difference == pytest.approx(np.mean(np.subtract(mine, bests)))
            ratios = np.divide(bests, mine) if lower else np.divide(mine, bests)
            assert best[figure, name].ratio == pytest.approx(np.mean(ratios))
    assert best["srcc", "first"].difference == 0 and best["srcc", "first"].ratio == 1
    second = next(one for one in found.results if one.corpus == "b" and one.predictor == "second")
    apart = second.differences["utterance"]["srcc"]
    assert apart.interval.value == pytest.approx(values["b", "second", "srcc"] - values["b", "first", "srcc"])
    assert apart.interval.high < 0 and apart.p < 0.05


def test_paired_differences_are_of_what_both_predict():
    records = _utterances(40)
    first, second = _predicted(records, 0.4, 1), _predicted(records, 0.9, 2)
    del first["c001"], second["c002"]
    predictions = [Predictions(first, "first"), Predictions(second, "second")]
    found = evaluate(records, predictions, allow_missing=True)
    kept = [one for one in records if one.uid not in ("c001", "c002")]
    both = [Predictions({one.uid: side[one.uid] for one in kept}, side.name) for side in predictions]
    assert [one.n for one in found.results] == [39, 39]
    assert found.results[1].differences == evaluate(kept, both).results[1].differences


def test_predictions_are_found_by_path_where_uids_differ(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    records = _utterances(6)
    file = tmp_path / "scores.csv"
    with file.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["uid", "path", "mos_overall", "duration_s", "windows", "flags", "error", "message"])
        writer.writerows(
            [Path(one.audio_path).stem, one.audio_path, place, 1, 1, "", "", ""] for place, one in enumerate(records)
        )
    manifest = _corpus(tmp_path, records)
    corpora = read_corpora([Path(manifest.name)], check_files=False)
    (values,) = join(corpora, read_predictions(file))
    assert values == [{"mos_overall": float(place)} for place in range(6)]


def test_uids_of_several_corpora_need_paths():
    corpora = {name: [Utterance("u", f"{name}/u.wav", 1.0, metrics={"mos_overall": 3.0})] for name in "ab"}
    with pytest.raises(PredictionsError, match="uid 'u' is of several recordings; give predictions with paths"):
        evaluate(corpora, {"u": {"mos_overall": 2.0}})
    with pytest.raises(PredictionsError, match=r"2 uids are in no manifest, 'v', 'w'; take them out"):
        evaluate(corpora["a"], {name: {"mos_overall": 2.0} for name in "uvw"})
    with pytest.raises(PredictionsError, match="predictions: holds none"):
        evaluate(corpora["a"], {})
    with pytest.raises(PredictionsError, match="1 uids are in no manifest, 'u'"):
        evaluate([], {"u": {"mos_overall": 2.0}})
    with pytest.raises(EvaluationError, match="no record has a label of pesq; there are mos_overall"):
        evaluate(corpora["a"], {"u": {"mos_overall": 2.0}}, metrics=["pesq"])


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        (
            "a.jsonl",
            '{"uid": "u", "scores": {"m": 1}}\n{"uid": "u", "scores": {"m": 2}}\n',
            "a.jsonl:2: uid 'u' is that",
        ),
        ("a.jsonl", '{"uid": "u", "scores": {"m": "high"}}\n', "m is 'high', give a finite number"),
        ("a.jsonl", '{"uid": "u", "scores": {"m": true}}\n', "m is True, give a finite number"),
        ("a.jsonl", '{"uid": "u", "value": 3}\n', "no scores, comparison or metrics"),
        ("a.jsonl", '{"scores": {"m": 3}}\n', "no uid, give a string"),
        ("a.jsonl", '{"uid": "u", "scores": {"m": 1}\n', "broken JSON"),
        ("a.jsonl", "", "holds no predictions"),
        ("a.csv", "uid,m\nu,nan\n", "a.csv:2: m is 'nan', give a finite number"),
        ("a.csv", "uid,m\nu,1,2\n", "has not the 2 cells of the header"),
        ("a.csv", "name,m\nu,1\n", "no column uid, found"),
    ],
)
def test_files_of_predictions_that_cannot_be_used(tmp_path, name, text, fault):
    (tmp_path / name).write_text(text)
    with pytest.raises(PredictionsError) as error:
        read_predictions(tmp_path / name)
    assert fault in str(error.value)


def test_files_of_score_and_compare_are_read(tmp_path):
    rows = [
        {"uid": "a b", "paths": ["a.wav", "b.wav"], "comparison": {"m": {"cmos": 0.5, "p_a": 0.7}}, "error": None},
        {"uid": "a c", "paths": ["a.wav", "c.wav"], "comparison": None, "error": {"code": "missing"}},
    ]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    header = "uid,path_a,path_b,m_cmos,m_p_a,m_p_b,m_p_tie,duration_a_s,duration_b_s,windows,flags,error,message"
    (tmp_path / "pairs.csv").write_text(
        f"{header}\na b,a.wav,b.wav,0.5,0.7,0.1,0.2,1,1,1,,,\na c,a.wav,c.wav{',' * 10}\n"
    )
    for name in ("pairs.jsonl", "pairs.csv"):
        assert read_predictions(tmp_path / name) == {"a b": {"m": 0.5}, "a c": {}}
    (tmp_path / "scores.csv").write_text("uid,path,m,p_808,duration_s\na,a.wav,3.5,2,1\nb,b.wav,,1,1\n")
    found = read_predictions(tmp_path / "scores.csv")
    assert found == {"a": {"m": 3.5, "p_808": 2.0}, "b": {"p_808": 1.0}} and found.metrics == ["m", "p_808"]


def test_command_writes_text_json_and_markdown(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    records = {"mine": _utterances(30, "m"), "other": _utterances(20, "o")}
    manifests = [str(_corpus(tmp_path / name / "test", one)) for name, one in records.items()]
    manifests.append(str(_corpus(tmp_path / "mine" / "test", _pairs(records["mine"]))))
    every = [one for part in records.values() for one in part]
    good, bad = (
        _write(tmp_path / name, _predicted(every, spread)) for name, spread in (("good.jsonl", 0.3), ("bad.jsonl", 1.5))
    )
    outputs = ["--json", "out/e.json", "--markdown", "out/e.md"]
    assert main(["evaluate", *manifests, "--predictions", str(good), str(bad), *outputs]) == 0
    text = capsys.readouterr().out
    found = json.loads(Path("out/e.json").read_text())
    markdown = Path("out/e.md").read_text()
    for title in (
        "mine/test",
        "other/test",
        "mine/test (pairs)",
        "average over corpora",
        "difference to the best score",
    ):
        assert title in text and title in markdown
    by_place = {(one["corpus"], one["predictor"]): one for one in found["results"]}
    assert len(by_place) == 6 and [one["n"] for one in found["averages"] if one["figure"] == "srcc"] == [50, 50]
    one = by_place["mine/test", "bad.jsonl"]
    assert (one["n"], one["missing"], one["references"], one["systems"], one["kind"]) == (30, 0, 6, 4, "utterances")
    srcc = one["levels"]["utterance"]["figures"]["srcc"]
    assert f"{srcc['value']:.3f} [{srcc['low']:.3f}, {srcc['high']:.3f}]" in text
    assert one["levels"]["utterance"]["minus_first"]["srcc"]["p"] < 0.05
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in markdown.splitlines() if line.startswith("|")]
    assert ["mos_overall", "clips", "30", "30", ""] in cells
    assert ["mos_overall", "references", "6", "6", ""] in cells and ["mos_overall", "systems", "4", "4", ""] in cells


def test_command_tells_corpora_apart_by_a_column(tmp_path, capsys):
    records = [
        Utterance(
            one.uid,
            one.audio_path,
            1.0,
            one.system_id,
            one.reference_id,
            one.metrics,
            {"lang": "de" if place < 12 else "fr"},
        )
        for place, one in enumerate(_utterances(30))
    ]
    data, file = _corpus(tmp_path / "x" / "y", records), _write(tmp_path / "p.jsonl", _predicted(records, 0.5))
    output = tmp_path / "e.json"
    assert (
        main(["evaluate", str(data), "--predictions", str(file), "--corpus-column", "lang", "--json", str(output)]) == 0
    )
    assert [(one["corpus"], one["n"]) for one in json.loads(output.read_text())["results"]] == [("de", 12), ("fr", 18)]
    capsys.readouterr()
    assert main(["evaluate", str(data), "--predictions", str(file), "--corpus-column", "land"]) == 2
    assert "30 of 30 records have no 'land' in meta, 'c000', 'c001', 'c002', ..." in capsys.readouterr().err


def test_command_names_what_is_wrong(tmp_path, capsys):
    records = _utterances(8)
    data, file = (
        str(_corpus(tmp_path / "x" / "y", records)),
        str(_write(tmp_path / "p.jsonl", _predicted(records, 0.5))),
    )
    few = str(_write(tmp_path / "few.jsonl", _predicted(records[:6], 0.5)))
    for arguments, message in (
        (["nowhere.jsonl", "--predictions", file], "nowhere.jsonl: no such file"),
        (
            [data, "--predictions", few],
            "few.jsonl: no mos_overall of 2 of 8 records of x/y: 'c006', 'c007'\n--allow-missing",
        ),
        ([data, "--predictions", file, file], "p.jsonl is given twice"),
        ([data, "--predictions", file, "--metrics", "pesq"], "no record has a label of pesq; there are mos_overall"),
        ([data, "--predictions", file, "--metrics", " , "], "--metrics names none"),
        ([data, "--predictions", file, "--seed", "-1"], "--seed is -1"),
        ([data, "--predictions", file, "--model", "m"], "give --predictions or --model, not both"),
        ([data, "--predictions", str(tmp_path / "none.csv")], "none.csv: cannot be read"),
        ([data, "--predictions", file, "--json", file + "/x.json"], "cannot be written"),
    ):
        assert main(["evaluate", *arguments]) == 2
        assert message in capsys.readouterr().err
    assert main(["evaluate", data, "--predictions", few, "--allow-missing"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["missing", "2"] in lines and ["mos_overall", "clips", "6"] in lines


def test_benchmark(tmp_path):
    figures = measure(Settings(scratch=tmp_path, clips=2000))
    assert (figures["clips"], figures["systems"], figures["references"]) == (2000, 50, 40)
    assert all(figures[f"{name}_of_two"] > 0 for name in ("read_seconds", "evaluate_seconds", "peak_memory_mb"))


def test_command_with_a_model(tmp_path, capsys, monkeypatch, model_folder):
    # Eight devices are not what this is about, and take longer to compile for.
    monkeypatch.setattr(jax, "local_devices", lambda: jax.devices()[:1])
    data = write_corpus(tmp_path / "mine" / "test", [8000] * 5)
    (tmp_path / "mine" / "test" / "4.wav").write_bytes(b"no sound")
    lines = [json.loads(line) for line in data.read_text().splitlines()]
    records = [
        Utterance(
            one["uid"], one["audio_path"], one["duration"], metrics=one["metrics"], reference_id=one["reference_id"]
        )
        for one in lines[:4]
    ]
    pairs = _corpus(data.parent, _pairs(records))
    output, scores, compared = tmp_path / "e.json", tmp_path / "s.jsonl", tmp_path / "c.jsonl"
    arguments = ["evaluate", str(data), str(pairs), "--metrics", "mos_overall", "--json", str(output)]
    assert main([*arguments, "--model", str(model_folder)]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("u4: ") and "undecodable" not in captured.out
    found = json.loads(output.read_text())["results"]
    assert [(one["n"], one["missing"]) for one in found] == [(4, 1), (3, 0)]
    # The same through files of `score` and `compare`.
    chosen = ["--model", str(model_folder), "--metrics", "mos_overall", "--output"]
    assert main(["score", str(data), *chosen, str(scores)]) == 1
    assert main(["compare", "--pairs", str(pairs), *chosen, str(compared)]) == 0
    for manifest, file, wanted in ((data, scores, found[0]), (pairs, compared, found[1])):
        command = ["evaluate", str(manifest), "--predictions", str(file), "--allow-missing", "--json", str(output)]
        assert main([*command, "--metrics", "mos_overall"]) == 0
        (same,) = json.loads(output.read_text())["results"]
        for level, values in wanted["levels"].items():
            for name, figure in values["figures"].items():
                assert same["levels"][level]["figures"][name]["value"] == pytest.approx(figure["value"], abs=1e-5), name
    assert main(["evaluate", str(data), "--model", "nowhere/model-x"]) == 2
    # What the model does not predict is left out and told; asked for, it stops it before anything is scored.
    data.write_text("".join(json.dumps({**one, "metrics": {"mos_overall": 3, "pesq": 2}}) + "\n" for one in lines))
    capsys.readouterr()
    assert main(["evaluate", str(data), "--model", str(model_folder), "--metrics", "pesq"]) == 2
    assert "--metrics pesq: not of --model" in capsys.readouterr().err
    main(["evaluate", str(data), "--model", str(model_folder)])
    printed = capsys.readouterr()
    assert "left out, not predicted: pesq" in printed.err
    assert "mos_overall" in printed.out and "pesq" not in printed.out
