"""Damaged files, by fixed seeds: no crash, no hang, no score of damaged samples without a flag where it can be seen.

`python -m tests.fuzz` prints the same numbers.
"""

import math
import os
import signal
import time
from pathlib import Path

import jax
import pytest

from tests.fuzz import seeds
from tests.fuzz.isolated import Result, run
from tests.fuzz.mutations import mutated
from tests.fuzz.targets import Target
from urgentmos_jax.scoring.model import Model
from urgentmos_jax.weights.model_folder import load_folder


def read_badly(path: Path) -> tuple[str, int]:
    """Dies, hangs, takes memory, and raises what it should not."""
    match len(path.read_bytes()) % 5 if path.read_bytes() != b"seed" else 4:
        case 0:
            os.kill(os.getpid(), signal.SIGSEGV)
        case 1:
            time.sleep(60)
        case 2:
            return "read", len(bytearray(2**29))
        case 3:
            raise ValueError("not ours")
    return "read", 0


BAD = Target(lambda: {"one": b"seed"}, ".bin", read_badly)


@pytest.mark.slow
def test_what_must_not_be_is_found():
    lengths = [len(mutated(BAD.seeds(), "one", number)) % 5 for number in range(7)]
    result = run("tests.fuzz.test_mutations:BAD", 7, seconds=1.5)
    assert len(result.findings) == sum(length < 4 for length in lengths) and set(lengths) >= {0, 1, 2, 3}
    for length, text in enumerate(("crash", "crash", "MemoryError", "not ours")):
        number = lengths.index(length)
        assert any(f"one {number}: " in finding and text in finding for finding in result.findings)
    assert sum(result.outcomes["one"].values()) == 7


@pytest.fixture(scope="module")
def damaged_audio() -> Result:
    return run("audio", 2000)


@pytest.mark.slow
@pytest.mark.figures
def test_two_thousand_damaged_sound_files(damaged_audio):
    print(damaged_audio.report("audio"))
    assert not damaged_audio.findings
    outcomes = damaged_audio.outcomes
    assert sum(counts.total() for counts in outcomes.values()) == 2000
    # FLAC and Ogg have checksums over all: what is read is whole.
    for name in ("flac", "vorbis", "opus"):
        assert not outcomes[name].keys() & {"unseen", "missed"}


@pytest.mark.slow
@pytest.mark.figures
@pytest.mark.parametrize("target", ["manifests", "tables"])
def test_five_hundred_damaged_lists(target):
    result = run(target, 500)
    print(result.report(target))
    assert not result.findings


@pytest.mark.slow
def test_what_was_read_is_scored(damaged_audio, model_folder, tmp_path):
    module, _ = load_folder(model_folder)
    model = Model(module, window_seconds=1.0, devices=jax.devices()[:1], batch_seconds=4.0)
    model.engine.bucket_sizes = (16000,)
    survivors = damaged_audio.survivors[:: len(damaged_audio.survivors) // 40][:40]
    paths = [tmp_path / f"{seed}-{number}.wav" for seed, number, _ in survivors]
    for path, (seed, number, _) in zip(paths, survivors, strict=True):
        path.write_bytes(mutated(seeds.audio(), seed, number))
    rows = model.score(paths)
    for row, (_, _, outcome) in zip(rows, survivors, strict=True):
        assert row["error"] is None
        assert ("inconsistent" in row["flags"]) == (outcome == "flagged")
        for name, score in row["scores"].items():
            metric = module.config.metrics[name]
            assert math.isfinite(score) and metric.minimum <= score <= metric.maximum
