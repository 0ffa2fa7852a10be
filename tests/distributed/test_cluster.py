"""A cluster of this machine: a worker that is lost, a recording that kills each, and the rows of the plain command."""

import io
import json
import tarfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from tests.helpers.corpus import speech_like
from urgentmos_jax.cli import main
from urgentmos_jax.distributed import cluster, parts

KILLS_ALWAYS, KILLS_ONCE = 4321, 5432

# Runs in each worker at its start, as it lies on its path.
CUSTOMIZED = f"""
import os, signal
import soundfile

def opened(self, *arguments, open=soundfile.SoundFile.__init__, **options):
    open(self, *arguments, **options)
    once = self.frames == {KILLS_ONCE} and not os.path.exists({{mark!r}})
    if once:
        os.mkdir({{mark!r}})
    if once or self.frames == {KILLS_ALWAYS}:
        os.kill(os.getpid(), signal.SIGKILL)

if os.environ.get("RAY_RAYLET_PID") or "ray" in os.environ.get("PYTHONPATH", ""):
    soundfile.SoundFile.__init__ = opened
"""


def wav(seed: int, samples: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, speech_like(seed, samples), 16000, format="WAV")
    return file.getvalue()


def write_inputs(folder: Path) -> list[str]:
    """60 recordings: a list that repeats files, a tar shard, a Parquet file. One kills its worker, one does so once."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    lengths = np.random.default_rng(0).integers(1600, 4000, 8)
    clips = [wav(seed, int(samples)) for seed, samples in enumerate(lengths)]
    for index, clip in enumerate(clips):
        (folder / f"{index}.wav").write_bytes(clip)
    (folder / "bad.wav").write_bytes(wav(9, KILLS_ALWAYS))
    (folder / "once.wav").write_bytes(wav(10, KILLS_ONCE))
    paths = [f"{index % 8}.wav" for index in range(36)]
    paths[25], paths[3], paths[4] = "bad.wav", "once.wav", "absent.wav"
    (folder / "list.txt").write_text("\n".join(paths))
    with tarfile.open(folder / "shard.tar", "w") as shard:
        for index, clip in enumerate(clips):
            member = tarfile.TarInfo(f"key{index}.wav")
            member.size = len(clip)
            shard.addfile(member, io.BytesIO(clip))
    pq.write_table(pa.table({"audio": clips * 2}), folder / "table.parquet")
    return ["list.txt", "shard.tar", "table.parquet"]


@pytest.mark.slow
def test_rows_of_a_cluster_with_lost_workers(model_folder, tmp_path, monkeypatch, capfd):
    pytest.importorskip("ray")
    inputs, site = write_inputs(tmp_path), tmp_path / "ray-site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(CUSTOMIZED.format(mark=str(tmp_path / "killed")))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cluster, "GROUP_CORES", 1)
    monkeypatch.setattr(parts, "PART_ROWS", 20)
    model = ["--model", str(model_folder)]
    assert main(["score", *inputs, *model, "--output", "plain.jsonl"]) == 1
    plain = [json.loads(line) for line in Path("plain.jsonl").read_text().splitlines()]
    with monkeypatch.context() as patched:
        patched.setenv("PYTHONPATH", f"{site}:{Path(__file__).parents[2]}")
        assert main(["score", *inputs, *model, "--output", "rows.jsonl", "--ray"]) == 1
    files = sorted(Path("rows.jsonl").iterdir())
    assert [file.name for file in files] == [f"part-{number:06d}.jsonl" for number in range(3)]
    rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    assert Path("killed").is_dir() and len(rows) == len(plain) == 60
    assert rows[25]["error"]["code"] == "crashed" and "killed its worker 3 times" in rows[25]["error"]["message"]
    for index, (row, one) in enumerate(zip(rows, plain, strict=True)):
        if index == 25:
            assert row["path"] == one["path"] == "bad.wav" and row["scores"] is None
            continue
        scores, wanted = row.pop("scores"), one.pop("scores")
        assert row == one
        assert scores == (wanted and pytest.approx(wanted, abs=1e-4))
    meta = json.loads(Path("rows.jsonl.meta.json").read_text())
    assert meta["counts"]["error:crashed"] == meta["counts"]["error:missing"] == 1
    assert "60 rows, 58 done, 2 failed" in capfd.readouterr().err

    # As tables, with bounds and a gate; finished parts are kept.
    given = [
        "score",
        *inputs,
        *model,
        "--output",
        "rows.parquet",
        "--ray",
        "--shard",
        "3/3",
        "--keep",
        "mos_overall:9:",
    ]
    assert main([*given, "--fail-under", "mos_overall:mean:9"]) == 3
    assert "0 kept, 20 in rows.parquet/dropped-*.jsonl" in capfd.readouterr().err
    counts = json.loads(Path("rows.parquet.meta.json").read_text())["counts"]
    assert (counts["kept"], counts["dropped"]) == (0, 20)
    assert main([*given, "--resume"]) == 0 and "finished before, left alone" in capfd.readouterr().err


def write_many(folder: Path) -> list[str]:
    """2,000 recordings, in four Parquet files and four tar shards; number 700 kills its worker, 1300 does so once."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    lengths = np.random.default_rng(1).integers(6400, 32000, 24)
    clips = [wav(seed, int(samples)) for seed, samples in enumerate(lengths)]
    contents = [clips[index % 24] for index in range(2000)]
    contents[700], contents[1300] = wav(30, KILLS_ALWAYS), wav(31, KILLS_ONCE)
    for number in range(4):
        pq.write_table(pa.table({"audio": contents[250 * number : 250 * number + 250]}), folder / f"{number}.parquet")
    for number in range(4, 8):
        with tarfile.open(folder / f"{number}.tar", "w") as shard:
            for index in range(250 * number, 250 * number + 250):
                member = tarfile.TarInfo(f"key{index}.wav")
                member.size = len(contents[index])
                shard.addfile(member, io.BytesIO(contents[index]))
    return [f"{number}.parquet" for number in range(4)] + [f"{number}.tar" for number in range(4, 8)]


