"""Checkpoints: written in the background, killed, damaged, full disks, other devices, one run a folder."""

import hashlib
import json
import random
import shutil
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import processes
from urgentmos_jax.training import checkpoints as module
from urgentmos_jax.training.checkpoints import CheckpointError, Checkpoints
from urgentmos_jax.training.mesh import MeshConfig
from urgentmos_jax.training.sharding import Layout

SIZES = {"kilobyte": 8, "megabyte": 256, "40 megabytes": 1800}


def state_of(step: int, width: int) -> dict:
    """Arrays that tell the step they are of."""
    values = np.random.default_rng(0).standard_normal((width, width)).astype(np.float32)
    return {"feed_in": {"kernel": jnp.asarray(values + step)}, "step": jnp.int32(step)}


def abstract(state: dict) -> dict:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state)


def saved(folder: Path, steps: list[int], width: int = 8, keep: int = 9) -> Checkpoints:
    checkpoints = Checkpoints(
        folder, keep=keep, config={"a": 1}, differ=lambda one, other: ["a"] if one != other else []
    )
    for step in steps:
        checkpoints.save(step, state_of(step, width))
    checkpoints.wait()
    return checkpoints


def test_saved_in_the_background_what_was_there_when_it_was_asked_for(tmp_path):
    """The arrays are donated to a computation as soon as `save` returns."""
    checkpoints = Checkpoints(tmp_path, keep=3)
    advance = jax.jit(lambda tree: jax.tree.map(lambda x: x * 3 + 1, tree), donate_argnums=0)
    for step in (1, 2, 3):
        state = state_of(step, 700)
        checkpoints.save(step, state)
        for _ in range(5):
            state = advance(state)
    jax.block_until_ready(state)
    checkpoints.wait()
    for step in (1, 2, 3):
        restored = checkpoints.restore(step, abstract(state_of(0, 700)))
        assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), restored, state_of(step, 700)))


def test_the_newest_are_kept_and_the_best(tmp_path):
    checkpoints = saved(tmp_path, [1, 2, 3], keep=2)
    assert checkpoints.steps() == [2, 3]
    checkpoints.best = 2
    for step in (4, 5, 6):
        checkpoints.save(step, state_of(step, 8))
    checkpoints.wait()
    assert checkpoints.steps() == [2, 5, 6]


@pytest.mark.parametrize("kind", ["empty", "half copied", "missing array", "cut metadata", "no step"])
def test_an_unfinished_newest_step_does_not_count(tmp_path, kind: str, caplog):
    checkpoints, newest = saved(tmp_path, [1, 2]), tmp_path / "3"
    if kind == "empty":
        newest.mkdir()
    elif kind == "no step":
        (tmp_path / "3.orbax-checkpoint-tmp").mkdir()
    else:
        shutil.copytree(tmp_path / "2", newest)
        arrays = sorted(path for path in (newest / "state").rglob("*") if path.is_file())
        if kind == "half copied":
            (newest / "checksums.json").unlink()
        elif kind == "missing array":
            max(arrays, key=lambda path: path.stat().st_size).unlink()
        else:
            victim = next(path for path in arrays if "METADATA" in path.name.upper())
            victim.write_bytes(victim.read_bytes()[:-5])
    restored = checkpoints.restore_newest(abstract(state_of(0, 8)))
    assert int(restored["step"]) == 2
    Checkpoints(tmp_path, keep=9).remove_unfinished()
    if kind in ("empty", "half copied", "no step"):
        assert [path.name for path in sorted(tmp_path.iterdir())] == ["1", "2"]
        assert f"{tmp_path / '3'}" in caplog.text and "resuming from step 2" in caplog.text
    else:
        assert "going back to an older step" in caplog.text and f"{newest}: damaged or missing: state/" in caplog.text


@pytest.mark.slow
@pytest.mark.figures
def test_every_flipped_bit_is_found(tmp_path):
    """Case 18: 100 of 100; plain Orbax finds none."""
    checkpoints, rng = saved(tmp_path, [1, 2], width=40), random.Random(0)
    files = sorted(path for path in (tmp_path / "2").rglob("*") if path.is_file() and path.stat().st_size)
    found = 0
    for trial in range(100):
        victim = files[trial % len(files)]
        whole = victim.read_bytes()
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        victim.write_bytes(damaged)
        restored = checkpoints.restore_newest(abstract(state_of(0, 40)))
        strict = Checkpoints(tmp_path, keep=9, strict=True)
        with pytest.raises(CheckpointError, match=f"{tmp_path / '2'}: damaged or missing: .*remove this step"):
            strict.restore_newest(abstract(state_of(0, 40)))
        found += int(restored["step"]) == 1
        victim.write_bytes(whole)
    print(f"flipped bits found: {found} of 100")
    assert found == 100 and int(checkpoints.restore_newest(abstract(state_of(0, 40)))["step"]) == 2


