"""Runs of training: from the start, killed and resumed, with bad input."""

import json
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from tests.helpers import processes
from tests.helpers.corpus import UPDATES, tiny_config, write_corpus
from urgentmos_jax.data.reading import BatchReader
from urgentmos_jax.manifests.records import ManifestError
from urgentmos_jax.scoring.loading import load_model
from urgentmos_jax.training.checkpoints import CheckpointError, Checkpoints
from urgentmos_jax.training.config import ConfigError, read_config
from urgentmos_jax.training.data_record import DataChanged
from urgentmos_jax.training.datasets import make_plan, read_datasets
from urgentmos_jax.training.skipped import TooManyBadItems
from urgentmos_jax.training.trainer import NonFiniteLoss, Trainer

ROOT = Path(__file__).parents[2]
DEVICES = jax.local_devices()[:2]  # Eight share the rows of a batch in `test_step.py`.


def final_state(workdir: Path, trainer: Trainer) -> list[np.ndarray]:
    restored = Checkpoints(workdir / "checkpoints", keep=2).restore_newest(trainer._step.abstract)
    return [np.asarray(leaf) for leaf in jax.tree.leaves(restored)]


@pytest.fixture(scope="module")
def finished(trained: Path, data: Path, tmp_path_factory) -> tuple[Path, Trainer, dict]:
    """A copy of the shared run, resumed at its end, and validated there as that was."""
    workdir = shutil.copytree(trained / "run", tmp_path_factory.mktemp("finished") / "run")
    trainer = Trainer(tiny_config(data), workdir, devices=DEVICES)
    trainer._validate(SimpleNamespace(write=lambda *_: None, flush=lambda: None))
    trainer.close()
    return workdir, trainer, json.loads((trained / "results.json").read_text())


def test_run(finished, tmp_path):
    workdir, trainer, results = finished
    assert trainer.done == UPDATES == trainer.updates and Checkpoints(workdir / "checkpoints", keep=2).steps() == [6, 7]
    epoch = trainer.reader.plan.epoch(0)
    assert len(epoch) < 2 * UPDATES and {len(b.clips[0]) for b in epoch} >= {2}
    values = results["mine/dev"]["mos_overall"]
    assert values["n"] == 4 and np.isfinite(values["srcc"]) and values["system_n"] == 3 and values["pairs"] > 0
    assert 0 <= values["acc_0.5"] <= 1 and 0 <= values["acc_0"] <= 1
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    updates = [line for line in lines if line["kind"] == "train"]
    assert [line["step"] for line in updates] == list(range(1, UPDATES + 1))
    assert all({"loss", "error/mos_overall", "learning_rate", "grad_norm"} <= line.keys() for line in updates)
    assert updates[0]["learning_rate"] == pytest.approx(0.5e-3)
    assert any(line["kind"] == "speed" and line["audio_seconds_a_second"] > 0 for line in lines)
    assert list((workdir / "tensorboard").iterdir())

    trainer.export(tmp_path / "model")
    clip = np.sin(np.arange(16000) / 9).astype(np.float32)
    found = load_model(tmp_path / "model", compile_cache=False).score([clip], sample_rate=16000)[0]["scores"]
    trainer._model.params = jax.device_put(
        jax.tree.map(np.asarray, trainer._model.params), jax.tree.leaves(trainer._model.params)[0].sharding
    )
    assert found == pytest.approx(trainer._model.score([clip], sample_rate=16000)[0]["scores"], abs=1e-6)
    origin = load_model(tmp_path / "model", compile_cache=False).origin
    assert origin["kind"] == "training run" and origin["update"] == UPDATES


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_bits(finished, data: Path, tmp_path):
    """Many kills, at random updates and while saving, are in `test_survival.py` and `test_checkpoints.py`."""
    _, trainer, _ = finished
    log, workdir, killed = tmp_path / "log", tmp_path / "whole", tmp_path / "killed"
    assert processes.run(log, processes.train, str(workdir), str(data), {}) == 0
    assert processes.run(log, processes.train, str(killed), str(data), {}, 5, signal.SIGKILL) == -signal.SIGKILL
    assert Checkpoints(killed / "checkpoints", keep=2).steps() in ([], [3])  # It may be killed while it saves.
    assert processes.run(log, processes.train, str(killed), str(data), {}) == 0
    wanted, found = final_state(workdir, trainer), final_state(killed, trainer)
    assert len(wanted) == len(found) and all((a == b).all() for a, b in zip(wanted, found, strict=True))
    read, whole = processes.figures(killed), processes.figures(workdir)
    assert list(read) == list(range(1, UPDATES + 1))
    assert [(x["batch"], x["loss"]) for x in read.values()] == [(x["batch"], x["loss"]) for x in whole.values()]


