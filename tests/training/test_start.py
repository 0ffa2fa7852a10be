"""What a run starts from and ends with: other weights, the best checkpoint, memory, one run a folder, strictness."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

from tests.helpers.corpus import tiny_config, write_corpus
from urgentmos_jax.files import InUse
from urgentmos_jax.training import trainer as loop
from urgentmos_jax.training.checkpoints import CheckpointError
from urgentmos_jax.training.config import ConfigError, read_config
from urgentmos_jax.training.logs import RunLog
from urgentmos_jax.training.memory import OutOfMemory
from urgentmos_jax.training.skipped import TooManyBadItems
from urgentmos_jax.training.trainer import Trainer
from urgentmos_jax.weights.model_folder import load_folder
from urgentmos_jax.weights.rules import WeightsError

ROOT = Path(__file__).parents[2]
DEVICES = jax.local_devices()[:1]
SRCC = "mine/dev/mos_overall/srcc"


def arrays(folder: Path) -> dict[str, np.ndarray]:
    state = nnx.state(load_folder(folder)[0])
    return {".".join(map(str, path)): np.asarray(x[...]) for path, x in nnx.to_flat_state(state)}


@pytest.mark.slow
def test_the_best_checkpoint_is_kept_and_exported(data: Path, tmp_path):
    values = tiny_config(data)
    values.update(dict(updates=6, save_every=100, validate_every=2, keep=1, best=SRCC))
    trainer = Trainer(values, tmp_path / "run", devices=DEVICES)
    trainer.run()
    trainer.export(tmp_path / "best")
    lines = map(json.loads, (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    figures = {line["step"]: line[SRCC] for line in lines if line["kind"] == "valid"}
    assert list(figures) == [2, 4, 6]
    best = json.loads((tmp_path / "run" / "best.json").read_text())
    # The first of equal ones.
    wanted = next(step for step, value in figures.items() if value == max(figures.values()))
    assert best == {"figure": SRCC, "value": figures[wanted], "update": wanted}
    kept = {int(path.name) for path in (tmp_path / "run" / "checkpoints").iterdir()}
    assert kept == {wanted, 6}
    assert load_folder(tmp_path / "best")[1]["origin"]["update"] == wanted
    values = tiny_config(data)
    values.update(dict(updates=6, best=""))
    last = Trainer(values, tmp_path / "run", devices=DEVICES)
    last.export(tmp_path / "last")
    last.close()
    assert load_folder(tmp_path / "last")[1]["origin"]["update"] == 6
    same = all((x == y).all() for x, y in zip(*(arrays(tmp_path / n).values() for n in ("best", "last")), strict=True))
    assert same == (wanted == 6)


@pytest.mark.parametrize("best", ["srcc", "mine/dev/pesq/srcc", "mine/dev/mos_overall/loss", "other/mos_overall/srcc"])
def test_an_unknown_best_is_named(data: Path, best: str):
    values = tiny_config(data)
    values.best = best
    with pytest.raises(ConfigError, match=f"best is '{best}', expected set/metric/statistic"):
        read_config(values)


@pytest.mark.slow
def test_fine_tuning_takes_over_all_but_new_heads(trained: Path, data: Path, tmp_path, caplog):
    values = tiny_config(data)
    values.start_from, values.updates = str(trained / "best"), 1
    values.model.categories = dict(
        quality=dict(
            mos_overall=dict(minimum=1.0, maximum=5.0, comparative=True),
            pesq=dict(minimum=1.0, maximum=4.5, comparative=False),
        )
    )
    with caplog.at_level("INFO"):
        trainer = Trainer(values, tmp_path / "run", devices=DEVICES)
    trainer.close()
    assert "but anew: absolute_heads.pesq" in caplog.text
    before, start = arrays(trained / "best"), arrays(tmp_path / "run" / "start")
    assert all((start[name] == x).all() for name, x in before.items())
    assert {name.split(".")[1] for name in start.keys() - before.keys()} == {"pesq"}
    # The start lies in the folder: what it was taken from may go.
    assert json.loads((tmp_path / "run" / "config.json").read_text())["start_from"] == str(trained / "best")


@pytest.mark.slow
def test_fine_tuning_names_what_does_not_fit(trained: Path, data: Path, tmp_path):
    values = tiny_config(data)
    values.start_from, values.model.width = str(trained / "best"), 16
    with pytest.raises(WeightsError, match=r"best does not fit.*categories\.quality.*fusion\.project\.kernel"):
        Trainer(values, tmp_path / "run", devices=DEVICES)


@pytest.mark.slow
def test_memory_is_looked_at_before_the_first_update(data: Path, tmp_path, monkeypatch):
    """Case 26, by the compiler's plan of the step."""
    found = []
    check = loop.check_largest
    monkeypatch.setattr(loop, "check_largest", lambda *args, **rest: found.append(check(*args, **rest)) or found[-1])
    trainer = Trainer(tiny_config(data), tmp_path / "run", devices=DEVICES)
    trainer.close()
    rows, sides, size = max(trainer.reader.plan.shapes(), key=np.prod)
    state = sum(x.nbytes for x in jax.tree.leaves(trainer.state))
    waveform = 4 * rows * sides * size
    assert found[0] > state + waveform and trainer.compiled_shapes == 1
    monkeypatch.setattr(loop, "device_bytes", lambda device: found[0] - 1)
    with pytest.raises(OutOfMemory, match=rf"{rows} rows of {sides} x .* s .*Lower --config\.batch\.seconds") as error:
        Trainer(tiny_config(data), tmp_path / "run", devices=DEVICES)
    assert f"needs {found[0] / 1e9:.2f} GB of a device" in str(error.value)
    monkeypatch.setattr(loop, "device_bytes", lambda device: found[0])
    Trainer(tiny_config(data), tmp_path / "run", devices=DEVICES).close()


