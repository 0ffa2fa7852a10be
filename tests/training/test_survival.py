"""Runs that are killed, interrupted or lose a host: `pytest -m figures -n 0 -rP` prints the figures."""

import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import processes
from tests.helpers.corpus import write_corpus
from urgentmos_jax.training.checkpoints import Checkpoints
from urgentmos_jax.training.topology import HEARTBEAT_SECONDS

pytestmark = pytest.mark.slow

UPDATES, SAVE_EVERY = 24, 4
CHANGES = {"updates": UPDATES, "save_every": SAVE_EVERY, "log_every": 2, "keep": 3, "data.valid": ()}
HOSTS = {
    "updates": 50,
    "save_every": 25,
    "validate_every": 50,
    "log_every": 5,
    "optimizer.learning_rate": 3e-5,
    "batch.seconds": 6.0,
    "batch.clips": 6,
}

SHORT = HOSTS | {"updates": 3, "data.valid": ()}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data")
    # Of one bucket: few shapes to compile, time and again.
    write_corpus(root / "mine" / "train", [8000 + 450 * i for i in range(17)])
    write_corpus(root / "mine" / "dev", [9000, 9500, 10000, 11000, 12000], seed=99)
    return root


def arrays(workdir: Path) -> dict[str, bytes]:
    """All arrays of the newest checkpoint: parameters, optimizer, counters."""
    from orbax.checkpoint import v1 as ocp

    newest = Checkpoints(workdir / "checkpoints", keep=9).steps()[-1]
    found = ocp.load(workdir / "checkpoints" / str(newest) / "state")
    return {name: np.asarray(x).tobytes() for name, x in found.items()}


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    assert processes.run(folder / "log", processes.train, str(folder / "run"), str(data), CHANGES) == 0
    return folder / "run"


def same(workdir: Path, whole: Path) -> None:
    one, other = arrays(workdir), arrays(whole)
    assert one.keys() == other.keys() and [name for name in one if one[name] != other[name]] == []
    found, wanted = processes.figures(workdir), processes.figures(whole)
    assert list(found) == list(range(1, UPDATES + 1))
    assert [(x["batch"], x["loss"]) for x in found.values()] == [(x["batch"], x["loss"]) for x in wanted.values()]


@pytest.mark.figures
@pytest.mark.long
def test_killed_at_ten_random_updates(whole: Path, data: Path, tmp_path):
    """Case 24, SIGKILL: the bits of the run that was not killed, and no more lost than an interval and a save."""
    rng, lost = random.Random(1), []
    at = sorted(rng.sample(range(2, UPDATES), 10))
    for update in at:
        args = (str(tmp_path / "run"), str(data), CHANGES, update, signal.SIGKILL)
        assert processes.run(tmp_path / "log", processes.train, *args) == -signal.SIGKILL
        lost.append(update - max(Checkpoints(tmp_path / "run" / "checkpoints", keep=9).steps(), default=0))
    assert processes.run(tmp_path / "log", processes.train, str(tmp_path / "run"), str(data), CHANGES) == 0
    same(tmp_path / "run", whole)
    print(f"killed at {at}: bits equal; updates lost {np.mean(lost):.1f} on average, at most {max(lost)}")
    assert max(lost) <= 2 * SAVE_EVERY


@pytest.mark.figures
@pytest.mark.long
def test_interrupted_at_random_updates(whole: Path, data: Path, tmp_path):
    """Case 24, SIGTERM: saved and ended within 30 s, status 143, nothing lost."""
    rng, seconds = random.Random(2), []
    reached = 0
    for update in sorted(rng.sample(range(2, UPDATES - 4), 10)):
        workdir = tmp_path / "run"
        if update <= reached:
            continue
        args = (str(workdir), str(data), CHANGES | {"log_every": 1}, 0, 0, 0.2)
        process = processes.start(tmp_path / "log", processes.train, *args)
        processes.wait_until(
            lambda workdir=workdir, update=update: (
                (workdir / "metrics.jsonl").exists() and max(processes.figures(workdir), default=0) >= update
            ),
            300,
        )
        processes.kill(process, signal.SIGTERM)
        sent = time.monotonic()
        process.join(60)
        seconds.append(time.monotonic() - sent)
        assert process.exitcode == 143
        reached = max(processes.figures(workdir))
        assert Checkpoints(workdir / "checkpoints", keep=9).steps()[-1] == reached >= update
        assert f"update {reached} of {UPDATES} is saved" in (tmp_path / "log").read_text()
    assert processes.run(tmp_path / "log", processes.train, str(tmp_path / "run"), str(data), CHANGES) == 0
    same(tmp_path / "run", whole)
    print(f"SIGTERM to exit: {', '.join(f'{s:.1f} s' for s in seconds)}; bits equal")
    assert max(seconds) < 30