def test_steps_with_checksums_of_an_earlier_release_are_verified(tmp_path, monkeypatch):
    checkpoints, listed = saved(tmp_path, [1, 2]), tmp_path / "2" / "checksums.json"
    new = json.loads(listed.read_text())
    assert {text.partition(":")[0] for text in new.values()} == {"xxh3_128"}
    old = {name: hashlib.sha256((tmp_path / "2" / name).read_bytes()).hexdigest() for name in new}
    listed.write_text(json.dumps(old, indent=1) + "\n")
    assert int(checkpoints.restore_newest(abstract(state_of(0, 8)))["step"]) == 2
    about = (tmp_path / "2" / "step.json").read_bytes()
    (tmp_path / "2" / "step.json").write_bytes(about + b" ")
    assert int(checkpoints.restore_newest(abstract(state_of(0, 8)))["step"]) == 1
    (tmp_path / "2" / "step.json").write_bytes(about)
    listed.write_text(json.dumps({name: f"md5:{text}" for name, text in old.items()}, indent=1) + "\n")
    assert int(checkpoints.restore_newest(abstract(state_of(0, 8)))["step"]) == 1

    # Without the package of the faster checksums: written with those that are there, refused where they are needed.
    monkeypatch.setattr("urgentmos_jax.training.checkpoints.xxhash", None)
    with pytest.raises(CheckpointError, match=r"xxh3_128 checksums, which need xxhash: pip install"):
        checkpoints.restore(1, abstract(state_of(0, 8)))
    checkpoints.save(3, state_of(3, 8))
    checkpoints.wait()
    assert int(checkpoints.restore_newest(abstract(state_of(0, 8)))["step"]) == 3


@pytest.mark.slow
@pytest.mark.figures
def test_checksums_cost_little_of_a_save(tmp_path, monkeypatch):
    """Under 5 % of it, with 125 MB."""
    hashing, shares = module.hash_files, []

    def measured(*arguments):
        began = time.perf_counter()
        found = hashing(*arguments)
        shares.append(time.perf_counter() - began)
        return found

    monkeypatch.setattr(module, "hash_files", measured)
    checkpoints, state = Checkpoints(tmp_path, keep=1), state_of(1, 5600)
    for step in (1, 2, 3):
        began = time.perf_counter()
        checkpoints.save(step, state)
        checkpoints.wait()
        shares[-1] /= time.perf_counter() - began
    print(f"checksums take {100 * sorted(shares)[1]:.1f} % of a save of 125 MB")
    assert sorted(shares)[1] < 0.05


def test_no_step_that_can_be_read_is_an_error(tmp_path):
    checkpoints = saved(tmp_path, [1, 2])
    for step in ("1", "2"):
        (tmp_path / step / "step.json").write_text("{}")
    with pytest.raises(CheckpointError, match="no step can be read") as error:
        checkpoints.restore_newest(abstract(state_of(0, 8)))
    assert str(tmp_path / "1") in str(error.value) and str(tmp_path / "2") in str(error.value)


def rewrite(folder: Path, **changes) -> None:
    """Changes step.json and its checksum."""
    about = json.loads((folder / "step.json").read_text()) | changes
    (folder / "step.json").write_text(json.dumps(about))
    sums = json.loads((folder / "checksums.json").read_text())
    sums["step.json"] = hashlib.sha256((folder / "step.json").read_bytes()).hexdigest()
    (folder / "checksums.json").write_text(json.dumps(sums, indent=1) + "\n")


def test_what_does_not_fit_is_refused_by_name(tmp_path):
    checkpoints = saved(tmp_path, [1])
    wider = abstract(state_of(0, 9))
    with pytest.raises(CheckpointError, match=r"feed_in\.kernel: 'float32\[8, 8\]', 'float32\[9, 9\]'"):
        checkpoints.restore_newest(wider)
    other = abstract(state_of(0, 8))
    other["feed_in"]["kernel"] = jax.ShapeDtypeStruct(
        (8, 8), jnp.bfloat16, sharding=other["feed_in"]["kernel"].sharding
    )
    with pytest.raises(CheckpointError, match=r"float32\[8, 8\]', 'bfloat16\[8, 8\].*start_from"):
        checkpoints.restore_newest(other)
    more = abstract(state_of(0, 8) | {"scale": jnp.ones(3)})
    with pytest.raises(CheckpointError, match=r"scale: None, 'float32\[3\]'"):
        checkpoints.restore_newest(more)
    changed = Checkpoints(tmp_path, keep=1, config={"a": 2}, differ=lambda one, other: ["a: 1 -> 2"])
    with pytest.raises(CheckpointError, match="a: 1 -> 2"):
        changed.restore_newest(abstract(state_of(0, 8)))
    rewrite(tmp_path / "1", format_version=99, tool_version="7.0")
    with pytest.raises(CheckpointError, match=r"format version 99.*for version 1.*\(7.0\)"):
        checkpoints.restore_newest(abstract(state_of(0, 8)))


