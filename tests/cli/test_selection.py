"""--shard, --keep and --fail-under of score and compare; the summary."""

import csv
import itertools
import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.helpers.commands import refused, run
from urgentmos_jax.scoring.selection import Shard

PATHS = [f"{number}.wav" for number in range(8)]


def arguments(command: str, folder: Path) -> list:
    if command == "score":
        return [command, *PATHS]
    pairs = folder / "pairs.jsonl"
    pairs.write_text("".join(json.dumps({"audio_paths": [one, "9.wav"]}) + "\n" for one in PATHS))
    return [command, "--pairs", pairs]


def stop_at(index: int, number: int = signal.SIGTERM):
    return lambda now: os.kill(os.getpid(), number) if now == index else None


@pytest.mark.parametrize("count", [1, 3, 7, 11])
def test_parts_are_contiguous_even_and_all(count):
    items = list(range(23))
    parts = [Shard.parse(f"{number}/{count}").of(items) for number in range(1, count + 1)]
    assert list(itertools.chain(*parts)) == items and max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
@pytest.mark.parametrize("command", ["score", "compare"])
@pytest.mark.parametrize("count", [1, 3, 7, 11])
def test_shards_join_to_the_whole(stub, tmp_path, capsys, monkeypatch, command, suffix, keep, count):
    """Also the parts of runs that are stopped and resumed, and more of them than inputs."""
    monkeypatch.chdir(tmp_path)
    asked = [*arguments(command, tmp_path), *(["--keep", "utmos:0.25:0.8"] if keep else [])]
    run(capsys, *asked, "--output", f"whole{suffix}")
    for number in range(1, count + 1):
        part = [*asked, "--output", f"{number}{suffix}", "--shard", f"{number}/{count}"]
        stub(before=stop_at(4))
        run(capsys, *part)
        stub()
        assert run(capsys, *part, "--resume")[0] in (0, 1)
    for ending in ("", ".dropped.jsonl") if keep else ("",):
        parts = [Path(f"{number}{suffix}{ending}").read_bytes() for number in range(1, count + 1)]
        assert b"".join(parts) == Path(f"whole{suffix}{ending}").read_bytes() != b""
    about = json.loads(Path(f"1{suffix}.meta.json").read_text())
    assert about["shard"] == f"1/{count}" and about["inputs"]["count"] == about["counts"]["rows"] == 8 // count