@pytest.mark.slow
def test_one_run_a_folder(data: Path, tmp_path):
    first = Trainer(tiny_config(data), tmp_path / "run", devices=DEVICES)
    with pytest.raises(InUse, match="is in use by process"):
        Trainer(tiny_config(data), tmp_path / "run", devices=DEVICES)
    first.close()
    Trainer(tiny_config(data), tmp_path / "run", devices=DEVICES).close()


@pytest.mark.slow
def test_strict_stops_at_the_first_bad_clip(tmp_path):
    root = tmp_path / "data"
    write_corpus(root / "mine" / "train", [8000 + 700 * i for i in range(8)])
    values = tiny_config(root)
    values.data.valid = ()
    lines = (root / "mine" / "train" / "data.jsonl").read_text().splitlines()
    row = json.loads(lines[5])
    lines[5] = json.dumps(row | {"duration": row["duration"] + 1.0})
    (root / "mine" / "train" / "data.jsonl").write_text("\n".join(lines) + "\n")
    trainer = Trainer(values, tmp_path / "run", devices=DEVICES, strict=True)
    with pytest.raises(TooManyBadItems, match="1 of 8 clips failed to load, --strict allows none"):
        trainer.run()
    assert "its manifest says" in (tmp_path / "run" / "skipped.jsonl").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model.encoders.compact.architecture.num_hidden_layers", 2),
        ("model.category.layers", 2),
        ("optimizer.learning_rate", 1e-4),
        ("data.train", ("mine/dev",)),
        ("batch.accumulate", 3),
        ("precision", "bfloat16"),
    ],
)
def test_a_run_is_not_resumed_by_another_config(trained: Path, data: Path, tmp_path, key: str, value):
    """Case 21, also where the folder's own copy of the config is lost: each checkpoint has one."""
    shutil.copytree(trained / "run", tmp_path / "run")
    values = tiny_config(data)
    values.update(dict(save_every=100, validate_every=2, keep=1, best=SRCC))
    values.update_from_flattened_dict({key: value, "data.valid": ()} | ({"best": ""}))
    with pytest.raises(ConfigError, match=rf"holds a run of another config.*{key}: .* -> "):
        Trainer(values, tmp_path / "run", devices=DEVICES)
    (tmp_path / "run" / "config.json").rename(tmp_path / "kept")
    try:
        if not key.startswith("model"):
            with pytest.raises(CheckpointError, match=rf"does not fit this config and code: .*{key}: .*start_from"):
                Trainer(values, tmp_path / "run", devices=DEVICES)
    finally:
        (tmp_path / "kept").replace(tmp_path / "run" / "config.json")