def test_a_finished_run_is_not_trained_again_and_another_config_is_refused(finished, data: Path):
    workdir, _, _ = finished
    again = Trainer(tiny_config(data), workdir, devices=DEVICES)
    assert again.done == UPDATES and again.run() == {}
    other = tiny_config(data)
    other.optimizer.learning_rate, other.log_every = 5e-4, 1
    with pytest.raises(ConfigError, match=r"optimizer.learning_rate: 0.001 -> 0.0005$"):
        Trainer(other, workdir, devices=DEVICES)
    longer = tiny_config(data)
    longer.updates = 99
    with pytest.raises(ConfigError, match=r"updates: 7 -> 99\. To train longer.*--export DIR.*start_from=DIR"):
        Trainer(longer, workdir, devices=DEVICES)


def test_the_log_tells_the_padding_of_the_rows_that_there_are(data: Path, caplog):
    values = tiny_config(data)
    values.data.pairing_scope = "none"
    config = read_config(values)
    with caplog.at_level("INFO"):
        make_plan(config, read_datasets(config)[0], 1)
    assert "one-sided" in caplog.text and "two-sided" not in caplog.text and "nan" not in caplog.text


def test_a_run_is_not_resumed_on_changed_data(finished, data: Path, tmp_path):
    """Nothing is compiled before that is seen."""
    shutil.copytree(finished[0], tmp_path / "run")
    shutil.copytree(data, tmp_path / "data")
    manifest = tmp_path / "data" / "mine" / "train" / "data.jsonl"
    lines = manifest.read_text().splitlines()
    row = json.loads(lines[5])
    lines[5] = json.dumps(row | {"metrics": {"mos_overall": 4.9}})
    manifest.write_text("\n".join(lines[1:]) + "\n")
    with pytest.raises(DataChanged, match=r"mine/train: 1 removed \(u0\), 1 with other labels, .* \(u5\)"):
        Trainer(tiny_config(tmp_path / "data"), tmp_path / "run", devices=DEVICES)


def test_damaged_checkpoints(finished, tmp_path):
    _, trainer, _ = finished
    checkpoints = Checkpoints(tmp_path, keep=3)
    for step in (1, 2):
        checkpoints.save(step, jax.tree.map(lambda x, step=step: x + step if x.dtype == np.int32 else x, trainer.state))
    checkpoints.wait()
    abstract = trainer._step.abstract
    assert int(checkpoints.restore_newest(abstract).step) == UPDATES + 2
    victim = max((tmp_path / "2" / "state").rglob("*"), key=lambda p: p.stat().st_size if p.is_file() else 0)
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    assert int(checkpoints.restore_newest(abstract).step) == UPDATES + 1
    (tmp_path / "7").mkdir()  # What Orbax would take for the newest step.
    assert Checkpoints(tmp_path, keep=3).steps() == [1, 2]
    (tmp_path / "1" / "checksums.json").write_text("{")
    with pytest.raises(CheckpointError, match="no step can be read"):
        checkpoints.restore_newest(abstract)


def test_bad_manifest_names_all_faults_with_their_lines(data: Path, tmp_path):
    folder = tmp_path / "mine" / "train"
    path = write_corpus(folder, [8000] * 6)
    lines = path.read_text().splitlines()
    lines[1] = lines[1][:-3]
    (folder / "2.wav").unlink()
    lines[3] = lines[3].replace('"u3"', '"u0"')
    lines[4] = lines[4].replace('"mos_overall": ', '"mos_overall": "good", "x": ')
    path.write_text("\n".join(lines) + "\n")
    values = tiny_config(tmp_path)
    values.data.valid = ()
    with pytest.raises(ManifestError) as error:
        Trainer(values, tmp_path / "run", devices=DEVICES)
    text = str(error.value)
    assert [f"data.jsonl:{line}:" in text for line in (1, 2, 3, 4, 5, 6)] == [False, True, True, True, True, False]
    assert all(word in text for word in ("JSON", "2.wav", "u0", "good"))
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_file_that_vanishes_during_training_is_skipped_and_reported(data: Path, tmp_path):
    root = tmp_path / "data"
    write_corpus(root / "mine" / "train", [8000 + 700 * i for i in range(8)])
    values = tiny_config(root)
    values.data.valid, values.updates = (), 5
    trainer = Trainer(values, tmp_path / "run", devices=DEVICES)
    (root / "mine" / "train" / "6.wav").unlink()
    trainer.run()
    assert trainer.done == 5
    skipped = [json.loads(line) for line in (tmp_path / "run" / "skipped.jsonl").read_text().splitlines()]
    assert skipped and {(one["uid"], one["code"]) for one in skipped} == {("mine/train:u6", "missing")}


