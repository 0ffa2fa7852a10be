"""Parts of rows: whole or absent, the missing ones made by the next run; and which input kills a worker."""

import dataclasses
import functools
import os
import pickle
from pathlib import Path
from types import SimpleNamespace

import pytest

from urgentmos_jax.audio.recordings import FilePart, Recording, Stored
from urgentmos_jax.distributed import cluster
from urgentmos_jax.distributed.cluster import PartError, pool_of, run_parts
from urgentmos_jax.distributed.parts import PART_ROWS, PartFolder, PartFormat
from urgentmos_jax.distributed.worker import Job, Tries, packed
from urgentmos_jax.files import InUse
from urgentmos_jax.scoring import loading
from urgentmos_jax.scoring.row_files import OtherRun, read_meta
from urgentmos_jax.scoring.selection import Bounds

ABOUT = {"model": "m", "model_sha256": "12ab", "metrics": ["utmos", "pesq"]}
FAILED = {"code": "empty", "message": "é is empty"}
INPUTS = [(f"u{number}", f"{number}.wav") for number in range(2 * PART_ROWS + 3)]


def row(number: int) -> dict:
    found = {"uid": f"u{number}", "path": f"{number}.wav", "scores": {"utmos": number / 8, "pesq": 0.5}}
    found |= {"duration_s": 2.0, "windows": 1, "bandwidth_hz": None if number == 1 else 7812.5}
    found |= {"flags": ["silent"] if number == 1 else [], "model": "m 12ab", "error": None}
    if number == 2:
        found |= {"scores": None, "duration_s": None, "windows": 0, "bandwidth_hz": None, "error": FAILED}
    return found


def rows_of(part: int) -> list[dict]:
    return [row(number) for number in range(len(INPUTS))][part * PART_ROWS : (part + 1) * PART_ROWS]