@pytest.mark.slow
def test_other_metrics_are_not_resumed(trained: Path, data: Path):
    values = tiny_config(data)
    values.model.categories.quality.pesq = dict(minimum=1.0, maximum=4.5, comparative=False)
    with pytest.raises(ConfigError, match=r"model\.categories\.quality\.pesq\.maximum: 'absent' -> 4\.5"):
        Trainer(values, trained / "run", devices=DEVICES)


def program(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "launch.train", "--config", "configs/compact.py", *arguments]
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_is_one_line(data: Path):
    """Case 20: a read-only folder."""
    found = program("--workdir", "/proc/run", f"--config.data.root={data}", "--config.data.valid=()")
    assert found.returncode == 1 and "Traceback" not in found.stderr
    assert found.stderr.splitlines()[-1].startswith("launch.train: ") and "/proc/run" in found.stderr


@pytest.mark.slow
def test_distributed_without_a_platform_says_what_to_give(tmp_path):
    found = program("--workdir", str(tmp_path / "run"), "--distributed")
    assert found.returncode == 1 and "Traceback" not in found.stderr
    assert "give --coordinator=ADDRESS:PORT, --hosts and --host" in found.stderr


@pytest.mark.slow
def test_the_published_recipe_runs(tmp_path):
    """All nine corpora, two of them pairs, the published trunk, a tiny encoder; two updates and a validation."""
    from configs.f1c1m5_d_corpus import get_config

    values = get_config()
    names = ("mos_overall", "scoreq", "utmos", "nisqa_mos", "distill_mos")
    for place, source in enumerate((*values.data.train, *values.data.valid)):
        folder = tmp_path / "data" / source
        write_corpus(folder, [16000 + 800 * i for i in range(4)], seed=10 * place, metrics=names)
        if source.startswith("speech"):
            rows = [json.loads(line) for line in (folder / "data.jsonl").read_text().splitlines()]
            pairs = [
                {
                    "uids": [a["uid"], b["uid"]],
                    "audio_paths": [a["audio_path"], b["audio_path"]],
                    "durations": [a["duration"], b["duration"]],
                    "metrics": {"mos_overall": 1.0},
                }
                for a, b in zip(rows[::2], rows[1::2], strict=True)
            ]
            (folder / "data_pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
            (folder / "data.jsonl").unlink()
    values.data.root = str(tmp_path / "data")
    values.model.encoders.wavlm.pretrained = str(ROOT / "tests" / "golden" / "encoders" / "wavlm-base")
    values.update(dict(updates=2, validate_every=2, save_every=2, log_every=1))
    trainer = Trainer(values, tmp_path / "run", devices=DEVICES)
    results = trainer.run()
    assert trainer.done == 2 and results["somos/dev"]["mos_overall"]["n"] == 4
    assert results["speechjudge/dev"]["mos_overall"]["pairs"] == 2
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert all(np.isfinite(line["loss"]) for line in lines if line["kind"] == "train")


def test_a_validation_is_in_the_file_once_it_is_done(tmp_path):
    """Not only behind the next updates, which a killed run does not come to."""
    log = RunLog(tmp_path, 0, 10, lambda update: 0.1)
    log.write(4, "valid", {"srcc": 0.5})
    log.flush()
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {"step": 4, "kind": "valid", "srcc": 0.5}
    log.close()
