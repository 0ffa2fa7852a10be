"""Whisper encoders in configs: own_length beside a source, the presets, and models that are fine-tuned."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest

from configs import common
from tests.helpers.corpus import GOLDEN, tiny_config, write_corpus
from tests.helpers.models import OWN_LENGTH, architecture, model_config, random_module
from urgentmos_jax.scoring.model import Model
from urgentmos_jax.training.config import ConfigError, Pretrained, TrainConfig, read_config
from urgentmos_jax.training.start import fine_tuned_module, with_sizes
from urgentmos_jax.training.trainer import Trainer
from urgentmos_jax.weights.encoder_folder import find_config, load_encoder
from urgentmos_jax.weights.model_folder import load_folder, save_folder

FOLDER = GOLDEN / "encoders" / "whisper"


def run_with(encoder: dict, data: Path | str = "data") -> TrainConfig:
    values = tiny_config(data).to_dict()
    values["model"]["encoders"] = {"whisper": encoder}
    return read_config(values)


@pytest.mark.parametrize("own_length", [None, False, True])
def test_own_length_beside_a_source(own_length: bool | None):
    config = run_with(common.frozen(str(FOLDER), own_length=own_length))
    (found,) = with_sizes(config.model).encoders
    assert found.architecture == dataclasses.replace(find_config(FOLDER)[1], own_length=bool(own_length))
    assert load_encoder(FOLDER, own_length=own_length).config == found.architecture
    config = run_with(common.frozen("openai/whisper-base", own_length=own_length))
    (found,) = with_sizes(config.model, offline=True).encoders
    assert (found.architecture.hidden_size, found.architecture.own_length) == (512, bool(own_length))


def test_presets_have_their_own_length():
    for size, width in (("tiny", 384), ("base", 512)):
        (found,) = run_with(common.whisper(size)).model.encoders
        assert (found.architecture.hidden_size, found.architecture.own_length, found.freeze) == (width, True, False)


def test_own_length_that_does_not_fit_is_named():
    with pytest.raises(ConfigError, match=r"own_length is 3, expected true or false"):
        run_with(common.frozen("a/b", own_length=3))
    with pytest.raises(ConfigError, match=r"unknown key model\.encoders\.whisper\.own_length"):
        run_with(common.whisper("tiny") | dict(own_length=True))
    source = GOLDEN / "encoders" / "wavlm-base"
    config = run_with(common.frozen(str(source), own_length=True))
    with pytest.raises(ValueError, match=r"wavlm-base: own_length is a key of Whisper's encoders, wavlm has no such"):
        with_sizes(config.model)


@pytest.mark.slow
def test_a_fine_tuned_model_hears_what_it_heard(tmp_path: Path):
    """Unless the config says otherwise."""
    config = model_config(f"whisper{OWN_LENGTH}")
    save_folder(tmp_path, random_module(config), {})
    for stated, wanted in ((None, True), (True, True), (False, False)):
        encoder = dataclasses.replace(config.encoders[0], architecture=Pretrained("a/b", stated))
        run = dataclasses.replace(config, encoders=(encoder,))
        found = fine_tuned_module(run, 0, str(tmp_path))
        assert found.config.encoders[0].architecture == architecture("whisper").with_own_length(wanted)
        # Nothing is downloaded for the sizes.
        assert with_sizes(run, start_from=str(tmp_path)).encoders == found.config.encoders


@pytest.mark.slow
def test_training_at_own_length(tmp_path: Path):
    """A folder's encoder is trained, exported and scores with the key."""
    write_corpus(tmp_path / "data" / "mine" / "train", [8000, 9000, 9500, 8500])
    values = tiny_config(tmp_path / "data")
    values.model.encoders = dict(whisper=common.frozen(str(FOLDER), own_length=True) | dict(freeze=False))
    values.data.valid = ()
    values.update(dict(updates=2, save_every=2, log_every=1))
    trainer = Trainer(values, tmp_path / "run", devices=jax.devices()[:1])
    trainer.run()
    trainer.export(tmp_path / "model")
    module, _ = load_folder(tmp_path / "model")
    assert module.config.encoders[0].architecture.own_length
    before, after = load_encoder(FOLDER).positions[...], module.encoders[0].positions[...]
    moved = (np.asarray(before) != np.asarray(after)).any(1)
    # Frames of 20 ms that a clip of the corpus has; decay alone moves no further than a part in 10,000.
    assert moved[:25].all() and np.abs(after[100:] - before[100:]).max() < 1e-3
    (row,) = Model(module, devices=jax.devices()[:1]).score([np.ones(8000, np.float32) * 0.1], sample_rate=16000)
    assert row["error"] is None and np.isfinite(list(row["scores"].values())).all()