def test_a_shard_of_another_is_not_resumed(stub, tmp_path, capsys):
    output = tmp_path / "o.jsonl"
    run(capsys, "score", *PATHS, "--output", output, "--shard", "1/2")
    error = refused(capsys, "score", *PATHS, "--output", output, "--shard", "2/2", "--resume")
    assert 'shard: "1/2" there, "2/2" here' in error


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
@pytest.mark.parametrize("command", ["score", "compare"])
def test_rows_out_of_bounds_go_elsewhere_with_the_reason(stub, tmp_path, capsys, command, suffix):
    output = tmp_path / f"o{suffix}"
    asked = [*arguments(command, tmp_path), "--output", output, "--keep", "mos_overall:0.25:", "--keep", "utmos::0.6"]
    status, _, err = run(capsys, *asked)
    failed = command == "score"  # 1.wav fails there.
    assert status == failed and f"3 kept, 5 in {output}.dropped.jsonl" in err
    if suffix == ".csv":
        kept = [row.get("path", row.get("path_a")) for row in csv.DictReader(output.open())]
    else:
        rows = [json.loads(line) for line in output.read_text().splitlines()]
        kept = [row.get("path", row.get("paths", [None])[0]) for row in rows]
        assert not any("dropped" in row for row in rows)
    dropped = [json.loads(line) for line in Path(f"{output}.dropped.jsonl").read_text().splitlines()]
    assert [Path(path).name for path in kept] == ["2.wav", "3.wav", "4.wav"]
    assert [row["dropped"] for row in dropped] == [
        "mos_overall is 0, under 0.25", "empty: é" if failed else "mos_overall is 0.125, under 0.25",
        "utmos is 0.625, over 0.6", "utmos is 0.75, over 0.6", "utmos is 0.875, over 0.6",
    ]  # fmt: skip
    about = json.loads(Path(f"{output}.meta.json").read_text())
    assert about["keep"] == ["mos_overall:0.25:", "utmos::0.6"] and about["size_bytes"] == output.stat().st_size
    assert {"rows": 8, "kept": 3, "dropped": 5}.items() <= about["counts"].items()
    assert sorted(path.name for path in tmp_path.glob("o*")) == [
        output.name, f"{output.name}.dropped.jsonl", f"{output.name}.meta.json",
    ]  # fmt: skip


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_both_files_are_resumed(stub, tmp_path, capsys, suffix):
    """A finished pair is left alone; where one of them is cut, the rows up to there are kept, and others made anew."""
    output, dropped = tmp_path / f"o{suffix}", tmp_path / f"o{suffix}.dropped.jsonl"
    asked = ["score", *PATHS[:4], "3.wav", *PATHS[4:], "--output", output, "--keep", "utmos:0.25:0.8"]
    run(capsys, *asked)
    whole = [path.read_bytes() for path in (output, dropped)]
    computed = []
    stub(before=computed.append)
    status, _, err = run(capsys, *asked, "--resume")
    assert status == 1 and "finished before, left alone" in err and not computed
    assert "9 rows, 8 done, 1 failed" in err and f"6 kept, 3 in {dropped}" in err
    for path, first in ((output, 7), (dropped, 8)):
        for cut in range(1, 9, 3):
            path.write_bytes(path.read_bytes()[:-cut])
            assert run(capsys, *asked, "--resume")[0] == 1
            assert [path.read_bytes() for path in (output, dropped)] == whole
            assert computed[0] == first - 1 and len(computed) == 9 - first
            computed.clear()
    dropped.unlink()
    assert run(capsys, *asked, "--resume")[0] == 1
    assert [path.read_bytes() for path in (output, dropped)] == whole and computed == [0, 1, 2, 3, 3, 4, 5, 6, 7]
    assert "keep: " in refused(capsys, *asked[:-1], "utmos:0.3:", "--resume")
    assert "keep: " in refused(capsys, *asked[:-2], "--resume")
    run(capsys, *asked[:-2])
    assert not dropped.exists()  # It was of the file that is no more.


@pytest.mark.parametrize("step", range(3))
def test_killed_within_the_last_steps(stub, tmp_path, capsys, monkeypatch, step):
    output = tmp_path / "o.jsonl"
    asked = ["score", *PATHS, "--output", output, "--keep", "utmos:0.5:"]
    run(capsys, *asked)
    whole = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    steps, replace = [], os.replace

    def killed(*names):
        steps.append(names)
        if Path(names[1]).name in (output.name, f"{output.name}.dropped.jsonl", f"{output.name}.meta.json"):
            killed.left -= 1
            if killed.left < 0:
                raise RuntimeError("killed")
        replace(*names)

    killed.left = step
    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(RuntimeError, match="killed"):
        run(capsys, *asked)
    monkeypatch.setattr(os, "replace", replace)
    computed = []
    stub(before=computed.append)
    assert run(capsys, *asked, "--resume")[0] == 1 and not computed
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == whole


def test_the_gate(stub, tmp_path, capsys):
    asked = ["score", *PATHS, "--metrics", "utmos", "--fail-under"]
    # 1.wav has no score: the others are 0, 2, 3, ... 7 eighths.
    for gate, found in [("utmos:mean:0.5", "the mean of utmos is 0.482143, under 0.5"),
                        ("utmos:median:0.51", "the median of utmos is 0.5, under 0.51"),
                        ("utmos:min:0.1", "the min of utmos is 0, under 0.1"),
                        ("utmos:p95:0.9", "the p95 of utmos is 0.8375, under 0.9")]:  # fmt: skip
        status, rows, err = run(capsys, *asked, gate)
        assert status == 3 and len(rows) == 8 and f"--fail-under {gate}: {found}" in err
    assert run(capsys, *asked, "utmos:median:0.5", "--fail-under", "utmos:max:0.875")[0] == 1
    assert "no row has utmos" in run(capsys, "score", "1.wav", *asked[9:], "utmos:mean:0")[2]
    status, _, err = run(capsys, *arguments("compare", tmp_path), "--fail-under", "utmos_p_b:max:0.3")
    assert status == 3 and "utmos_p_b:max:0.3: the max of utmos_p_b is 0.25" in err
    assert run(capsys, *arguments("compare", tmp_path), "--fail-under", "utmos:mean:0.4")[0] == 0


