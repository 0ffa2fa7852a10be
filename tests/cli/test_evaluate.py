"""`urgentmos evaluate`: tables, files, and what is refused."""

import json
import warnings
from pathlib import Path

import jax
import pytest

from launch.benchmark.evaluate import measure
from launch.benchmark.settings import Settings
from tests.helpers.corpus import write_corpus
from tests.helpers.evaluations import pairs_of, predicted_scores, utterances, write_dataset, write_predictions
from urgentmos_jax.cli import main
from urgentmos_jax.evaluation.paper import values_of_row
from urgentmos_jax.manifests.records import Utterance


@pytest.fixture(autouse=True)
def _no_warnings_of_numpy():
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        yield


def test_command_writes_text_json_and_markdown(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    records = {"mine": utterances(30, "m"), "other": utterances(20, "o")}
    manifests = [str(write_dataset(tmp_path / name / "test", one)) for name, one in records.items()]
    manifests.append(str(write_dataset(tmp_path / "mine" / "test", pairs_of(records["mine"]))))
    every = [one for part in records.values() for one in part]
    good, bad = (
        write_predictions(tmp_path / name, predicted_scores(every, spread))
        for name, spread in (("good.jsonl", 0.3), ("bad.jsonl", 1.5))
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
        for place, one in enumerate(utterances(30))
    ]
    data, file = (
        write_dataset(tmp_path / "x" / "y", records),
        write_predictions(tmp_path / "p.jsonl", predicted_scores(records, 0.5)),
    )
    output = tmp_path / "e.json"
    assert (
        main(["evaluate", str(data), "--predictions", str(file), "--corpus-column", "lang", "--json", str(output)]) == 0
    )
    assert [(one["corpus"], one["n"]) for one in json.loads(output.read_text())["results"]] == [("de", 12), ("fr", 18)]
    capsys.readouterr()
    assert main(["evaluate", str(data), "--predictions", str(file), "--corpus-column", "land"]) == 2
    assert "30 of 30 records have no 'land' in meta, 'c000', 'c001', 'c002', ..." in capsys.readouterr().err


def test_command_names_what_is_wrong(tmp_path, capsys):
    records = utterances(8)
    data, file = (
        str(write_dataset(tmp_path / "x" / "y", records)),
        str(write_predictions(tmp_path / "p.jsonl", predicted_scores(records, 0.5))),
    )
    few = str(write_predictions(tmp_path / "few.jsonl", predicted_scores(records[:6], 0.5)))
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
    ):
        assert main(["evaluate", *arguments]) == 2
        assert message in capsys.readouterr().err
    assert main(["evaluate", data, "--predictions", file, "--json", file + "/x.json"]) == 4
    assert "cannot be written" in capsys.readouterr().err
    assert main(["evaluate", data, "--predictions", few, "--allow-missing"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["missing", "2"] in lines and ["mos_overall", "clips", "6"] in lines


def test_command_puts_the_paper_beside(tmp_path, capsys):
    records, other = utterances(20), utterances(15, "o")
    data = [str(write_dataset(tmp_path / "somos" / "test", part)) for part in (records, pairs_of(records))]
    mine = str(write_dataset(tmp_path / "mine" / "test", other))
    file = write_predictions(tmp_path / "p.jsonl", predicted_scores([*records, *other], 0.5))
    output, markdown = tmp_path / "e.json", tmp_path / "e.md"
    command = ["evaluate", "--predictions", str(file), "--json", str(output), "--markdown", str(markdown), "--paper"]
    assert main([*command, "F1C1M5-ref", *data, mine]) == 0
    text = capsys.readouterr().out
    assert "beside the paper's F1C1M5-ref" in text and "differ by .02 to .06" in text
    assert "### beside the paper's F1C1M5-ref" in markdown.read_text()
    found = json.loads(output.read_text())["paper"]["values"]
    assert [(one["set"], one["figure"], one["paper"]) for one in found] == [
        *(("SOMOS", "lcc", 0.68), ("SOMOS", "srcc", 0.67), ("SOMOS", "acc_0.5", 0.58), ("SOMOS", "acc_0", 0.72))
    ]
    lcc = found[0]
    row = next(line for line in text.splitlines() if line.split()[:3] == ["SOMOS", "LCC", "0.68"])
    assert row.split()[3:] == [f"{lcc['value']:.3f}", f"{lcc['value'] - 0.68:+.3f}"]
    assert main([*command, "Random", data[1], "--set", "CHiME-7"]) == 0
    assert [one["paper"] for one in json.loads(output.read_text())["paper"]["values"]] == [0.34, 0.51]
    capsys.readouterr()
    for arguments, message in (
        ([*command, "F1C1", data[0]], "no row 'F1C1', it has DNSMOS, UTMOS"),
        ([*command, "UTMOS", mine], "no set of the paper by the folders corpus/split; name theirs with --set, one of"),
        ([*command, "UTMOS", mine, "--set", "x"], "no set 'x', it has SOMOS"),
        (["evaluate", mine, "--set", "SOMOS"], "give --paper ROW too"),
        (["evaluate"], "give DATA.jsonl"),
    ):
        assert main(arguments) == 2
        assert message in capsys.readouterr().err
    assert main(["evaluate", "--paper", "UTMOS"]) == 0
    assert ["SOMOS", "mos_overall", "4/9", "0.52", "0.64"] in [
        line.split() for line in capsys.readouterr().out.splitlines()
    ]


@pytest.mark.slow
def test_benchmark(tmp_path):
    figures = measure(Settings(scratch=tmp_path, clips=2000))
    assert (figures["clips"], figures["systems"], figures["references"]) == (2000, 50, 40)
    assert all(figures[f"{name}_of_two"] > 0 for name in ("read_seconds", "evaluate_seconds", "peak_memory_mb"))


@pytest.mark.slow
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
    pairs = write_dataset(data.parent, pairs_of(records))
    output, scores, compared = tmp_path / "e.json", tmp_path / "s.jsonl", tmp_path / "c.jsonl"
    arguments = ["evaluate", str(data), str(pairs), "--metrics", "mos_overall", "--json", str(output)]
    assert main([*arguments, "--model", str(model_folder)]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("u4: ") and "undecodable" not in captured.out
    found = json.loads(output.read_text())["results"]
    assert [(one["n"], one["missing"]) for one in found] == [(4, 1), (3, 0)]
    assert set(found[1]["levels"]) == {"pair", "score_difference"}
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


@pytest.mark.slow
def test_a_model_on_stand_ins_of_five_sets_beside_the_paper(tmp_path, capsys, monkeypatch, model_folder):
    """A model with random weights: the printed table has its numbers, the paper's, and the difference."""
    monkeypatch.setattr(jax, "local_devices", lambda: jax.devices()[:1])
    folders = {"SOMOS": "somos/test", "P501": "nisqa/P501", "FOR": "nisqa/FOR", "BC19": "bc19/test"}
    manifests = [str(write_corpus(tmp_path / one, [8000] * 4, seed=10 * n)) for n, one in enumerate(folders.values())]
    folders["TMHINT-QI"] = "tmhint-qi/test"
    data = write_corpus(tmp_path / "tmhint-qi" / "test", [8000] * 4, seed=50)
    lines = [json.loads(line) for line in data.read_text().splitlines()]
    named = [(one["uid"], str(data.parent / one["audio_path"]), 0.5) for one in lines]
    records = [
        Utterance(*name, metrics=one["metrics"], reference_id=one["reference_id"])
        for name, one in zip(named, lines, strict=True)
    ]
    manifests.append(str(write_dataset(tmp_path / "tmhint-qi" / "test", pairs_of(records))))
    output = tmp_path / "e.json"
    model = ["--model", str(model_folder), "--metrics", "mos_overall", "--json", str(output)]
    assert main(["evaluate", *manifests, *model, "--paper", "F1C1M5-ref"]) == 0
    text = capsys.readouterr().out
    found = json.loads(output.read_text())
    ours = {
        (one["corpus"].removesuffix(" (pairs)"), name): figure["value"]
        for one in found["results"]
        for level in ("utterance", "pair")
        for name, figure in one["levels"].get(level, {"figures": {}})["figures"].items()
    }
    paper = {(one.set, one.statistic): one.value for one in values_of_row("F1C1M5-ref")}
    table = text[text.index("beside the paper's F1C1M5-ref") :].splitlines()
    assert table[1].split()[:3] == ["set", "statistic", "paper"] and table[1].split()[-1] == "difference"
    wanted = [(name, of) for name in list(folders)[:4] for of in ("lcc", "srcc")]
    wanted += [("TMHINT-QI", "acc_0.5"), ("TMHINT-QI", "acc_0")]
    rows, last = [], ""
    for line in table[2 : 2 + len(wanted)]:
        cells = line.split()
        last, *cells = cells if len(cells) == 5 else [last, *cells]
        rows.append([last, *cells])
    for row, (name, statistic) in zip(rows, wanted, strict=True):
        value, number = ours[folders[name], statistic], paper[name, statistic]
        title = statistic if statistic.startswith("acc") else statistic.upper()
        assert row == [name, title, f"{number:.2f}", f"{value:.3f}", f"{value - number:+.3f}"]
    assert "Runs of the paper itself differ by .02 to .06" in text
    assert [one["table"] for one in found["paper"]["values"]] == ["5/10"] * 8 + ["4/9"] * 2
