"""Whisper, Qwen2-Audio and Qwen3-Omni: lengths, folders of larger models, windows, real sizes, bad input."""

import dataclasses
import importlib
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from configs.compact import get_config
from tests.helpers.corpus import GOLDEN, speech_like, write_corpus
from tests.helpers.models import model_config, on_one_device, random_module
from urgentmos_jax.encoders.registry import ENCODERS, make_encoder
from urgentmos_jax.model.cost import parts, scoring_bytes, training_bytes
from urgentmos_jax.model.urgentmos import UrgentMOS
from urgentmos_jax.scoring.model import Model
from urgentmos_jax.training.config import ConfigError
from urgentmos_jax.training.config import read_config as read_run
from urgentmos_jax.training.dry_run import describe_run
from urgentmos_jax.training.start import with_sizes
from urgentmos_jax.training.trainer import Trainer
from urgentmos_jax.weights.published import PUBLISHED_ENCODERS
from urgentmos_jax.weights.rules import flat_state

LARGE = PUBLISHED_ENCODERS["Atotti/Kimi-Audio-Whisper-Encoder"]
FOLDERS = {"whisper": "whisper", "qwen2-audio": "qwen2_audio_encoder", "qwen3-omni": "qwen3_omni_moe_audio_encoder"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Frames by mel frames of 10 ms, from the length formulas of the three families.
        ("Atotti/Kimi-Audio-Whisper-Encoder", {1: 1, 2: 1, 3: 2, 100: 50, 301: 151, 2999: 1500, 3000: 1500}),
        ("Atotti/AFWhisper", {1: 0, 2: 0, 3: 1, 4: 1, 100: 25, 301: 75, 3000: 750}),
        (
            "giangndm/qwen3-30b-omni-audio-encoder",
            {1: 1, 8: 1, 9: 2, 50: 7, 97: 13, 100: 13, 101: 14, 200: 26, 3000: 390},
        ),
    ],
)
def test_lengths(name: str, expected: dict[int, int]):
    config = PUBLISHED_ENCODERS[name]
    for mel, frames in expected.items():
        assert config.frame_lengths(160 * mel) == frames
        assert config.frame_lengths(np.array([160 * mel]))[0] == frames
    assert len(jax.eval_shape(config.frame_lengths, jnp.zeros(3, jnp.int32)).shape) == 1


def test_parameters_of_the_real_sizes():
    millions = [637.0, 637.0, 647.9, 315.45, 94.38]
    names = ("Atotti/Kimi-Audio-Whisper-Encoder", "Atotti/AFWhisper", "giangndm/qwen3-30b-omni-audio-encoder")
    for name, wanted in zip((*names, "microsoft/wavlm-large", "microsoft/wavlm-base-plus"), millions, strict=True):
        encoder = nnx.eval_shape(lambda name=name: make_encoder(PUBLISHED_ENCODERS[name], rngs=nnx.Rngs(0)))
        assert sum(math.prod(v.shape) for v in flat_state(encoder).values()) / 1e6 == pytest.approx(wanted, rel=1e-3)


@pytest.mark.slow
def test_the_fused_model_at_real_size_is_traced():
    config = with_sizes(read_run(importlib.import_module("configs.f4c1m5_d_ref").get_config()).model, offline=True)
    graph, params = nnx.split(nnx.eval_shape(lambda: UrgentMOS(config, rngs=nnx.Rngs(0))))
    assert {str(v.dtype) for v in jax.tree.leaves(params["encoders"])} == {"bfloat16"}

    def loss(trained, frozen, waveform, lengths):
        module = nnx.merge(graph, trained, frozen)
        return sum(found.score.sum() for found in module.absolute(module.encode(waveform, lengths)).values())

    frozen, trained = nnx.split_state(params, lambda path, value: path[0] == "encoders", ...)
    batch = (jax.ShapeDtypeStruct((2, 160000), jnp.float32), jax.ShapeDtypeStruct((2,), jnp.int32))
    value, gradient = jax.eval_shape(jax.value_and_grad(loss), trained, frozen, *batch)
    assert value.shape == () and value.dtype == jnp.float32
    assert jax.tree.structure(gradient) == jax.tree.structure(trained)
    assert sum(part.frozen for part in parts(config)) == pytest.approx(2237.3e6, rel=1e-3)
    # Memory grows with rows and length, and four frozen encoders in bfloat16 take 4.5 GB.
    need = [f(config, r, s) for f in (scoring_bytes, training_bytes) for r, s in ((1, 80000), (2, 80000), (2, 480000))]
    assert 4.5e9 < need[0] < need[1] < need[2] and need[3] < need[4] < need[5] and need[0] < need[3]