def full_at(update: int, workdir: str, data: str) -> None:
    """A run whose files cannot grow any more from an update on."""
    import resource
    import sys

    from urgentmos_jax.training import logs

    # The log of the tracebacks would reach the limit first.
    sys.stdout = open(f"{workdir}.outcome", "w")  # noqa: SIM115

    add = logs.RunLog.add

    def limited(self, at: int, *rest) -> None:
        add(self, at, *rest)
        if at == update:
            time.sleep(2)  # The save before is done.
            resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))

    logs.RunLog.add = limited
    processes.train(workdir, data, CHANGES)


@pytest.mark.parametrize("update", [pytest.param(5, marks=pytest.mark.long), UPDATES - 1])
def test_a_disk_that_fills_up_is_an_error_within_an_interval(whole: Path, data: Path, tmp_path, update: int):
    """Case 20, also in the last save; what was there is resumed."""
    log, workdir = tmp_path / "log", tmp_path / "run"
    assert processes.run(log, full_at, update, str(workdir), str(data)) == 1
    at = -(-(update + 1) // SAVE_EVERY) * SAVE_EVERY
    assert (
        f"stopped: CheckpointError: {workdir / 'checkpoints' / str(at)}: the checkpoint could not"
        in (tmp_path / "run.outcome").read_text()
    )
    assert Checkpoints(workdir / "checkpoints", keep=9).steps()[-1] == at - SAVE_EVERY
    assert max(processes.figures(workdir)) <= at + SAVE_EVERY
    assert processes.run(log, processes.train, str(workdir), str(data), CHANGES) == 0
    same(workdir, whole)


def start_hosts(count: int, folder: Path, data: Path, changes: list[dict] | dict, workdir: str = "run") -> list:
    """A run on several hosts, each a process."""
    address = f"localhost:{processes.free_port()}"
    started = []
    for host in range(count):
        mine = changes if isinstance(changes, dict) else changes[host]
        args = (str(folder / workdir), str(data), mine)
        started.append(processes.start(folder / f"log{host}", _host, args, address, count, host))
    return started


def _host(args: tuple, address: str, count: int, host: int) -> None:
    processes.train(*args, coordinator=address, hosts=count, host=host)


def ended(started: list, seconds: float) -> list[int | None]:
    end = time.monotonic() + seconds
    for process in started:
        process.join(max(0.0, end - time.monotonic()))
    codes = [process.exitcode for process in started]
    for process in started:
        if process.exitcode is None:
            processes.kill(process)
    return codes


@pytest.fixture(scope="module")
def early(data: Path, tmp_path_factory) -> tuple:
    """The first of two hosts, which waits for the second while other tests run, for five minutes at most."""
    folder, address = tmp_path_factory.mktemp("early"), f"localhost:{processes.free_port()}"
    args = (str(folder / "run"), str(data), SHORT)
    return folder, address, processes.start(folder / "log0", _host, args, address, 2, 0), time.monotonic()


@pytest.fixture(scope="module")
def one_host(data: Path, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("one")
    assert processes.run(folder / "log", processes.train, str(folder / "run"), str(data), HOSTS) == 0
    return folder / "run"


@pytest.mark.figures
@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.long)])
def test_several_hosts_train_as_one(one_host: Path, data: Path, tmp_path, count: int):
    """Case 28: the same clips in each update, losses within 1e-5, the same validation of an odd number of clips."""
    codes = ended(start_hosts(count, tmp_path, data, HOSTS), 500)
    assert codes == [0] * count, (tmp_path / "log0").read_text()[-3000:]
    found, wanted = processes.figures(tmp_path / "run"), processes.figures(one_host)
    assert len(found) == 50 and {x["batch"] for x in found.values()} != {found[1]["batch"]}
    assert [x["batch"] for x in found.values()] == [x["batch"] for x in wanted.values()]
    differences = [abs(found[i]["loss"] / wanted[i]["loss"] - 1) for i in wanted]
    print(f"{count} hosts against one: largest relative difference of a loss in 50 updates {max(differences):.1e}")
    assert max(differences) < 1e-5
    tables = [processes.figures(workdir, "valid") for workdir in (tmp_path / "run", one_host)]
    assert list(tables[0]) == [50] and tables[0].keys() == tables[1].keys()
    for update, values in tables[1].items():
        assert values.pop("kind") == tables[0][update].pop("kind") and values["mine/dev/mos_overall/n"] == 5
        assert tables[0][update] == pytest.approx(values, rel=1e-4, abs=1e-5)