@pytest.mark.slow
def test_too_many_files_that_fail_stop_the_run(data: Path, tmp_path):
    root = tmp_path / "data"
    write_corpus(root / "mine" / "train", [8000 + 700 * i for i in range(8)])
    values = tiny_config(root)
    values.data.valid = ()
    trainer = Trainer(values, tmp_path / "run", devices=DEVICES)
    for name in ("1.wav", "4.wav", "6.wav"):
        (root / "mine" / "train" / name).write_bytes(b"")
    with pytest.raises(TooManyBadItems, match=r"2 of 8 clips failed to load.*skipped.jsonl"):
        trainer.run()


@pytest.mark.slow
def test_gradients_that_are_not_finite_stop_the_run(data: Path, tmp_path, monkeypatch):
    values = tiny_config(data)
    values.data.valid = ()
    trainer = Trainer(values, tmp_path, devices=DEVICES)
    load = BatchReader.load

    def poisoned(reader, index, rows):
        batch = load(reader, index, rows)
        if index >= 6:  # From update 4 on.
            batch.arrays.waveform[0, 0, 50] = np.nan
        return batch

    monkeypatch.setattr(BatchReader, "load", poisoned)
    with pytest.raises(NonFiniteLoss, match="3 updates in a row up to 6"):
        trainer.run()
    assert Checkpoints(tmp_path / "checkpoints", keep=2).steps() == [3]
    lines = [json.loads(line) for line in (tmp_path / "not_finite.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [4, 5, 6] and lines[0]["uids"][0][0].startswith("mine/train:u")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["batch"].update(secondz=3.0), "unknown key batch.secondz"),
        (lambda c: c["optimizer"].pop("schedule"), "missing key optimizer.schedule"),
        (lambda c: c["model"]["encoders"]["compact"]["architecture"].pop("mel_bins"), "architecture.mel_bins"),
        (lambda c: c["model"]["category"].update(head=3), "unknown key model.category.head"),
        (lambda c: c.update(updates=2.5), "updates is 2.5, expected a whole number of at least 0"),
        (
            lambda c: c["data"].update(pairing_scope="all"),
            "pairing_scope is 'all', must be one of reference, corpus, any, none",
        ),
        (lambda c: c["data"].update(train=()), "data.train is empty"),
        (lambda c: c["batch"].update(clips=0), "batch.clips is 0"),
        (lambda c: c["model"]["encoders"]["compact"].update(pretrained="x"), "give one of architecture and pretrained"),
        (
            lambda c: c["model"]["categories"]["quality"].update(lsd=dict(minimum=0.0, maximum=9.0, comparative=True)),
            "lsd is better when it is lower",
        ),
    ],
)
def test_faults_of_a_config_are_named(data: Path, change, message: str):
    values = tiny_config(data).to_dict()
    change(values)
    with pytest.raises(ConfigError, match=r"my_config\.py: ") as error:
        read_config(values, name="my_config.py")
    assert message in str(error.value)


def test_all_faults_of_a_config_come_at_once(data: Path):
    values = tiny_config(data).to_dict()
    values["batch"]["secondz"] = values["batch"].pop("seconds")
    values["keep"] = "many"
    with pytest.raises(ConfigError) as error:
        read_config(values)
    assert all(text in str(error.value) for text in ("batch.secondz", "batch.seconds", "keep is 'many'"))


@pytest.mark.parametrize("name", sorted({path.stem for path in (ROOT / "configs").glob("*.py")} - {"common"}))
def test_configs_can_be_read(name: str):
    module = __import__(f"configs.{name}", fromlist=["get_config"])
    assert read_config(module.get_config()).model.encoders and module.__doc__
    assert "python -m launch" in module.__doc__


def test_the_base_tells_what_each_key_means():
    from configs import common

    groups = {key: values if isinstance(values, dict) else [""] for key, values in common.base().to_dict().items()}
    keys = [f"{group}.{key}".rstrip(".") for group, values in groups.items() for key in values]
    assert len(keys) > 40 and [key for key in keys if key not in common.__doc__] == []