@pytest.mark.long
@pytest.mark.slow
def test_2000_recordings_of_tables_and_archives(model_folder, tmp_path, monkeypatch, capfd):
    """Two workers; one is killed once, one recording kills each."""
    pytest.importorskip("ray")
    inputs, site = write_many(tmp_path), tmp_path / "ray-site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(CUSTOMIZED.format(mark=str(tmp_path / "killed")))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cluster, "GROUP_CORES", 1)
    model = ["--model", str(model_folder)]
    assert main(["score", *inputs, *model, "--output", "plain.jsonl"]) == 0
    plain = [json.loads(line) for line in Path("plain.jsonl").read_text().splitlines()]
    with monkeypatch.context() as patched:
        patched.setenv("PYTHONPATH", f"{site}:{Path(__file__).parents[2]}")
        assert main(["score", *inputs, *model, "--output", "rows.jsonl", "--ray"]) == 1
    rows = [json.loads(line) for file in sorted(Path("rows.jsonl").iterdir()) for line in file.read_text().splitlines()]
    assert Path("killed").is_dir() and len(rows) == len(plain) == 2000
    assert [row["path"] for row in rows] == [row["path"] for row in plain]
    assert rows[700]["error"]["code"] == "crashed" and rows[700]["scores"] is None
    differences = []
    for row, one in zip(rows[:700] + rows[701:], plain[:700] + plain[701:], strict=True):
        scores, wanted = row.pop("scores"), one.pop("scores")
        assert row == one and scores.keys() == wanted.keys()
        differences += [abs(scores[name] - wanted[name]) for name in wanted]
    assert max(differences) <= 1e-4
    assert "2000 rows, 1999 done, 1 failed" in capfd.readouterr().err
    print(f"2,000 recordings: scores differ by {max(differences):.1e} at most")


def test_a_cluster_that_does_not_start_is_told(monkeypatch):
    def start(**_) -> None:
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(cluster, "import_ray", lambda: SimpleNamespace(init=start))
    text = "Ray did not start, or cannot be reached: The current node timed out"
    with pytest.raises(ConnectionError, match=text), cluster.connected(None):
        pass


@pytest.mark.slow
def test_no_cluster_at_the_address(model_folder, tmp_path, capfd):
    pytest.importorskip("ray")
    (tmp_path / "a.wav").write_bytes(wav(0, 4000))
    given = [str(tmp_path), "--model", str(model_folder), "--output", str(tmp_path / "rows.jsonl"), "--ray"]
    assert main(["score", *given, "--ray-address", "127.0.0.1:1"]) == 2
    assert "--ray-address 127.0.0.1:1: " in capfd.readouterr().err
    assert not (tmp_path / "rows.jsonl").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--ray"], "give an --output that ends in .jsonl or .parquet"),
        (["--ray", "--output", "rows.csv"], "give an --output that ends in .jsonl or .parquet"),
        (["--ray", "--output", "rows.parquet", "--frames"], "tables have no place for frames"),
        (["--ray", "--output", "rows.jsonl", "--report", "r.html"], "--report: not with --ray"),
        (["--ray-address", "auto"], "--ray-address: give --ray too"),
    ],
)
def test_what_does_not_go_with_ray(flags, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["score", "a.wav", "--model", "m", *flags]) == 2 and message in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_without_ray_the_extra_is_named(monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    assert main(["score", "a.wav", "--model", "m", "--ray", "--output", "rows.jsonl"]) == 2
    assert 'ray is missing: pip install "urgentmos_jax[ray]"' in capsys.readouterr().err
