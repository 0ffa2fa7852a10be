"""`score --output` that is killed at any moment: the file is the old one or whole, and --resume ends with all rows."""

import contextlib
import functools
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.helpers import processes
from tests.helpers.corpus import speech_like

MOMENTS, LAST_MOMENTS = 20, 4
ROWS, AT_ONCE, LAST_ROWS = 300, 12, 8


def score(*arguments: str, pause: float = 0.003) -> None:
    """The command, slow enough to be killed between any two rows, and between its last steps."""
    from urgentmos_jax.cli import main
    from urgentmos_jax.scoring.row_files import RowFile

    add, replace = RowFile.add, os.replace

    def slow_add(self, row) -> None:
        time.sleep(pause)
        add(self, row)

    def slow_replace(*names) -> None:
        time.sleep(pause)
        replace(*names)

    RowFile.add, os.replace = slow_add, slow_replace
    sys.exit(main(["score", *arguments]))


def count(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def rows_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.figures
def test_killed_at_20_random_moments(model_folder, tmp_path):
    for number in range(ROWS - 1):
        soundfile.write(tmp_path / f"{number:03}.wav", speech_like(number, 1600), 16000)
    names = [f"{number:03}.wav" for number in range(ROWS - 1)]
    (tmp_path / "list.txt").write_text("\n".join([*names[:9], names[4], *names[9:]]) + "\n")  # One comes twice.
    log, alone = tmp_path / "log", tmp_path / "alone.jsonl"
    command = (str(tmp_path / "list.txt"), "--model", str(model_folder), "--metrics", "utmos", "--output")
    assert processes.run(log, score, *command, str(alone)) == 0
    wanted = rows_of(alone)
    assert len(wanted) == ROWS

    def check_whole(path: Path) -> None:
        found = rows_of(path)
        assert [row | {"scores": None} for row in found] == [row | {"scores": None} for row in wanted]
        scores = [[row["scores"]["utmos"] for row in rows] for rows in (found, wanted)]
        np.testing.assert_allclose(*scores, rtol=0, atol=1e-5)

    output, part, meta = (tmp_path / f"scores.jsonl{ending}" for ending in ("", ".part", ".meta.json"))
    old = '{"uid": "of another run"}\n'
    random = np.random.default_rng(0)
    kept = []
    for moment in range(MOMENTS):
        output.write_text(old)
        meta.write_text('{"old": 1}')
        if moment >= MOMENTS - LAST_MOMENTS:  # The last steps are short: they are met from a few rows before.
            if not part.exists():
                about = json.loads((tmp_path / "alone.jsonl.meta.json").read_text())
                Path(f"{part}.meta.json").write_text(json.dumps(about))
            part.write_bytes(b"".join(alone.read_bytes().splitlines(True)[: ROWS - LAST_ROWS]))
        before = count(part)
        goal = min(max(20, before) + int(random.integers(1, AT_ONCE)), ROWS - 2)
        process = processes.start(log, score, *command, str(output), *(["--resume"] if before else []))
        processes.wait_until(lambda goal=goal: count(part) >= goal or output.read_text() != old, 200)
        time.sleep(random.uniform(0, 0.05 if goal == ROWS - 2 else 0.005))
        with contextlib.suppress(ProcessLookupError):  # The last rows may be written by now.
            processes.kill(process)
        process.join()
        if output.read_text() != old:
            check_whole(output)
            kept.append("F")
        else:
            assert json.loads(meta.read_text()) == {"old": 1} and count(part) >= max(20, before)
            kept.append(count(part))
    print(f"rows after each kill: {kept}")
    assert sum(kind != "F" for kind in kept) >= MOMENTS // 2
    assert processes.run(log, score, *command, str(output), "--resume") == 0
    check_whole(output)
    about = json.loads(meta.read_text())
    assert {"rows": ROWS, "done": ROWS, "failed": 0}.items() <= about["counts"].items()
    assert about["size_bytes"] == output.stat().st_size
    assert not part.exists() and "Traceback" not in log.read_text()


@pytest.mark.long
def test_shards_that_are_killed_join_to_the_whole(model_folder, tmp_path):
    """Of 1, 3 and 7 shards with bounds each is killed once and resumed."""
    for number in range(42):
        soundfile.write(tmp_path / f"{number:02}.wav", speech_like(number, 1600), 16000)
    (tmp_path / "list.txt").write_text("".join(f"{number:02}.wav\n" for number in range(42)))
    log = tmp_path / "log"
    command = (str(tmp_path / "list.txt"), "--model", str(model_folder), "--metrics", "utmos", "--output")
    assert processes.run(log, score, *command, str(tmp_path / "all.jsonl")) == 0
    scores = np.sort([row["scores"]["utmos"] for row in rows_of(tmp_path / "all.jsonl")])
    # Half way between two scores that are far from each other: batches move scores by less.
    gap = 10 + int(np.argmax(np.diff(scores)[10:30]))
    bounds = ("--keep", f"utmos:{scores[gap : gap + 2].mean()}:")
    assert scores[gap + 1] - scores[gap] > 1e-4
    assert processes.run(log, score, *command, str(tmp_path / "whole.jsonl"), *bounds) == 0
    random = np.random.default_rng(0)
    for shards in (1, 3, 7):
        outputs = [tmp_path / f"{number}-of-{shards}.jsonl" for number in range(1, shards + 1)]
        for number, output in enumerate(outputs, 1):
            shard = (*command, str(output), *bounds, "--shard", f"{number}/{shards}")
            goal, part = int(random.integers(1, 42 // shards - 1)), Path(f"{output}.part")
            process = processes.start(log, functools.partial(score, pause=0.05), *shard)
            processes.wait_until(lambda goal=goal, part=part: count(part) >= goal, 200)
            processes.kill(process)
            process.join()
            assert 0 < count(part) < 42 // shards and not output.exists()
            assert processes.run(log, score, *shard, "--resume") == 0
        for ending in ("", ".dropped.jsonl"):
            found = [row for output in outputs for row in rows_of(Path(f"{output}{ending}"))]
            wanted = rows_of(Path(f"{tmp_path / 'whole.jsonl'}{ending}"))
            assert len(wanted) > 5 and [row["path"] for row in found] == [row["path"] for row in wanted]
            values = [[row["scores"]["utmos"] for row in rows] for rows in (found, wanted)]
            np.testing.assert_allclose(*values, rtol=0, atol=1e-5)