def test_a_run_resumes_with_another_number_of_hosts(one_host: Path, data: Path, tmp_path):
    changes = HOSTS | {"validate_every": 1000, "save_every": 10}
    args = (str(tmp_path / "run"), str(data), changes, 30, signal.SIGKILL)
    assert processes.run(tmp_path / "log", processes.train, *args) == -signal.SIGKILL
    step = Checkpoints(tmp_path / "run" / "checkpoints", keep=9).steps()[-1]
    codes = ended(start_hosts(2, tmp_path, data, changes), 500)
    assert codes == [0, 0], (tmp_path / "log0").read_text()[-3000:]
    assert f"resuming from update {step} of 50" in (tmp_path / "log0").read_text()
    found, wanted = processes.figures(tmp_path / "run"), processes.figures(one_host)
    assert [x["batch"] for x in found.values()] == [x["batch"] for x in wanted.values()]
    assert [x["loss"] for x in found.values()] == pytest.approx([x["loss"] for x in wanted.values()], rel=1e-5)


def reached(folder: Path, update: int) -> bool:
    file = folder / "run" / "metrics.jsonl"
    return file.exists() and max(processes.figures(folder / "run"), default=0) >= update


LONG = HOSTS | {"updates": 100_000, "epochs": 0.0, "save_every": 10, "validate_every": 10**6, "data.valid": ()}


@pytest.mark.figures
@pytest.mark.parametrize("lost", [pytest.param(1, marks=pytest.mark.long), 0])
@pytest.mark.usefixtures("early")
def test_a_lost_host_ends_the_run(data: Path, tmp_path, lost: int):
    """Case 27, worker and coordinator: the other ends non-zero, no half checkpoint counts, the run resumes after."""
    started = start_hosts(2, tmp_path, data, LONG)
    processes.wait_until(lambda: reached(tmp_path, 25), 300)
    processes.kill(started[lost])
    began = time.monotonic()
    codes = ended(started, HEARTBEAT_SECONDS + 10)
    seconds = time.monotonic() - began
    assert codes[1 - lost] not in (None, 0)
    print(f"host {lost} lost: the other ended after {seconds:.1f} s with status {codes[1 - lost]}")
    steps = Checkpoints(tmp_path / "run" / "checkpoints", keep=9).steps()
    assert steps and steps[-1] >= 20
    done = steps[-1] + 10
    args = (str(tmp_path / "run"), str(data), LONG, done, signal.SIGTERM)
    assert processes.run(tmp_path / "log", processes.train, *args) == 143
    assert f"resuming from update {steps[-1]}" in (tmp_path / "log").read_text()
    assert list(processes.figures(tmp_path / "run")) == list(range(1, done + 1))


def test_sigterm_to_one_host_ends_all_behind_a_checkpoint(data: Path, tmp_path):
    started = start_hosts(2, tmp_path, data, LONG)
    processes.wait_until(lambda: reached(tmp_path, 15), 300)
    processes.kill(started[1], signal.SIGTERM)
    assert ended(started, 200) == [143, 143], [(tmp_path / f"log{i}").read_text()[-2000:] for i in (0, 1)]
    last = max(processes.figures(tmp_path / "run"))
    assert Checkpoints(tmp_path / "run" / "checkpoints", keep=9).steps()[-1] == last


def test_hosts_with_unlike_configs_or_data_say_so(data: Path, tmp_path):
    """Case 27: another config is found before the first update, on both hosts."""
    started = start_hosts(2, tmp_path, data, [LONG, LONG | {"optimizer.learning_rate": 1e-4}])
    assert ended(started, 200) == [1, 1]
    for host in (0, 1):
        text = (tmp_path / f"log{host}").read_text()
        assert "the configs of host 1 from host 0 (optimizer.learning_rate: 3e-05 -> 0.0001) differ" in text
    assert not (tmp_path / "run").exists()


@pytest.mark.long
def test_a_late_host_is_waited_for(early: tuple, data: Path):
    """Case 27: the others wait for one that starts a minute late."""
    folder, address, first, began = early
    time.sleep(max(0.0, 60 - (time.monotonic() - began)))
    second = processes.start(folder / "log1", _host, (str(folder / "run"), str(data), SHORT), address, 2, 1)
    assert ended([first, second], 300) == [0, 0]
    assert list(processes.figures(folder / "run")) == [1, 2, 3]
