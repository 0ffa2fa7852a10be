"""`urgentmos pairs`: who meets whom, how often, and what is written."""

import itertools
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from urgentmos_jax.cli import main
from urgentmos_jax.data.training_set import Source, read_training_set
from urgentmos_jax.manifests.reading import read_pairs
from urgentmos_jax.manifests.records import Pair, Utterance
from urgentmos_jax.manifests.writing import write_utterances
from urgentmos_jax.metrics import Metric


def manifest(folder: Path, records: list[Utterance]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for record in records:
        (folder / record.audio_path).touch()
    write_utterances(folder / "data.jsonl", records)
    return folder / "data.jsonl"


def clips(count: int, references: int, *, prefix: str = "") -> list[Utterance]:
    random = np.random.default_rng(count)
    return [
        Utterance(f"{prefix}{n:04}", f"{n:04}.wav", 1 + n / 8, f"s{n // references}", f"r{n % references}", {
            "mos_overall": round(float(random.uniform(1, 5)), 4), "utmos": 3.0,
        })
        for n in range(count)
    ]  # fmt: skip


def drawn(source: Path, output: Path, *flags: str) -> list[Pair]:
    assert main(["pairs", str(source), str(output), *flags]) == 0
    return read_pairs(output)[0]


@pytest.mark.slow
def test_five_thousand_clips_appear_equally_often(tmp_path):
    source = manifest(tmp_path, clips(5000, 5000))
    pairs = drawn(source, tmp_path / "data_pairs.jsonl", "--scope", "corpus", "--limit", "100000", "--seed", "3")
    assert len(pairs) == 100_000 == len({frozenset(pair.uids) for pair in pairs})
    first, second = (Counter(pair.uids[side] for pair in pairs) for side in (0, 1))
    both = first + second
    assert len(both) == 5000 and set(both.values()) <= {39, 40, 41}
    # A fair coin says who comes first: of 40 pairs 20 on average, five sigma to either side.
    assert max(abs(first[uid] - second[uid]) for uid in both) < 2 * 5 * np.sqrt(40 / 4)
    assert abs(sum(pair.metrics["mos_overall"] > 0 for pair in pairs) / 1e5 - 0.5) < 0.01
    assert np.mean([pair.metrics["mos_overall"] for pair in pairs]) == pytest.approx(0, abs=0.03)


def test_scopes(tmp_path):
    one = manifest(tmp_path / "one", clips(6, 3, prefix="a"))
    other = manifest(tmp_path / "other", clips(4, 2, prefix="b"))
    found = {}
    for scope in ("reference", "corpus", "any"):
        output = tmp_path / "pairs" / f"{scope}.jsonl"
        assert main(["pairs", str(one), str(other), str(output), "--scope", scope]) == 0
        found[scope] = {frozenset(pair.uids) for pair in read_pairs(output)[0]}
    a, b = ([f"{side}{n:04}" for n in range(count)] for side, count in (("a", 6), ("b", 4)))
    assert found["any"] == set(map(frozenset, itertools.combinations(a + b, 2)))
    assert found["corpus"] == {frozenset(pair) for side in (a, b) for pair in itertools.combinations(side, 2)}
    same = [(a[0], a[3]), (a[1], a[4]), (a[2], a[5]), (b[0], b[2]), (b[1], b[3])]
    assert found["reference"] == set(map(frozenset, same))


def test_what_is_written(tmp_path, capsys):
    records = [*clips(4, 2), Utterance("bare", "bare.wav", 1.0, "s", "r0", {"utmos": 1.0})]
    source = manifest(tmp_path / "corpus", records)
    by_uid = {record.uid: record for record in records}
    output = tmp_path / "corpus" / "data_pairs.jsonl"
    pairs = drawn(source, output, "--scope", "reference", "--both-orders", "--metrics", "mos_overall,utmos")
    assert "4 of 4 pairs of 4 recordings" in (err := capsys.readouterr().err)
    assert "left out, without mos_overall,utmos: 1" in err
    assert len(pairs) == 4
    labels = {pair.uids: pair.metrics for pair in pairs}
    for pair in pairs:
        a, b = (by_uid[uid] for uid in pair.uids)
        assert pair.metrics == {
            "mos_overall": round(a.metrics["mos_overall"] - b.metrics["mos_overall"], 4),
            "utmos": 0,
        }
        assert labels[pair.uids[::-1]]["mos_overall"] == -pair.metrics["mos_overall"]
        assert pair.durations == (a.duration, b.duration) and a.reference_id == b.reference_id
        assert pair.meta["system_ids"] == [a.system_id, b.system_id] and pair.meta["pairing_scope"] == "reference"
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert all(not path.startswith("/") for line in lines for path in line["audio_paths"])
    report = json.loads(Path(f"{output}.meta.json").read_text())
    assert report["seed"] == 0 and report["pairs"] == 4 and list(report["sources"]) == [str(source)]
    # From another folder the recordings are found too, and the trainer reads them.
    elsewhere = tmp_path / "elsewhere" / "data_pairs.jsonl"
    drawn(source, elsewhere, "--scope", "corpus", "--limit", "5")
    metrics = {"mos_overall": Metric(1, 5, True)}
    read = read_training_set([Source("corpus/dev", elsewhere, pairs=True)], metrics)
    assert len(read.pairs) == 5 and not np.isnan(read.cmos).any()


@pytest.mark.parametrize("flags", [(), ("--both-orders",)])
def test_the_number_of_pairs_is_compared_with_the_papers(tmp_path, capsys, flags):
    source = manifest(tmp_path / "nisqa" / "P501", clips(240, 4))
    output = tmp_path / "nisqa" / "P501" / "data_pairs.jsonl"
    drawn(source, output, "--scope", "reference", *flags)
    found = "P501 has 14,160 pairs in the paper (Table 3), both orders counted, at most 100,000; here there are "
    assert f"{found}14,160, as many" in capsys.readouterr().err
    source = manifest(tmp_path / "nisqa" / "P501", clips(239, 4))
    drawn(source, output, "--scope", "reference", *flags)
    assert f"{found}14,042 (-118)" in capsys.readouterr().err
    drawn(source, output, "--scope", "corpus", "--limit", "10")
    assert "Table 3" not in capsys.readouterr().err


def test_the_same_seed_draws_the_same(tmp_path):
    records = clips(40, 8)
    source = manifest(tmp_path, records)
    flags = ("--scope", "corpus", "--limit", "100")
    first = drawn(source, tmp_path / "1.jsonl", *flags)
    lines = source.read_text().splitlines()
    source.write_text("\n".join(lines[::-1]) + "\n")
    assert drawn(source, tmp_path / "2.jsonl", *flags) == first
    assert (tmp_path / "1.jsonl").read_bytes() == (tmp_path / "2.jsonl").read_bytes()
    assert drawn(source, tmp_path / "3.jsonl", *flags, "--seed", "1") != first


def test_what_is_refused(tmp_path, capsys):
    source = manifest(tmp_path / "one", clips(3, 3))
    again = manifest(tmp_path / "two", clips(3, 3))

    def refused(*arguments: str) -> str:
        assert main(["pairs", *arguments]) == 2
        return capsys.readouterr().err

    output = str(tmp_path / "out.jsonl")
    assert "no two recordings share a reference_id; take --scope corpus" in refused(
        str(source), output, "--scope", "reference"
    )
    assert "none of the 3 recordings has x" in refused(str(source), output, "--scope", "any", "--metrics", "x")
    assert "uid '0000' is in" in refused(str(source), str(again), output, "--scope", "any")
    assert "--limit a number above 0" in refused(str(source), output, "--scope", "any", "--limit", "0")
    assert "cannot be read" in refused(str(tmp_path / "gone.jsonl"), output, "--scope", "any")
    (tmp_path / "one" / "0001.wav").unlink()
    assert "data.jsonl:2: audio_path '0001.wav'" in refused(str(source), output, "--scope", "any")
    assert not Path(output).exists()