def files(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_rows_that_are_written_are_read_again(suffix, tmp_path):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    odd = row(7) | {"path": os.fsdecode(b"\xff.wav"), "uid": "a\nb"}
    rows = [row(1), row(2), odd, row(600)]
    form = PartFormat(suffix, ["utmos", "pesq"])
    form.write(tmp_path, 3, rows)
    found = [one for one, _ in form.read(tmp_path, 3)]
    assert found == [row(1), row(2), odd | {"path": "\\udcff.wav" if suffix == ".parquet" else odd["path"]}, row(600)]
    kept = dataclasses.replace(form, keep=[Bounds("utmos", 2.0)])
    kept.write(tmp_path, 4, rows)
    read = list(kept.read(tmp_path, 4))
    assert [(one["uid"], is_kept) for one, is_kept in read] == [("u600", True)] + [
        (name, False) for name in ("u1", "u2", "a\nb")
    ]
    assert read[1][0]["dropped"] == "utmos is 0.125, under 2" and "é is empty" in read[2][0]["dropped"]
    assert files(tmp_path) == ["dropped-000004.jsonl", f"part-000003{suffix}", f"part-000004{suffix}"]


def test_missing_parts_are_made_by_the_next_run(tmp_path):
    path, form = tmp_path / "rows.jsonl", PartFormat(".jsonl", ["utmos", "pesq"])
    with PartFolder(path) as folder:
        assert folder.begin(ABOUT, INPUTS, form) == [0, 1, 2]
        form.write(folder.part, 1, rows_of(1))
        (folder.part / "part-000002.tries").write_text("{}")
        (folder.part / ".part-000002.jsonl.77.tmp").write_text("{")
        with pytest.raises(InUse, match="is in use"):
            PartFolder(path)
    assert not path.exists()
    for about, inputs, fault in (
        (ABOUT | {"model_sha256": "34cd"}, INPUTS, "12ab"),
        (ABOUT, INPUTS[:-1], "1027 there"),
    ):
        with PartFolder(path, resume=True) as folder, pytest.raises(OtherRun, match=fault):
            folder.begin(about, inputs, form)
    with PartFolder(path, resume=True) as folder:
        assert folder.begin(ABOUT, INPUTS, form) == [0, 2]
        assert files(folder.part) == ["part-000001.jsonl"]
        for part in (2, 0):
            form.write(folder.part, part, rows_of(part))
        (folder.part / "part-000000.tries").write_text("{}")  # Of a worker that was lost once its part was there.
        assert [one for one, _ in folder.rows()] == [row(number) for number in range(len(INPUTS))]
        folder.finish({"rows": len(INPUTS)})
    assert files(tmp_path) == ["rows.jsonl", "rows.jsonl.meta.json"]
    assert "".join(file.read_text() for file in sorted(path.iterdir())).count("\n") == len(INPUTS)
    meta = read_meta(tmp_path / "rows.jsonl.meta.json")
    assert meta["counts"] == {"rows": len(INPUTS)} and meta["inputs"]["count"] == len(INPUTS)
    with PartFolder(path, resume=True) as folder:
        assert folder.begin(ABOUT, INPUTS, form) == [] and folder.left_alone
    # Killed before the last step.
    (tmp_path / "rows.jsonl.meta.json").rename(tmp_path / "rows.jsonl.part.meta.json")
    with PartFolder(path, resume=True) as folder:
        assert folder.begin(ABOUT, INPUTS, form) == []
    with PartFolder(path) as folder:  # Anew: the old one stands until the new one is whole.
        assert folder.begin(ABOUT, INPUTS[:1], form) == [0] and len(files(path)) == 3
        form.write(folder.part, 0, rows_of(0)[:1])
        folder.finish({"rows": 1})
    assert files(path) == ["part-000000.jsonl"]


def test_only_parts_are_replaced(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OSError, match=r"other files than parts \(notes.txt\)"):
        PartFolder(tmp_path)
    with pytest.raises(OSError, match="it is a file"):
        PartFolder(tmp_path / "notes.txt")
    assert files(tmp_path) == ["notes.txt"]


def test_the_input_that_kills_is_found_by_the_third_time(tmp_path):
    """A worker dies whenever it comes to input 37; another one dies once, at 70, for other reasons."""
    file, attempts, lost = tmp_path / "part-000000.tries", [], {70}
    dead = True
    while dead:
        tries, dead = Tries(file, 100), False
        attempts.append([])
        for group in tries.groups():
            attempts[-1].append(group)
            dead = 37 in group and tries.kills(37) < 3
            if not dead and lost & set(group):
                dead, lost = True, set()
            if dead:
                break
    assert [index for group in attempts[-1] for index in group] == list(range(100))
    assert len(attempts) == 5 and [tries.kills(index) >= 3 for index in range(100)] == [i == 37 for i in range(100)]
    assert attempts[0] == [range(100)] and attempts[1] == [range(16), range(16, 32), range(32, 48)]
    assert attempts[2][-1] == attempts[-1][7] == range(37, 38) and range(80, 96) in attempts[-1]
    tries.forget()
    assert [*Tries(tmp_path / "part-000000.tries", 5).groups()] == [range(5)]


@pytest.fixture
def ray_here(monkeypatch):
    """What is asked of Ray, within this process."""

    class Data:
        def __init__(self, rows):
            self.rows = rows

        def map(self, worker, *, fn_constructor_args, **_):
            return Data(map(worker(*fn_constructor_args), self.rows))

        def iter_rows(self):
            return iter(self.rows)

    data = SimpleNamespace(
        DataContext=SimpleNamespace(get_current=SimpleNamespace),
        ActorPoolStrategy=lambda **_: None,
        from_items=lambda rows, **_: Data(rows),
    )
    nodes = [{"Resources": {"CPU": 2.0}, "Alive": True}, {"Resources": {"GPU": 1.0}, "Alive": False}]
    monkeypatch.setattr(cluster, "import_ray", lambda: SimpleNamespace(data=data, nodes=lambda: nodes))
    monkeypatch.setenv("PJRT_NPROC", "2")


def test_what_a_worker_cannot_do_is_told(ray_here, model_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "load_model", functools.cache(loading.load_model))
    form = PartFormat(".jsonl", ["mos_overall"])
    parts = {0: [("a", str(tmp_path / "a.wav")), ("b", "b.wav")]}
    job = Job(tmp_path, form, model=str(tmp_path / "absent"), name="m")
    with pytest.raises(ConnectionError, match=r"a worker cannot load the model: .*absent"):
        list(run_parts(job, parts))
    job = dataclasses.replace(job, model=str(model_folder), folder=tmp_path / "of_another_machine")
    with pytest.raises(PartError, match=r"all machines must see the folder .*of_another_machine"):
        list(run_parts(job, parts))
    (told,) = run_parts(dataclasses.replace(job, folder=tmp_path), parts)
    assert told["number"] == 0 and told["rows"] == 2
    assert [row["error"]["code"] for row, _ in form.read(tmp_path, 0)] == ["missing", "missing"]
    assert files(tmp_path) == ["part-000000.jsonl"]


def test_workers_find_recordings_from_another_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = [
        "a.wav",
        Recording("b.tar/c.wav", FilePart("b.tar", 512, 9)),
        Stored("d.parquet#1", "d.parquet", 1, Path("x")),
    ]
    given.append(Recording("e.wav#t=1,2", "e.wav", 1.0, 1.0))
    found = pickle.loads(packed([(str(index), one) for index, one in enumerate(given)]))
    assert [one.path for _, one in found] == ["a.wav", "b.tar/c.wav", "d.parquet#1", "e.wav#t=1,2"]
    a, b, d, e = (one for _, one in found)
    places = [a.source, b.source.path, d.container, str(d.audio_root), e.source]
    assert places == [str(tmp_path / name) for name in ("a.wav", "b.tar", "d.parquet", "x", "e.wav")]
    assert (b.source.start, b.source.size, d.number, e.start_s) == (512, 9, 1, 1.0)


@pytest.mark.parametrize(
    ("nodes", "count", "wanted"),
    [
        ([{"CPU": 2}], 1, {"num_cpus": 2}),
        ([{"CPU": 64}, {"CPU": 10}], 18, {"num_cpus": 4}),
        ([{"CPU": 4}, {"CPU": 32, "GPU": 8}], 8, {"num_gpus": 1, "num_cpus": 1}),
        ([{"CPU": 100, "TPU": 4}] * 2, 8, {"resources": {"TPU": 1}, "num_cpus": 1}),
        ([{"memory": 5}], 0, {"num_cpus": 4}),
    ],
)
def test_one_worker_an_accelerator_or_a_group_of_cores(nodes, count, wanted):
    assert pool_of(nodes) == (count, wanted)