def test_other_devices_restore_equal_values(tmp_path):
    """Case 22: from eight devices onto one and back, largest difference 0."""
    shapes = jax.eval_shape(lambda: state_of(0, 64))
    layouts = [
        Layout(MeshConfig(-1, 1, True), jax.devices()[:1]),
        Layout(MeshConfig(-1, 1, True), jax.devices()[:8]),
        Layout(MeshConfig(2, 4, True), jax.devices()[:8]),
    ]
    for place, layout in enumerate(layouts):
        checkpoints = Checkpoints(tmp_path / str(place), keep=1)
        checkpoints.save(5, layout.put(state_of(5, 64)))
        checkpoints.wait()
        for other in layouts:
            wanted = jax.tree.map(
                lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
                shapes,
                other.shardings(shapes),
            )
            restored = checkpoints.restore_newest(wanted)
            assert restored["feed_in"]["kernel"].sharding == wanted["feed_in"]["kernel"].sharding
            assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), restored, state_of(5, 64)))
    assert restored["feed_in"]["kernel"].sharding.spec == jax.sharding.PartitionSpec("data", "model")


def test_space_is_looked_for_before_the_start(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.check_space(state_of(0, 8))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9 - 700, 700))
    with pytest.raises(CheckpointError, match=r"0\.00 GB free, checkpoints of this run need 0\.00 GB; make room"):
        checkpoints.check_space(state_of(0, 8))


def save_beyond(folder: str, limit: int) -> None:
    """Two saves; files may not grow beyond a limit in the second."""
    import resource

    checkpoints = saved(Path(folder), [1], width=256)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        checkpoints.save(2, state_of(2, 256))
        checkpoints.wait()
    except CheckpointError as error:
        print(f"refused: {error}")
        raise SystemExit(1) from None


def test_a_full_disk_is_an_error_and_leaves_what_is_there(tmp_path):
    log, folder = tmp_path / "log", tmp_path / "checkpoints"
    assert processes.run(log, save_beyond, str(folder), 100_000) == 1
    assert f"refused: {folder / '2'}: the checkpoint could not be written" in log.read_text()
    checkpoints = Checkpoints(folder, keep=9)
    checkpoints.remove_unfinished()
    assert checkpoints.steps() == [1]
    checkpoints = Checkpoints(folder, keep=9, config={"a": 1})
    assert int(checkpoints.restore_newest(abstract(state_of(0, 256)))["step"]) == 1


def test_a_failure_in_the_background_is_raised_once(tmp_path):
    checkpoints = saved(tmp_path / "checkpoints", [1])
    shutil.rmtree(tmp_path / "checkpoints")
    (tmp_path / "checkpoints").write_text("no folder")
    with pytest.raises(CheckpointError, match="could not be written"):
        checkpoints.save(2, state_of(2, 8))
        checkpoints.wait()
    checkpoints.check()


def save_for_ever(folder: str, width: int) -> None:
    """Resumes from the newest step and saves step after step."""
    checkpoints = Checkpoints(Path(folder), keep=2)
    checkpoints.remove_unfinished()
    step = max(checkpoints.steps(), default=0)
    while True:
        step += 1
        checkpoints.save(step, state_of(step, width))
        checkpoints.wait()


@pytest.mark.slow
@pytest.mark.figures
@pytest.mark.parametrize("size", SIZES)
def test_killed_while_saving(tmp_path, size: str):
    """Case 17: every restart finds the newest complete step, whole."""
    width, rng, tries = SIZES[size], random.Random(size), 17
    template, survived, unfinished = abstract(state_of(0, width)), 0, 0
    for _ in range(tries):
        before = max(Checkpoints(tmp_path, keep=2).steps(), default=0)
        process = processes.start(tmp_path.parent / "log", save_for_ever, str(tmp_path), width)
        processes.wait_until(lambda before=before: (tmp_path / str(before + 1)).exists())
        time.sleep(rng.uniform(0, {"kilobyte": 0.2, "megabyte": 0.3, "40 megabytes": 1.0}[size]))
        processes.kill(process)
        process.join()
        folders = {path.name for path in tmp_path.iterdir()}
        checkpoints = Checkpoints(tmp_path, keep=2)
        complete = checkpoints.steps()
        unfinished += len(folders) > len(complete)
        if not complete:
            assert before == 0
            survived += 1
            continue
        restored = checkpoints.restore_newest(template)
        whole = jax.tree.map(lambda a, b: bool((a == b).all()), restored, state_of(complete[-1], width))
        survived += jax.tree.all(whole) and complete[-1] >= before
    print(f"killed while saving {size}: {survived} of {tries} restarts at the newest complete step, {unfinished} cut")
    assert survived == tries and unfinished > 0
