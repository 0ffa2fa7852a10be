"""Batches across requests: who shares one, how long one waits, who is dropped, how it ends."""

import io
import threading
import time

import pytest

from tests.helpers.serving import Levels, recording
from urgentmos_jax.serving.batcher import Batcher, Job, Options
from urgentmos_jax.serving.limits import Limits, Refused
from urgentmos_jax.serving.recordings import Recording, TooLong


def job(uid: str, seconds: float = 1.0, **options) -> Job:
    one = Recording(uid, io.BytesIO(recording(1, round(16000 * seconds))))
    return Job([one], Options(**options), one.load(60))


def started(model: Levels, **limits) -> Batcher:
    batcher = Batcher(model, Limits(**limits))
    batcher.start()
    return batcher


def test_what_waits_is_computed_together_oldest_first():
    model = Levels(batch_seconds=2)  # 4 s are taken at a time.
    batcher = started(model, delay_seconds=0)
    model.free.clear()
    jobs = [job("first")]
    batcher.submit(jobs[0])
    assert model.busy.wait(10)
    jobs += [job(str(number), seconds) for number, seconds in enumerate((1, 1.5, 1, 2, 0.5, 5, 1))]
    for one in jobs[1:]:
        batcher.submit(one)
    assert batcher.waiting == (7, 12)
    model.free.set()
    batcher.stop()
    assert [one.rows.result(0)[0]["uid"] for one in jobs] == ["first", *"0123456"]
    assert model.batches == [["first"], ["0", "1", "2"], ["3", "4"], ["5"], ["6"]]
    assert batcher.waiting == (0, 0)


def test_the_first_waits_for_others_within_the_delay():
    model = Levels()
    batcher = started(model, delay_seconds=1)
    jobs = [job(str(number)) for number in range(3)]
    for one in jobs:
        batcher.submit(one)
        time.sleep(0.02)
    for one in jobs:
        one.rows.result(10)
    assert len(model.batches) == 1 and time.monotonic() - jobs[0].arrived >= 1
    batcher.stop()


def test_nobody_is_waited_for_once_there_is_enough():
    batcher = started(Levels(batch_seconds=0.5), delay_seconds=60)
    jobs = [job("a", 0.5), job("b", 0.5)]
    for one in jobs:
        batcher.submit(one)
    assert [one.rows.result(20)[0]["uid"] for one in jobs] == ["a", "b"]
    batcher.stop()


def test_unlike_options_are_computed_apart():
    model = Levels()
    batcher = started(model, delay_seconds=0.2)
    jobs = [job("a"), job("b", frames=True), job("c", metrics=("level",)), job("d")]
    for one in jobs:
        batcher.submit(one)
    rows = [one.rows.result(10)[0] for one in jobs]
    batcher.stop()
    assert sorted(model.batches) == [["a", "d"], ["b"], ["c"]]
    assert rows[2]["scores"].keys() == {"level"}


def test_one_that_fails_is_computed_apart():
    model = Levels()
    model.poison = "1"
    batcher = started(model, delay_seconds=0.2)
    jobs = [job(str(number)) for number in range(3)]
    for one in jobs:
        batcher.submit(one)
    assert [jobs[number].rows.result(10)[0]["uid"] for number in (0, 2)] == ["0", "2"]
    with pytest.raises(RuntimeError, match="poisonous"):
        jobs[1].rows.result(10)
    batcher.stop()


def test_a_job_is_dropped_while_it_waits():
    model = Levels()
    batcher = started(model, delay_seconds=0.1)
    alone = job("alone")
    batcher.submit(alone)
    batcher.drop(alone)
    batcher.drop(alone)
    assert batcher.waiting == (0, 0)
    time.sleep(0.2)
    model.free.clear()
    computed, waiting = job("computed"), job("waiting")
    batcher.submit(computed)
    assert model.busy.wait(10)
    batcher.submit(waiting)
    batcher.drop(computed)  # Too late, it is in the model.
    batcher.drop(waiting)
    model.free.set()
    assert computed.rows.result(10)[0]["uid"] == "computed"
    batcher.stop()
    assert model.batches == [["computed"]] and waiting.rows.cancelled()


def test_the_end_computes_what_waits_and_lets_nobody_in():
    model = Levels()
    batcher = started(model, delay_seconds=30)
    jobs = [job("a"), job("b")]
    for one in jobs:
        batcher.submit(one)
    stopping = threading.Thread(target=batcher.stop)
    stopping.start()
    assert [one.rows.result(10)[0]["uid"] for one in jobs] == ["a", "b"]
    stopping.join(10)
    with pytest.raises(Refused, match="being stopped") as refused:
        batcher.submit(job("c"))
    assert refused.value.status == 503


def test_a_recording_is_decoded_as_far_as_it_may_be():
    one = Recording("a", io.BytesIO(recording(1, 160000)))
    with pytest.raises(TooLong):
        one.load(5)
    assert one.duration_s < 7
    bad = Recording("b", io.BytesIO(b"nothing"))
    assert bad.load(5) == 0
    for _ in range(2):
        with pytest.raises(ValueError, match="b: "):
            list(bad)