def test_the_summary(stub, capsys):
    _, _, err = run(capsys, "score", *PATHS, "--metrics", "utmos")
    lines = err.splitlines()
    assert lines[1] == "8 rows, 7 done, 1 failed (empty: 1)"
    assert lines[2].split() == ["mean", "median", "5", "%", "95", "%"]
    assert lines[3].split() == ["utmos", "0.482", "0.500", "0.075", "0.837"]
    for word in ("seconds of audio a second", "computing", "writing", "reading", "decoding"):
        assert word in lines[4]
    assert len(lines) == 5
    assert "mean" not in run(capsys, "score", "1.wav")[2]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--shard 0/2", "--shard 0/2: give K/N with K from 1 to N"),
        ("--shard 3/2", "give K/N"),
        ("--shard 1", "give K/N"),
        ("--keep utmos:3:4", "--keep: give an --output FILE"),
        ("--output o.jsonl --keep utmos:3", "--keep utmos:3: give METRIC:MIN:MAX"),
        ("--output o.jsonl --keep utmos::", "give METRIC:MIN:MAX"),
        ("--output o.jsonl --keep :1:2", "give METRIC:MIN:MAX"),
        ("--output o.jsonl --keep utmos:a:", "'a' is not a number"),
        ("--output o.jsonl --keep utmos:nan:", "'nan' is not a number"),
        ("--output o.jsonl --keep utmos:4:3", "4 is above 3"),
        ("--output o.jsonl --metrics utmos --keep pesq:1:", "--keep: pesq is not among the metrics of the rows: utmos"),
        ("--fail-under utmos:3", "--fail-under utmos:3: give METRIC:STAT:VALUE"),
        ("--fail-under utmos:mode:3", "give METRIC:STAT:VALUE"),
        ("--fail-under utmos:p101:3", "give METRIC:STAT:VALUE"),
        ("--fail-under utmos:mean:x", "'x' is not a number"),
        ("--metrics utmos --fail-under pesq:mean:3", "--fail-under: pesq is not among the metrics of the rows"),
    ],
)
def test_wrong_flags_are_found_before_a_model_is_loaded(tmp_path, capsys, monkeypatch, flags, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("urgentmos_jax.scoring.loading.load_model", lambda *_, **__: pytest.fail("a model is loaded"))
    for command in ("score", "compare"):
        assert words in refused(capsys, command, "a.wav", "b.wav", *flags.split())
    assert not list(tmp_path.iterdir())


def test_the_names_of_a_model_folder_are_known_before_its_weights_are_read(model_folder, tmp_path, capsys):
    shutil.copy(model_folder / "config.json", tmp_path)
    for command in ("score", "compare"):
        asked = ("a.wav", "b.wav", "--model", tmp_path, "--fail-under", "bogus:mean:1")
        assert "--fail-under: bogus is not among the metrics of the rows: " in refused(capsys, command, *asked)


def test_names_that_no_row_has_are_refused(stub, tmp_path, capsys):
    output = ("--output", tmp_path / "o.jsonl")
    for command in ("score", "compare"):
        asked = arguments(command, tmp_path)
        assert "--keep: pesq is not among" in refused(capsys, *asked, *output, "--keep", "pesq:1:")
        assert "--fail-under: pesq is not among" in refused(capsys, *asked, "--fail-under", "pesq:mean:1")
    assert "utmos_p_a is not" in refused(capsys, "score", *PATHS, "--fail-under", "utmos_p_a:mean:1")
    assert run(capsys, *arguments("compare", tmp_path), *output, "--keep", "utmos_p_a:0.4:")[0] == 0
