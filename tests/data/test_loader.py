"""Batches from watched processes: killed and stuck ones, other numbers of workers and hosts."""

import functools
import os
import signal

import jax
import numpy as np
import pytest

from tests.helpers.corpus import write_corpus
from urgentmos_jax.data import loader as loading
from urgentmos_jax.data.batching import HostRows
from urgentmos_jax.data.loader import DataWorkerLost, LoadedBatches
from urgentmos_jax.data.plan import Plan
from urgentmos_jax.data.reading import BatchReader
from urgentmos_jax.data.training_set import find_source, read_training_set
from urgentmos_jax.metrics import Metric

BATCHES = 30


@pytest.fixture(scope="module")
def reader(tmp_path_factory) -> BatchReader:
    root = tmp_path_factory.mktemp("data")
    write_corpus(root / "one" / "train", [8000 + 300 * i for i in range(11)])
    data = read_training_set([find_source("one/train", root)], {"mos_overall": Metric(1, 5, comparative=True)})
    return BatchReader(Plan(data, scope="corpus", seconds=3.0, max_rows=3, max_seconds=60.0, seed=1), min_samples=400)


def disturbed(reader: BatchReader, disturb) -> list:
    """Uids of all batches; `disturb(index, processes)` is called behind each."""
    batches, found = LoadedBatches(reader, 0, BATCHES, workers=2), []
    try:
        for index, batch in enumerate(batches):
            found.append(batch.uids)
            disturb(index, batches._processes)
    finally:
        batches.close()
    return found


@pytest.mark.slow
def test_a_killed_worker_does_not_change_the_order(reader: BatchReader, caplog):
    killed = []

    def kill(index: int, processes: list) -> None:
        if index in (4, 15):
            killed.append(processes[index % 2].pid)
            os.kill(killed[-1], signal.SIGKILL)

    assert disturbed(reader, kill) == [reader.load(i).uids for i in range(BATCHES)]
    # Batches loaded ahead are used first, so both ends may be told at once.
    assert all(f"{pid} ended by SIGKILL" in caplog.text for pid in killed)
    assert "; started again at batch" in caplog.text


@pytest.mark.slow
def test_a_stuck_worker_is_found_and_replaced(reader: BatchReader, caplog, monkeypatch):
    assert loading.PATIENCE_SECONDS < 30
    monkeypatch.setattr(loading, "PATIENCE_SECONDS", 1.0)
    stopped = []

    def stop(index: int, processes: list) -> None:
        if index == 6:
            stopped.append(processes[0].pid)
            os.kill(stopped[-1], signal.SIGSTOP)

    assert disturbed(reader, stop) == [reader.load(i).uids for i in range(BATCHES)]
    assert "no batch for 1 s; data workers" in caplog.text and str(stopped[0]) in caplog.text


def deadly(load, index: int, **rest):
    if index == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return load(index, **rest)


@pytest.mark.slow
def test_a_batch_that_kills_every_worker_stops_the_run(reader: BatchReader, monkeypatch):
    load = reader.load
    monkeypatch.setattr(reader, "load", functools.partial(deadly, load))
    batches, found = LoadedBatches(reader, 0, BATCHES, workers=1), []
    with pytest.raises(DataWorkerLost, match=r"data worker .*; 4 tries to resume from batch \d failed\. Look at"):
        for batch in batches:
            found.append(batch.uids)
    batches.close()
    # What a process had decoded ahead is lost with it.
    assert 3 <= len(found) <= 5 and found == [load(i).uids for i in range(len(found))]


@pytest.mark.slow
@pytest.mark.parametrize("axis", [2, 4])
def test_hosts_together_hold_the_batches_of_one(reader: BatchReader, axis: int):
    """Resumed at another batch, with another number of workers."""
    start, stop = 4, 12
    wanted = list(LoadedBatches(reader, start, stop, workers=0, rows=HostRows(axis, tuple(range(axis)))))
    positions = [(0, 1), (2, 3)] if axis == 4 else [(0,), (1,)]
    of_hosts = [
        list(LoadedBatches(reader, start, stop, workers=workers, rows=HostRows(axis, mine)))
        for workers, mine in zip((0, 2), positions, strict=True)
    ]
    for whole, *parts in zip(wanted, *of_hosts, strict=True):
        assert all(part.uids == whole.uids for part in parts)
        gathered = jax.tree.map(lambda *rows: np.concatenate(rows), *(part.arrays for part in parts))
        assert jax.tree.structure(gathered) == jax.tree.structure(whole.arrays)
        for found, array in zip(jax.tree.leaves(gathered), jax.tree.leaves(whole.arrays), strict=True):
            assert len(array) % axis == 0
            np.testing.assert_array_equal(found, array)