@pytest.mark.slow
def test_estimated_memory_is_near_what_xla_plans():
    config = model_config("layer")
    config = dataclasses.replace(config, width=64)
    module = random_module(config)
    model = on_one_device(module)
    rows, samples = 4, 160000
    batch = (jax.ShapeDtypeStruct((rows, samples), jnp.float32), jax.ShapeDtypeStruct((rows,), jnp.int32))
    planned = model.engine.encode.lower(model.params, *batch, frames=False, features=False).compile().memory_analysis()
    estimate = scoring_bytes(config, rows, samples)
    assert 0.4 < estimate / (planned.temp_size_in_bytes + planned.argument_size_in_bytes) < 2.5


@pytest.mark.slow
def test_dry_run(capsys):
    run = importlib.import_module("configs.f4c1m5_d_ref").get_config()
    text = describe_run(run, 8)
    lines = text.splitlines()
    assert {"fusion", "encoders.3", "all"} <= {line.split()[0] for line in lines} and "2237.317" in text
    assert "32 pairs of 9.4 s on 8 devices" in text and "10 pairs of 30.0 s" in text
    one, eight = (float(told[-2].split(": ")[1].split()[0]) for told in (describe_run(run, 1).splitlines(), lines))
    assert one > eight > 4.6


@pytest.mark.slow
def test_longer_clips_are_cut_into_windows_and_flagged():
    """A Whisper of 2 s: a clip of 5 s is three windows, and never cut without a word."""
    module = random_module("whisper")
    model = Model(module, devices=jax.devices()[:1], batch_seconds=2.0)
    model.engine.bucket_sizes = (32000,)
    assert model.engine.window_samples == 32000
    clip = speech_like(3, 80000)
    whole, *pieces = model.score([clip, clip[:32000], clip[32000:64000], clip[64000:]], sample_rate=16000)
    assert whole["windows"] == 3 and whole["flags"] == ["windowed"] and pieces[0]["flags"] == []
    for name, score in whole["scores"].items():
        parts = [row["scores"][name] for row in pieces]
        assert score == pytest.approx(np.average(parts, weights=[2, 2, 1]), abs=1e-4)
    with pytest.raises(ValueError, match="window_seconds is 3, an encoder takes 2"):
        Model(module, window_seconds=3.0)
    with pytest.raises(ValueError, match="takes 32000 at most"):
        model.apply(jnp.zeros((1, 32001)), jnp.array([32001]))


def test_rows_are_as_few_as_the_padding_to_the_window_asks_for():
    model = Model(random_module("whisper"), devices=jax.devices()[:1], batch_seconds=8.0)
    assert {batch.rows for batch in model.engine.plan([8000] * 8)} == {4}


@pytest.mark.slow
def test_a_fused_model_is_trained(tmp_path: Path):
    """Four encoders from folders, one of them trained; a length beyond the window is refused first."""
    root = tmp_path / "data"
    write_corpus(root / "mine" / "train", [8000, 9000, 9500, 8500])
    values = get_config()
    values.data.update(root=str(root), valid=())
    values.batch = dict(seconds=3.0, clips=4, accumulate=1)
    shared = dict(gradient_scale=0.1, noise=False)
    values.model.encoders = {
        name: dict(
            pretrained=str(GOLDEN / "encoders" / name),
            layer_aggregation="qwen" not in name,
            freeze=name != "qwen3-omni",
            dtype="float32" if name == "qwen3-omni" else "bfloat16",
            **shared,
        )
        for name in ("wavlm-large", *FOLDERS)
    }
    values.model.width = 8
    values.model.category.update(dict(heads=2, feedforward=12))
    values.update(dict(updates=2, save_every=2, validate_every=100, log_every=1))
    values.data.max_seconds = 40.0
    with pytest.raises(ConfigError, match=r"data\.max_seconds is 40, an encoder takes 30 s"):
        Trainer(values, tmp_path / "run", devices=jax.devices()[:1])
    assert not (tmp_path / "run").exists()
    values.data.max_seconds = 20.0
    trainer = Trainer(values, tmp_path / "run", devices=jax.devices()[:1])
    before = {path: np.asarray(v[...]) for path, v in flat_state(trainer.module()).items()}
    trainer.run()
    after = flat_state(trainer.module())
    moved = {path for path, value in before.items() if (np.asarray(after[path][...]) != value).any()}
    trained = next(i for i, e in enumerate(trainer.module().config.encoders) if not e.freeze)
    assert any(path.startswith(f"encoders.{trained}.") for path in moved)
    assert not any(path.startswith("encoders.") and not path.startswith(f"encoders.{trained}.") for path in moved)
    assert {"fusion.project.kernel", "fusion.norm.scale"} <= moved


def test_every_family_is_one_line():
    assert {name for name in ENCODERS if name not in ("compact",)} >= {*FOLDERS.values(), "wavlm", "hubert", "wav2vec2"}
